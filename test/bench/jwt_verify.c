/*
 * Microseconds of libsodium's Ed25519 verification of a message as long as the argument says, in a loop of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#define ROUNDS 2000

int
main(int argc, char **argv)
{
	static unsigned char message[16384];
	unsigned char pk[crypto_sign_PUBLICKEYBYTES];
	unsigned char sk[crypto_sign_SECRETKEYBYTES];
	unsigned char sig[crypto_sign_BYTES];
	size_t len = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	struct timespec from, to;

	if (sodium_init() < 0 || len == 0 || len > sizeof(message))
		return 1;
	memset(message, 'e', len);
	crypto_sign_keypair(pk, sk);
	crypto_sign_detached(sig, NULL, message, len, sk);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < ROUNDS; i++)
		if (crypto_sign_verify_detached(sig, message, len, pk) != 0)
			return 1;
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.3f\n",
		   ((double) (to.tv_sec - from.tv_sec) * 1e6 + (double) (to.tv_nsec - from.tv_nsec) / 1e3) /
			   ROUNDS);
	return 0;
}
