/*
 * types_floor seal|open|tagged LENGTH PREFIX: nanoseconds of CPU time of what no sealing or opening can do without, a value, in a loop of
 * its own: XAES-256-GCM with a fresh nonce (seal), with HMAC-SHA256 of the same bytes (tagged), or opening 4,096 values in turn (open).
 * PREFIX bytes stand before the ciphertext and are authenticated with it: 8 of a value without a tag, 24 of one with a tag.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/crypto.h"

#define VALUES 4096
#define ROUNDS 40
#define LABEL  18 /* bytes that are authenticated with every value */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
	static const uint8_t secret[CRYPTO_KEY_BYTES] = {1, 2, 3};
	uint8_t aad[LABEL + 64] = {4, 5, 6};
	uint8_t tag[CRYPTO_HASH_BYTES];
	size_t len = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	size_t aad_len = LABEL + (argc == 4 ? strtoul(argv[3], NULL, 10) : 0);
	size_t size = CRYPTO_NONCE_BYTES + len + CRYPTO_MAC_BYTES;
	uint8_t *plain = calloc(1, len + 1);
	uint8_t *sealed = calloc(VALUES, size);
	CryptoXaes *key = crypto_init() ? crypto_xaes_new(secret) : NULL;
	CryptoHmac hmac;
	bool tagged;
	bool open;
	bool ok;
	double took[ROUNDS];

	if (len == 0 || aad_len > sizeof(aad) || plain == NULL || sealed == NULL || key == NULL)
		return 2;
	ok = crypto_hmac_init(&hmac, secret, sizeof(secret));
	tagged = strcmp(argv[1], "tagged") == 0;
	open = strcmp(argv[1], "open") == 0;
	for (int round = 0; ok && round < ROUNDS; round++)
	{
		double from = now();

		for (int i = 0; ok && i < VALUES; i++)
		{
			uint8_t *out = sealed + (size_t) i * size;

			if (open && round > 0)
			{
				ok = crypto_xaes_open(key, out, aad, aad_len, out + CRYPTO_NONCE_BYTES,
									  len + CRYPTO_MAC_BYTES, plain);
				continue;
			}
			if (tagged)
				ok = crypto_hmac(&hmac, plain, len, tag);
			crypto_nonce(out, CRYPTO_NONCE_BYTES);
			ok = ok &&
				 crypto_xaes_seal(key, out, aad, aad_len, plain, len, out + CRYPTO_NONCE_BYTES);
		}
		took[round] = now() - from;
	}
	if (!ok)
		return 1;
	/* the first round is not like the others: it seals in every case */
	qsort(took + 1, ROUNDS - 1, sizeof(double), compare);
	printf("%.1f\n", took[ROUNDS / 2] / VALUES);
	crypto_xaes_free(key);
	free(plain);
	free(sealed);
	return 0;
}
