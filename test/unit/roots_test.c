/*
 * The text of root keys: what is accepted, and that one bad line refuses all.
 */
#include "keyring/roots.h"
#include "tap.h"

#define A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define B "F0E1D2C3B4A5968778695A4B3C2D1E0F000102030405060708090A0B0C0D0E0F"

/* Parses a copy that ends where the text does, so that a sanitizer sees a byte too many. */
static const char *
parse(const char *text, size_t len, KeyringRoots *roots, int *line)
{
	char *copy = malloc(len > 0 ? len : 1);
	const char *problem;

	memcpy(copy, text, len);
	problem = keyring_parse_roots(copy, len, roots, line);
	free(copy);
	return problem;
}

static void
good(const char *text, int count, const char *current, const char *name)
{
	KeyringRoots roots;
	int line;
	const char *problem = parse(text, strlen(text), &roots, &line);

	if (problem != NULL)
		printf("# line %d: %s\n", line, problem);
	check(problem == NULL && roots.count == count &&
			  strcmp(roots.root[count - 1].id, current) == 0 && line == 0,
		  name);
}

static void
bad_bytes(const char *text, size_t len, int at, const char *name)
{
	KeyringRoots roots;
	int line;
	const char *problem;
	bool wiped = true;
	bool ok;

	memset(&roots, 0xee, sizeof(roots));
	problem = parse(text, len, &roots, &line);
	for (size_t i = 0; i < sizeof(roots); i++)
		wiped = wiped && ((uint8_t *) &roots)[i] == 0;
	ok = problem != NULL && line == at && wiped;
	if (!ok)
		printf("# line %d: %s\n", line, problem != NULL ? problem : "accepted");
	check(ok, name);
}

static void
bad(const char *text, int at, const char *name)
{
	bad_bytes(text, strlen(text), at, name);
}

int
main(void)
{
	static char many[KEYRING_ROOT_TEXT_MAX + 100];
	KeyringRoots roots;
	int line;

	if (!crypto_init())
		return 1;
	good("dev-1 " A "\n", 1, "dev-1", "one key");
	good("dev-1 " A, 1, "dev-1", "without an end of line");
	good("# kept apart\n\n2025.01 " A "\r\n\t 2025.02 \t " B " \t\r\n#", 2, "2025.02",
		 "comments, blank lines, blanks, CRLF; the last key is current");
	good("abcdefghijklmnopqrstuvwxyz012345 " A "\n", 1, "abcdefghijklmnopqrstuvwxyz012345",
		 "an id of 32 characters");
	check(parse("k " B, strlen("k " B), &roots, &line) == NULL && is_hex(roots.root[0].key, 32, B),
		  "digits of either case give the bytes");

	bad("", 0, "nothing");
	bad("# only a comment\n\n", 0, "only comments");
	bad("dev-1 " A "\ndev-1 " B "\n", 2, "an id twice");
	bad("dev-1\n", 1, "an id alone");
	bad(A "\n", 1, "a key alone");
	bad("dev-1 " A "0\n", 1, "a digit too many");
	bad("dev-1 0001\n", 1, "a short key");
	bad("x " A "\ndev-1 " A " y\n", 2, "something after the key");
	bad("x " A "\n\n#\ndev:1 " B "\n", 4, "a character that ids do not have");
	bad("abcdefghijklmnopqrstuvwxyz0123456 " A "\n", 1, "an id of 33 characters");
	bad("dev-1 g" A "\n" + 0, 1, "a character that is no digit");
	bad("dev-1 00010203040506070809zz0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 1,
		"letters that are no digits");
	bad("dev-1 " A " # mine\n", 1, "a comment after a key");
	bad_bytes("dev-1 " A "\n\0", strlen("dev-1 " A "\n") + 1, 2, "a zero byte");
	bad_bytes("dev-1\0" A "\n", strlen("dev-1 " A "\n"), 1, "a zero byte inside");
	bad("\xef\xbb\xbf"
		"dev-1 " A "\n",
		1, "a byte order mark");

	for (int i = 0; i < KEYRING_ROOTS_MAX; i++)
		snprintf(many + strlen(many), 80, "k%d " A "\n", i);
	check(parse(many, strlen(many), &roots, &line) == NULL && roots.count == 64, "64 keys");
	strcat(many, "one-more " A "\n");
	bad(many, 65, "65 keys");
	memset(many, '\n', sizeof(many));
	bad_bytes(many, KEYRING_ROOT_TEXT_MAX + 1, 0, "a text of more than 16 kB");
	return done();
}
