/*
 * The main of a target without libFuzzer: runs the files named, and the files of directories named, through
 * it and prints how many. `make check` replays tests/fuzz/corpus with it. A crash that libFuzzer found is
 * repeated under any profile and in gdb with `build/PROFILE/tests/fuzz/TARGET FILE`.
 */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static unsigned long ran;

static void run_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "rb");
	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		exit(1);
	}
	size_t n = (size_t)st.st_size;
	uint8_t *p = malloc(n ? n : 1); /* exactly as long, so that a sanitizer sees a read behind it */
	CHECK(p);
	if (fread(p, 1, n, f) != n) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	ran++;
}

static void run_path(const char *path)
{
	DIR *d = opendir(path);
	if (!d) {
		run_file(path);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		char file[4096];
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		run_file(file);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("# %lu inputs\n", ran);
	return ran ? 0 : 1;
}
