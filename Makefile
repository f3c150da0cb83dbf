# haul: one binary from wire/, lib/ and cmd/.  `make help` lists the targets.
#
# Everything is made below B (build/PROFILE), nothing beside the sources.  Every variable assigned with ?= may be
# given on the command line or in the environment; CFLAGS and LDFLAGS are added after the project's own flags.

VERSION := 0.1.0
PROFILE ?= release
B       ?= build/$(PROFILE)
PREFIX  ?= /usr/local
DESTDIR ?=
CFLAGS  ?=
LDFLAGS ?=
V       ?=
WERROR  ?=
PKGS    := libzstd libsodium libxxhash
PKG_CONFIG ?= pkg-config
INSTALL ?= install
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
SYSTEMDDIR ?=
Q       := $(if $(V),,@)
say      = @$(if $(V),:,printf '  %-6s %s\n' $(1) '$(2)')

# ---- flags

WARN := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wvla

# What a release is hardened with, as far as the compiler knows it.  The -fharden-* flags are left out: they guard
# against faulty hardware and double every comparison of the digest loops.
WANT_CFLAGS.release := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection=full -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fexceptions \
	-ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr -fstrict-flex-arrays=3
WANT_CFLAGS  = -fPIE -Walloca -Wimplicit-fallthrough -Werror=format-security -Wtrampolines -Wbidi-chars=any \
	$(WANT_CFLAGS.$(PROFILE))
WANT_LDFLAGS = -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,-z,nodlopen \
	-Wl,--as-needed -Wl,--no-copy-dt-needed-entries

CFLAGS.release := -O2 -g
CFLAGS.debug   := -Og -g3 -fno-omit-frame-pointer
CFLAGS.asan    := -Og -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS.tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS.fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
CFLAGS.fuzzfast := -O2 -g -fsanitize=fuzzer-no-link,undefined -fsanitize-undefined-trap-on-error
# clang only; what wraps on purpose is listed in the file, with the reason
ifeq ($(PROFILE) $(origin CC),integer default)
CC := clang
endif
CFLAGS.integer := -Og -g -fno-omit-frame-pointer -fsanitize=undefined,integer,nullability,local-bounds \
	-fno-sanitize-recover=all -fsanitize-ignorelist=tests/lint/integer.ignore
LDFLAGS.integer := -fsanitize=undefined,integer,nullability
LDFLAGS.asan   := -fsanitize=address,undefined
CFLAGS.coverage := -O0 -g --coverage
LDFLAGS.coverage := --coverage
LDFLAGS.tsan   := -fsanitize=thread
LDFLAGS.fuzz   := -fsanitize=address,undefined

# flags.mk keeps the answers of the probes and of pkg-config; it is made anew when CC or this file changes.
ask  = printf 'int main(void){return 0;}\n' | $(CC) -O2 -Wall -Werror $$f -x c $(1) - 2>/dev/null && printf ' %s' $$f
WRAP := check soak demo deps bench check-all check-install coverage fuzz lint analyze format help clean distclean uninstall
ifneq (,$(filter-out $(WRAP),$(or $(MAKECMDGOALS),all)))
ifneq ($(shell sed -n 's/^PROBED_CC := //p' $(B)/flags.mk 2>/dev/null),$(CC))
$(shell rm -f $(B)/flags.mk)
endif
include $(B)/flags.mk
endif

