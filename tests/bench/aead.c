/*
 * aead: what a second cipher suite could gain on this CPU.
 *
 *   aead [--mb MB --plain SECONDS --sealed SECONDS]
 *
 * Prints how fast libsodium seals and opens records in place, with ChaCha20-Poly1305 (what haul speaks) and with
 * AES-256-GCM (where the CPU has it), in MB (1e6 bytes) a second of CPU time: the best of all rounds and their
 * median. The suites take turns. A suite that haul would have to negotiate is worth that only if the whole transfer
 * gains WORTH; the larger ratio of the primitives' medians, sealing or opening, is the upper bound of it. With the
 * times of one transfer of MB in the clear and encrypted, it also prints what would become of that one.
 */
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORTH	    1.25
#define ROUNDS	    11
#define ROUND_BYTES ((size_t)32 << 20)
#define RING_BYTES  ((size_t)4 << 20) /* as much as is in flight between the stages of a transfer */
#define TAG_BYTES   16u

enum { CHACHA, AES, SUITES };
enum { SEAL, OPEN, WAYS };

static const char *const suite_names[SUITES] = {"ChaCha20-Poly1305", "AES-256-GCM"};
static const size_t records[] = {(size_t)64 << 10, (size_t)256 << 10};
#define RECORDS (sizeof records / sizeof *records)

static unsigned char key[32];
static crypto_aead_aes256gcm_state aes;

/* MB a second. */
struct rates {
	double round[WAYS][ROUNDS];
	double best[WAYS], median[WAYS];
};

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool crypt(int suite, int way, unsigned char *p, size_t len, const unsigned char *nonce)
{
	if (suite == CHACHA && way == SEAL)
		return crypto_aead_chacha20poly1305_ietf_encrypt(p, NULL, p, len, NULL, 0, NULL, nonce,
								 key) == 0;
	if (suite == CHACHA)
		return crypto_aead_chacha20poly1305_ietf_decrypt(p, NULL, NULL, p, len + TAG_BYTES, NULL, 0,
								 nonce, key) == 0;
	if (way == SEAL)
		return crypto_aead_aes256gcm_encrypt_afternm(p, NULL, p, len, NULL, 0, NULL, nonce, &aes) ==
		       0;
	return crypto_aead_aes256gcm_decrypt_afternm(p, NULL, NULL, p, len + TAG_BYTES, NULL, 0, nonce,
						     &aes) == 0;
}

/* Seals the ring and opens it again, until ROUND_BYTES went each way. */
static void run_round(int suite, size_t record, unsigned char *ring, struct rates *rates, size_t round)
{
	unsigned char nonce[12] = {0};
	double spent[WAYS] = {0};

	for (size_t done = 0; done < ROUND_BYTES; done += RING_BYTES)
		for (int way = 0; way < WAYS; way++) {
			double start = cpu_seconds();
			for (size_t i = 0; i < RING_BYTES / record; i++)
				if (!crypt(suite, way, ring + i * (record + TAG_BYTES), record, nonce)) {
					fprintf(stderr, "aead: %s: a record could not be opened\n",
						suite_names[suite]);
					exit(1);
				}
			spent[way] += cpu_seconds() - start;
		}
	for (int way = 0; way < WAYS; way++)
		rates->round[way][round] = (double)ROUND_BYTES / 1e6 / spent[way];
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void summarise(struct rates *rates)
{
	for (int way = 0; way < WAYS; way++) {
		qsort(rates->round[way], ROUNDS, sizeof(double), by_value);
		rates->median[way] = rates->round[way][ROUNDS / 2];
		rates->best[way] = rates->round[way][ROUNDS - 1];
	}
}

static const char *verdict(double gain)
{
	return gain < WORTH ? "which is less" : "which would do";
}

/*
 * One side seals while the other opens, so the transfer becomes shorter by what the slower of the two saves, if it
 * waits for nothing else; never shorter than in the clear.
 */
static void print_transfer(double mb, double plain, double sealed, const struct rates rates[SUITES])
{
	double saved = 0;

	for (int way = 0; way < WAYS; way++) {
		double s = mb / rates[CHACHA].median[way] - mb / rates[AES].median[way];
		if (s > saved)
			saved = s;
	}
	double then = sealed - saved > plain ? sealed - saved : plain;
	double gain = then < sealed ? sealed / then : 1;
	printf("  a transfer of %.0f MB takes %.2f s in the clear and %.2f s encrypted: %s would gain about "
	       "%.2fx, %s\n",
	       mb, plain, sealed, suite_names[AES], gain, verdict(gain));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"mb", required_argument, NULL, 'm'},
		{"plain", required_argument, NULL, 'p'},
		{"sealed", required_argument, NULL, 's'},
		{0},
	};
	static struct rates rates[RECORDS][SUITES];
	double mb = 0, plain = 0, sealed = 0;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		double *to = c == 'm' ? &mb : c == 'p' ? &plain : c == 's' ? &sealed : NULL;
		char *end = NULL;
		if (to != NULL)
			*to = strtod(optarg, &end);
		if (end == NULL || *end != '\0' || !(*to > 0)) {
			fprintf(stderr, "usage: aead [--mb MB --plain SECONDS --sealed SECONDS]\n");
			return 2;
		}
	}
	unsigned char *ring = malloc(RING_BYTES + RING_BYTES / records[0] * TAG_BYTES);
	if (sodium_init() < 0 || ring == NULL)
		return 1;
	int suites = crypto_aead_aes256gcm_is_available() ? SUITES : AES;
	randombytes_buf(key, sizeof key);
	randombytes_buf(ring, RING_BYTES);
	if (suites > AES)
		crypto_aead_aes256gcm_beforenm(&aes, key);

	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t r = 0; r < RECORDS; r++)
			for (int suite = 0; suite < suites; suite++)
				run_round(suite, records[r], ring, &rates[r][suite], round);
	free(ring);
	for (int suite = 0; suite < suites; suite++)
		for (size_t r = 0; r < RECORDS; r++) {
			struct rates *x = &rates[r][suite];
			summarise(x);
			printf("  %-18s %3zu KiB  seal %5.0f MB/s, median %5.0f   open %5.0f MB/s, median "
			       "%5.0f\n",
			       suite_names[suite], records[r] >> 10, x->best[SEAL], x->median[SEAL],
			       x->best[OPEN], x->median[OPEN]);
		}
	if (suites == AES) {
		printf("  this CPU does not have what libsodium needs for %s: there is nothing to gain\n",
		       suite_names[AES]);
		return 0;
	}
	double most = 0;
	printf("  a second suite pays if the whole transfer gains %.2fx; the primitives alone gain", WORTH);
	for (size_t r = 0; r < RECORDS; r++) {
		double ratio[WAYS];
		for (int way = 0; way < WAYS; way++) {
			ratio[way] = rates[r][AES].median[way] / rates[r][CHACHA].median[way];
			most = ratio[way] > most ? ratio[way] : most;
		}
		printf(" %.2fx sealing and %.2fx opening (%zu KiB)%s", ratio[SEAL], ratio[OPEN],
		       records[r] >> 10, r + 1 < RECORDS ? "," : "");
	}
	printf(": at most %.2fx, %s\n", most, verdict(most));
	if (mb > 0 && plain > 0 && sealed > 0)
		print_transfer(mb, plain, sealed, rates[RECORDS - 1]);
	return 0;
}
