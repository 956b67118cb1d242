/*
 * What unit tests share: TAP, and bytes written in hexadecimal.
 */
#ifndef IMMIIQ_TAP_H
#define IMMIIQ_TAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_tests = 0;
static int tap_failures = 0;

static inline bool
check(bool good, const char *name)
{
	tap_tests++;
	if (!good)
		tap_failures++;
	printf("%sok %d - %s\n", good ? "" : "not ", tap_tests, name);
	return good;
}

/* Prints the plan; what main() returns. */
static inline int
done(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failures == 0 ? 0 : 1;
}

/* Bytes of a hexadecimal text of known good form, at most size of them; how many. */
static inline size_t
unhex(const char *hex, uint8_t *out, size_t size)
{
	size_t n = strlen(hex) / 2;

	if (n > size)
		abort();
	for (size_t i = 0; i < n; i++)
	{
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			abort();
		out[i] = (uint8_t) byte;
	}
	return n;
}

/* True when bytes are those of the hexadecimal text, no more and no fewer. */
static inline bool
is_hex(const void *bytes, size_t n, const char *hex)
{
	static uint8_t want[1 << 16];
	size_t m = unhex(hex, want, sizeof(want));

	if (n == m && memcmp(bytes, want, n) == 0)
		return true;
	printf("# want %s\n# have ", hex);
	for (size_t i = 0; i < n; i++)
		printf("%02x", ((const uint8_t *) bytes)[i]);
	printf("\n");
	return false;
}

#endif /* IMMIIQ_TAP_H */
