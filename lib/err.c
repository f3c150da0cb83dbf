/* Expansions of the error table. */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/err.h"

static const struct {
	int status;
	enum haul_class class;
	const char *name, *text;
} errors[] = {
#define X(name, status, class, text) [HAUL_##name] = {status, HAUL_CLASS_##class, #name, text},
	HAUL_ERRORS(X)
#undef X
};

enum haul_rc haul_fail(struct haul_err *e, enum haul_rc rc, int sys, const char *subject, const char *fmt,
		       ...)
{
	if (e->rc != HAUL_OK)
		return rc;
	e->rc = rc;
	e->sys = sys;
	e->subject[0] = '\0';
	if (subject)
		snprintf(e->subject, sizeof e->subject, "%s", subject);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->why, sizeof e->why, fmt, ap);
	va_end(ap);
	return rc;
}

void haul_err_clear(struct haul_err *e)
{
	memset(e, 0, sizeof *e);
}

int haul_rc_status(enum haul_rc rc)
{
	return (unsigned)rc < HAUL_RC_COUNT ? errors[rc].status : errors[HAUL_PROTOCOL].status;
}

int haul_exit_status(const struct haul_err *e)
{
	return haul_rc_status(e->rc) + (e->rc == HAUL_SIGNAL ? e->signal : 0);
}

const char *haul_rc_name(enum haul_rc rc)
{
	return (unsigned)rc < HAUL_RC_COUNT ? errors[rc].name : "UNKNOWN";
}

const char *haul_rc_text(enum haul_rc rc)
{
	return (unsigned)rc < HAUL_RC_COUNT ? errors[rc].text : "unknown error";
}

const char *haul_rc_class(enum haul_rc rc)
{
	static const char *const names[] = {"ok", "human", "again", "bug"};
	return names[(unsigned)rc < HAUL_RC_COUNT ? errors[rc].class : HAUL_CLASS_BUG];
}

enum haul_rc haul_rc_from_status(unsigned status)
{
	for (unsigned i = 0; i < HAUL_RC_COUNT; i++)
		if ((unsigned)errors[i].status == status)
			return (enum haul_rc)i;
	return HAUL_PROTOCOL;
}

const char *haul_reason_text(unsigned code, int *sys)
{
	if (code == REASON_ONE_ONLY)
		return "not taken: the receiver takes one file or stream (-o, --to-cmd)";
	enum haul_rc rc = haul_rc_from_reason(code);
	if (rc != HAUL_POLICY || *sys != EINVAL)
		return haul_rc_text(rc);
	*sys = 0;
	return "not a name that a receiver accepts";
}

enum haul_rc haul_rc_from_reason(unsigned code)
{
	if (code == REASON_ONE_ONLY)
		return HAUL_POLICY;
	enum haul_rc rc = haul_rc_from_status(code);
	return rc == HAUL_OK || rc == HAUL_SIGNAL ? HAUL_PROTOCOL : rc;
}

enum haul_rc haul_rc_from_errno(int sys)
{
	return sys == ENOSPC || sys == EDQUOT || sys == EFBIG ? HAUL_NO_SPACE : HAUL_IO;
}
