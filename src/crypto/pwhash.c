/*
 * Argon2id by libsodium, bcrypt by libxcrypt's crypt_r.  Trusts both with what
 * pwhash_kind let through; refuses DES, MD5, $2x$, failure strings, and what
 * bcrypt would cut off.
 */
#include <crypt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/pwhash.h"

/* Reads digits up to stop; false for none, for too many, and for a leading zero. */
static bool
pwhash_number(const char **p, char stop, unsigned *value)
{
	const char *s = *p;

	*value = 0;
	if (*s < '1' || *s > '9')
		return false;
	while (*s >= '0' && *s <= '9' && s - *p < 8)
		*value = *value * 10 + (unsigned) (*s++ - '0');
	if (*s != stop)
		return false;
	*p = s + 1;
	return true;
}

/* $argon2id$v=19$m=…,t=…,p=1$salt$hash with at most 256 MiB and 16 passes. */
static bool
pwhash_read_argon2id(const char *hash, unsigned *memory, unsigned *passes)
{
	static const char start[] = "$argon2id$v=19$m=";
	const char *p = hash + sizeof(start) - 1;
	unsigned lanes;
	int dollars = 0;

	if (strncmp(hash, start, sizeof(start) - 1) != 0 || strlen(hash) >= PWHASH_SIZE)
		return false;
	if (!pwhash_number(&p, ',', memory) || strncmp(p, "t=", 2) != 0)
		return false;
	p += 2;
	if (!pwhash_number(&p, ',', passes) || strncmp(p, "p=", 2) != 0)
		return false;
	p += 2;
	if (!pwhash_number(&p, '$', &lanes) || lanes != 1)
		return false;
	for (const char *s = p; *s; s++)
		if (*s == '$')
			dollars++;
	return dollars == 1 && *memory >= 8 && *memory <= 262144 && *passes <= 16;
}

/* $2a$, $2b$ or $2y$, a cost of two digits, 53 characters of salt and hash. */
static bool
pwhash_is_bcrypt(const char *hash)
{
	static const char alphabet[] =
		"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	int cost;

	if (strlen(hash) != 60 || hash[0] != '$' || hash[1] != '2' || hash[3] != '$' || hash[6] != '$')
		return false;
	if (hash[2] != 'a' && hash[2] != 'b' && hash[2] != 'y')
		return false;
	if (hash[4] < '0' || hash[4] > '9' || hash[5] < '0' || hash[5] > '9')
		return false;
	cost = (hash[4] - '0') * 10 + hash[5] - '0';
	return cost >= 4 && cost <= 16 && strspn(hash + 7, alphabet) == 53;
}

PwhashKind
pwhash_kind(const char *hash)
{
	unsigned memory;
	unsigned passes;

	if (pwhash_read_argon2id(hash, &memory, &passes))
		return PWHASH_ARGON2ID;
	return pwhash_is_bcrypt(hash) ? PWHASH_BCRYPT : PWHASH_NONE;
}

bool
pwhash_is_current(const char *hash)
{
	unsigned memory;
	unsigned passes;

	return pwhash_read_argon2id(hash, &memory, &passes) && memory == PWHASH_MEMORY / 1024 &&
		   passes == PWHASH_OPS;
}

bool
pwhash_make(const char *password, size_t len, char out[PWHASH_SIZE])
{
	char made[crypto_pwhash_STRBYTES];

	if (crypto_pwhash_str_alg(made, password, len, PWHASH_OPS, PWHASH_MEMORY,
							  crypto_pwhash_ALG_ARGON2ID13) != 0 ||
		strlen(made) >= PWHASH_SIZE)
		return false;
	strcpy(out, made);
	return true;
}

static bool
pwhash_verify_bcrypt(const char *hash, const char *password, size_t len)
{
	struct crypt_data *data;
	char *copy;
	const char *made;
	bool same = false;

	/* bcrypt would compare the beginning only */
	if (len > PWHASH_BCRYPT_MAX || memchr(password, '\0', len) != NULL)
		return false;
	data = calloc(1, sizeof(*data));
	copy = malloc(len + 1);
	if (data != NULL && copy != NULL)
	{
		memcpy(copy, password, len);
		copy[len] = '\0';
		made = crypt_r(copy, hash, data);
		same = made != NULL && strlen(made) == strlen(hash) && made[0] == '$' &&
			   crypto_equal(made, hash, strlen(hash));
	}
	if (copy != NULL)
		crypto_wipe(copy, len + 1);
	if (data != NULL)
		crypto_wipe(data, sizeof(*data));
	free(copy);
	free(data);
	return same;
}

bool
pwhash_verify(const char *hash, const char *password, size_t len)
{
	switch (pwhash_kind(hash))
	{
		case PWHASH_ARGON2ID:
			return crypto_pwhash_str_verify(hash, password, len) == 0;
		case PWHASH_BCRYPT:
			return pwhash_verify_bcrypt(hash, password, len);
		case PWHASH_NONE:
			break;
	}
	return false;
}
