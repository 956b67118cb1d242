/*
 * The text of session tokens: form, range, checksum, hash, and how they are found in texts.
 */
#include <stdio.h>
#include <string.h>

#include "context/token.h"

static int tests = 0;
static int failures = 0;

static void
check(bool good, const char *name)
{
	tests++;
	if (!good)
		failures++;
	printf("%sok %d - %s\n", good ? "" : "not ", tests, name);
}

static bool
accepted(const char *text)
{
	uint8_t hash[CRYPTO_HASH_BYTES];

	return token_hash("s", text, strlen(text), hash);
}

/* Every single character replaced by another of the alphabet, or by one outside it, is refused. */
static bool
slips_are_refused(const char *token)
{
	static const char others[] = "0Az_ -\x80";

	for (size_t i = 0; i < TOKEN_LEN; i++)
		for (size_t j = 0; j < sizeof(others) - 1; j++)
		{
			char changed[TOKEN_LEN + 1];

			strcpy(changed, token);
			if (changed[i] == others[j])
				continue;
			changed[i] = others[j];
			if (accepted(changed))
				return false;
		}
	return true;
}

int
main(void)
{
	/* Texts computed by another program (Python's hashlib and integers), not by this code. */
	static const uint8_t zero[32] = {0};
	uint8_t counted[32];
	uint8_t largest[32];
	char token[TOKEN_LEN + 1];
	char other[TOKEN_LEN + 1];
	char padded[TOKEN_LEN + 3];
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint8_t expected[CRYPTO_HASH_BYTES];
	size_t len;

	if (!crypto_init())
		return 1;
	for (int i = 0; i < 32; i++)
		counted[i] = (uint8_t) i;
	memset(largest, 0xff, sizeof(largest));

	check(token_encode('s', zero, token) &&
			  strncmp(token, "iq_s_0000000000000000000000000000000000000000000", 48) == 0,
		  "zero bytes are zero digits");
	check(strlen(token) == TOKEN_LEN && accepted(token), "and make a token of 54 characters");
	check(token_encode('s', counted, token) &&
			  strcmp(token, "iq_s_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf22x1f5") == 0,
		  "a fixed secret has a fixed text");
	check(token_encode('s', largest, token) &&
			  strcmp(token, "iq_s_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp12J9xwC") == 0 &&
			  accepted(token),
		  "the largest secret is accepted");

	check(token_make('s', token) && token_make('s', other) && strcmp(token, other) != 0,
		  "two tokens differ");
	check(token_hash("s", token, TOKEN_LEN, hash) && crypto_sha256(token, TOKEN_LEN, expected) &&
			  crypto_equal(hash, expected, sizeof(hash)),
		  "the hash is the SHA-256 of the whole text");
	check(slips_are_refused(token), "any one character changed is refused");

	strcpy(other, token);
	memset(other + TOKEN_PREFIX_LEN, 'z', TOKEN_BODY_LEN);
	check(!accepted(other), "a number above 2^256 is refused");
	snprintf(padded, sizeof(padded), "%s ", token);
	check(!accepted(padded), "a blank behind is refused");
	snprintf(padded, sizeof(padded), " %s", token);
	check(!accepted(padded), "a blank before is refused");
	check(!accepted("") && !accepted("iq_s_") && !accepted("-"), "short texts are refused");
	check(!token_hash("s", token, TOKEN_LEN - 1, hash), "a token cut short is refused");

	check(token_find("SELECT 1", &len) == NULL, "no token is found where none is");
	check(token_find("x iq_s_ab'y", &len) != NULL && len == 7, "a token cut short is found");
	check(token_find("x('eyJhbGciOi-_9.eyJpc3Mi.c2ln') iq_s_1", &len) != NULL && len == 27,
		  "a JWT is found, up to its signature");
	check(token_find("eyJ eyJh.eyJi", &len) != NULL && len == 9, "one cut short, too");
	check(token_find("eyJhbGciOi.c2ln eyJ", &len) == NULL, "other base64url is not");
	check(token_find("iq_s_1 eyJh.eyJi", &len) != NULL && len == 6, "the first of two comes first");
	printf("1..%d\n", tests);
	return failures != 0;
}
