/*
 * The text of root keys: lines "id hex64", comments, blank lines.
 * No postgres.h: unit tests and fuzzers link it alone.  Trusts nothing in the
 * text; refuses the whole of it for one bad line, and never repeats any of it.
 */
#ifndef IMMIIQ_ROOTS_H
#define IMMIIQ_ROOTS_H

#include "keyring/wrap.h"

#define KEYRING_ROOTS_MAX	  64
#define KEYRING_ROOT_TEXT_MAX 16384

typedef struct KeyringRoot
{
	char id[KEYRING_ROOT_ID_MAX + 1];
	uint8_t key[CRYPTO_KEY_BYTES];
} KeyringRoot;

typedef struct KeyringRoots
{
	int count; /* the last one is the current one */
	KeyringRoot root[KEYRING_ROOTS_MAX];
} KeyringRoots;

/* NULL when the text is whole; otherwise what is wrong, with *line counted from 1 (0: the whole text), and roots wiped. */
extern const char *keyring_parse_roots(const char *text, size_t len, KeyringRoots *roots,
									   int *line) CRYPTO_MUST_USE;

#endif /* IMMIIQ_ROOTS_H */
