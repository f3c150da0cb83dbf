/*
 * gen: the bench's data, the same every time.
 *
 *   gen rand FILE MIB                 incompressible
 *   gen text FILE MIB CORPUS          pieces of CORPUS in random order
 *   gen tree DIR COUNT MIB CORPUS     COUNT files in a source-like tree: most small, pieces of CORPUS, one in
 * seven incompressible, one link for every twenty files
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB   ((size_t)1 << 20)
#define PIECE ((size_t)64 << 10)

static uint64_t state = 0x9e3779b97f4a7c15;

/* xorshift64*: fast, and incompressible enough */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static void die(const char *what)
{
	fprintf(stderr, "gen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *corpus;
static size_t corpus_len;

static void load_corpus(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0)
		die(path);
	corpus_len = (size_t)st.st_size;
	corpus = mmap(NULL, corpus_len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (corpus_len < 2 * PIECE || corpus == MAP_FAILED)
		die("the corpus is too small");
	close(fd);
}

static void put(FILE *f, const char *path, const void *data, size_t len)
{
	if (fwrite(data, 1, len, f) != len)
		die(path);
}

static void put_random(FILE *f, const char *path, size_t len)
{
	uint64_t block[512];

	for (size_t n; len > 0; len -= n) {
		for (size_t i = 0; i < 512; i++)
			block[i] = next();
		n = len < sizeof block ? len : sizeof block;
		put(f, path, block, n);
	}
}

static void put_text(FILE *f, const char *path, size_t len)
{
	for (size_t n; len > 0; len -= n) {
		n = len < PIECE ? len : PIECE;
		put(f, path, corpus + next() % (corpus_len - n), n);
	}
}

static void make_file(const char *path, size_t len, void fill(FILE *, const char *, size_t))
{
	FILE *f = fopen(path, "wxe");

	if (f == NULL)
		die(path);
	fill(f, path, len);
	if (fclose(f) != 0)
		die(path);
}

/* A size with the long tail of source files: the mean of mean * 2^k, k halving in likelihood, is about mean
 * * 2.3. */
static size_t tree_size(size_t mean)
{
	size_t size = mean / 7 + next() % (mean * 2 / 7 + 1);

	for (int k = 0; k < 10 && next() % 100 < 42; k++)
		size *= 2;
	return size;
}

static void make_tree(const char *top, size_t count, size_t mib)
{
	char path[4096], target[64];
	size_t mean = mib * MIB / count;

	if (mkdir(top, 0755) != 0)
		die(top);
	for (size_t i = 0; i < count; i++) {
		size_t a = i / 1000, b = i / 40 % 25, c = i / 10 % 4;
		snprintf(path, sizeof path, "%s/part%03zu", top, a);
		mkdir(path, 0755);
		snprintf(path, sizeof path, "%s/part%03zu/module%02zu", top, a, b);
		mkdir(path, 0755);
		snprintf(path, sizeof path, "%s/part%03zu/module%02zu/sub%zu", top, a, b, c);
		mkdir(path, 0755);
		size_t end = strlen(path);
		snprintf(path + end, sizeof path - end, "/file%05zu.c", i);
		make_file(path, tree_size(mean), i % 7 == 3 ? put_random : put_text);
		if (i % 20 == 0) {
			snprintf(target, sizeof target, "file%05zu.c", i);
			snprintf(path + end, sizeof path - end, "/link%05zu", i);
			if (symlink(target, path) != 0)
				die(path);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "rand") == 0) {
		make_file(argv[2], (size_t)atol(argv[3]) * MIB, put_random);
	} else if (argc == 5 && strcmp(argv[1], "text") == 0) {
		load_corpus(argv[4]);
		make_file(argv[2], (size_t)atol(argv[3]) * MIB, put_text);
	} else if (argc == 6 && strcmp(argv[1], "tree") == 0 && atol(argv[3]) > 0) {
		load_corpus(argv[5]);
		make_tree(argv[2], (size_t)atol(argv[3]), (size_t)atol(argv[4]));
	} else {
		fprintf(stderr,
			"usage: gen rand FILE MIB | text FILE MIB CORPUS | tree DIR COUNT MIB CORPUS\n");
		return 2;
	}
	return 0;
}