ALL_CFLAGS  = -std=c17 -D_GNU_SOURCE -I. $(WARN) $(if $(WERROR),-Werror) $(CFLAGS.$(PROFILE)) $(HAVE_CFLAGS) \
	$(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -pthread
ALL_LDFLAGS = $(LDFLAGS.$(PROFILE)) $(HAVE_LDFLAGS) $(LDFLAGS) -pthread

# ---- files

LIB_SRC  ?= $(filter-out cmd/main.c,$(wildcard wire/*.c lib/*.c cmd/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
TEST_SRC := $(wildcard tests/unit/t_*.c tests/sim/*.c tests/fault/*.c tests/tools/*.c tests/bench/*.c)
TEST_EXE := $(TEST_SRC:%.c=$(B)/%)
FUZZ_EXE := $(patsubst %.c,$(B)/%,$(filter-out tests/fuzz/main.c,$(wildcard tests/fuzz/*.c)))
COMMIT   := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)

.PHONY: all tests unit sim replay e2e fault fuzz-build $(WRAP) install FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/haul

tests: all $(TEST_EXE) $(if $(FUZZ_MAIN),,$(FUZZ_EXE))

$(B)/haul: $(B)/cmd/main.o $(B)/libhaul.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(B)/libhaul.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/tests/%: $(B)/tests/%.o $(B)/libhaul.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(if $(findstring /fuzz/,$@),$(FUZZ_MAIN)) $(WRAPPED) -o $@ $^ $(PKG_LIBS) -lcmocka

# these lead system calls to tests/unit/failing.h
$(patsubst %.c,$(B)/%,$(shell grep -l '/failing\.h"' tests/unit/*.c)): WRAPPED := \
	$(shell sed -n 's/.*\<CALL.\([a-z0-9_]*\),.*/-Wl,--wrap=\1/p' tests/unit/failing.h | grep -v =name)

$(B)/%.o: %.c $(B)/cflags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# Only the objects that print these see them, so that a commit does not rebuild the rest.  (HAUL_VERSION is an error.)
PRINTS := $(patsubst %.c,$(B)/%.o,$(shell grep -lE 'HAUL_(COMMIT|RELEASE)' cmd/*.c))
$(PRINTS): $(B)/commit
$(PRINTS): EXTRA = -DHAUL_RELEASE='"$(VERSION)"' -DHAUL_COMMIT='"$(COMMIT)"' \
	-DHAUL_CFLAGS='"$(strip $(ALL_CFLAGS))"'
$(B)/tests/%.o: EXTRA = -Wno-conversion -Wno-sign-conversion -Wno-format-nonliteral

# Files that change only when what is in them does.
keep = mkdir -p $(@D) && printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' >$@
$(B)/commit: FORCE
	@$(call keep,$(VERSION) $(COMMIT))
$(B)/cflags: FORCE
	@$(call keep,$(CC) $(ALL_CFLAGS))
FORCE:

$(B)/flags.mk: Makefile
	@mkdir -p $(@D)
	@$(PKG_CONFIG) --exists --print-errors $(PKGS)
	@{ echo 'PROBED_CC := $(CC)'; \
	  printf 'HAVE_CFLAGS :='; for f in $(WANT_CFLAGS); do $(call ask,-c -o /dev/null); done; echo; \
	  printf 'HAVE_LDFLAGS :='; for f in $(WANT_LDFLAGS); do $(call ask,-fPIE -o $@.exe); done; echo; \
	  echo "PKG_CFLAGS := $$($(PKG_CONFIG) --cflags $(PKGS))"; \
	  echo "PKG_LIBS := $$($(PKG_CONFIG) --libs $(PKGS))"; } >$@.tmp; rm -f $@.exe; mv $@.tmp $@

-include $(wildcard $(B)/*/*.d $(B)/tests/*/*.d)

# ---- tests: the targets of WRAP start make again, because `deps` may first have to install what flags.mk asks for

check: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)B=$(B) tests/run.sh unit sim replay e2e fault

# FAULT_SCALE times as many kills and power cuts at random, every system call in the sweeps
soak: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)B=$(B) FAULT_SCALE=$(or $(FAULT_SCALE),20) tests/run.sh fault

unit sim replay e2e fault: tests
	$(Q)B=$(B) tests/run.sh $@

demo: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)B=$(B) tests/demo.sh

bench: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)B=$(B) tests/bench/bench.sh

lint: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)B=$(B) tests/run.sh lint

analyze: deps
	$(Q)B=$(B) tests/analyze.sh

# FUZZ_FAST=1: without the address sanitizer, for many executions; a crash says less then
FUZZ_PROFILE := fuzz$(if $(FUZZ_FAST),fast)
fuzz: deps
	$(Q)$(MAKE) --no-print-directory PROFILE=$(FUZZ_PROFILE) CC=clang B=build/$(FUZZ_PROFILE) \
	  FUZZ_MAIN=-fsanitize=fuzzer fuzz-build
	$(Q)B=build/$(FUZZ_PROFILE) tests/run.sh fuzz
fuzz-build: $(FUZZ_EXE)
ifeq (,$(FUZZ_MAIN)) # no libFuzzer: a main that replays the corpus
$(FUZZ_EXE): $(B)/tests/fuzz/main.o
endif

coverage: deps
	$(Q)$(MAKE) --no-print-directory PROFILE=coverage B=build/coverage tests
	$(Q)find build/coverage -name '*.gcda' -delete
	$(Q)B=build/coverage tests/run.sh unit sim replay
	$(Q)B=build/coverage tests/coverage.sh

check-all: deps
	$(Q)tests/run.sh profiles

check-install: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)B=$(B) tests/lint/install.sh

deps: # lint, the profiles and the fuzzers need a little more than the tests
	$(Q)tests/deps.sh $(if $(filter lint analyze check-all fuzz format,$(MAKECMDGOALS)),all)

format:
	$(Q)clang-format -i $(wildcard wire/*.[ch] lib/*.[ch] cmd/*.[ch] $(addprefix tests/*/*.,c h))

# ---- install

put = $(if $(wildcard $(1)),$(Q)$(INSTALL) -D -m $(3) $(1) '$(DESTDIR)$(2)')
UNITS := haul@.service haul.socket
install: all # SYSTEMDDIR=/lib/systemd/system installs units, too
	$(call put,$(B)/haul,$(BINDIR)/haul,755)
	$(call put,man/haul.1,$(MANDIR)/man1/haul.1,644)
	$(call put,man/haul-wire.5,$(MANDIR)/man5/haul-wire.5,644)
	$(call put,completions/haul.bash,$(BASHDIR)/haul,644)
	$(call put,completions/_haul,$(ZSHDIR)/_haul,644)
	$(call put,completions/haul.fish,$(FISHDIR)/haul.fish,644)
	$(if $(SYSTEMDDIR),$(Q)for u in $(UNITS); do sed 's|/usr/local/bin|$(BINDIR)|' packaging/$$u | \
	  $(INSTALL) -D -m 644 /dev/stdin '$(DESTDIR)$(SYSTEMDDIR)/'$$u || exit; done)

uninstall:
	$(Q)cd '$(or $(DESTDIR),/)' && rm -f $(foreach f,$(BINDIR)/haul $(MANDIR)/man1/haul.1 \
	  $(MANDIR)/man5/haul-wire.5 $(BASHDIR)/haul $(ZSHDIR)/_haul $(FISHDIR)/haul.fish \
	  $(if $(SYSTEMDDIR),$(addprefix $(SYSTEMDDIR)/,$(UNITS))),'./$(f)')

clean:
	$(Q)rm -rf $(B)

distclean:
	$(Q)rm -rf build

help:
	@echo 'make [PROFILE=release|debug|asan|tsan|integer] [V=1] [CC=...] [CFLAGS=...] [PREFIX=...] [TARGET]'
	@echo '  asan is with ubsan; integer (clang) is ubsan that minds wrapping and narrowing, too'
	@echo '  all            build/PROFILE/haul (the default)'
	@echo '  demo           send a real tree through a connection that keeps breaking'
	@echo '  check          everything a change must pass: unit sim replay e2e fault (also targets of their own)'
	@echo '  check-all      check under debug, release, asan, tsan, integer and clang, then lint and check-install'
	@echo '  soak           the fault suite at length: power cuts, kills, failing calls; FAULT_SCALE=20 (root)'
	@echo '  lint           layers, style, man pages, the binary itself;  format: apply clang-format'
	@echo '  analyze        gcc -fanalyzer, clang --analyze and cppcheck: a finding that nobody has explained fails'
	@echo '  fuzz           libFuzzer (clang): FUZZ_SECONDS=20 a target, or FUZZ_RUNS=N executions; FUZZ_TARGETS=a,b; FUZZ_FAST=1'
	@echo '  coverage       lines and branches that unit, sim and replay run, and whether they are enough'
	@echo '  bench          haul beside tar|nc, rsync, cp, and scp and rsync over ssh'
	@echo '  install, uninstall, check-install, deps, clean, distclean'
