/*
 * The text of root keys, as docs/format.md says.
 * Trusts nothing in the text; refuses the whole of it for one bad line.
 * What it answers names lines, never their content.
 */
#include <string.h>

#include "keyring/roots.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_id_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
		   c == '_' || c == '-';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One line without its end, which is neither blank nor a comment. */
static const char *
parse_line(const char *p, const char *end, KeyringRoots *roots)
{
	KeyringRoot *root;
	const char *id = p;
	size_t id_len;

	while (p < end && is_id_char(*p))
		p++;
	id_len = (size_t) (p - id);
	if (id_len == 0 || id_len > KEYRING_ROOT_ID_MAX || p == end || !is_blank(*p))
		return "a line must be a key's id of 1 to 32 characters from A-Z a-z 0-9 . _ -, "
			   "a space, and 64 hexadecimal digits";
	while (p < end && is_blank(*p))
		p++;
	if (end - p != 2 * CRYPTO_KEY_BYTES)
		return "a root key must be 64 hexadecimal digits";
	for (int i = 0; i < roots->count; i++)
	{
		if (strlen(roots->root[i].id) == id_len && memcmp(roots->root[i].id, id, id_len) == 0)
			return "a root key's id stands there twice";
	}
	if (roots->count == KEYRING_ROOTS_MAX)
		return "there are more than 64 root keys";

	root = &roots->root[roots->count];
	for (int i = 0; i < CRYPTO_KEY_BYTES; i++)
	{
		int high = hex_value(p[2 * i]);
		int low = hex_value(p[2 * i + 1]);

		if (high < 0 || low < 0)
			return "a root key must be 64 hexadecimal digits";
		root->key[i] = (uint8_t) (high << 4 | low);
	}
	memcpy(root->id, id, id_len);
	root->id[id_len] = '\0';
	roots->count++;
	return NULL;
}

const char *
keyring_parse_roots(const char *text, size_t len, KeyringRoots *roots, int *line)
{
	const char *p = text;
	const char *stop = text + len;
	const char *problem = NULL;

	memset(roots, 0, sizeof(*roots));
	*line = 0;
	if (len > KEYRING_ROOT_TEXT_MAX)
		return "the text is longer than 16 kB";
	while (p < stop && problem == NULL)
	{
		const char *end = memchr(p, '\n', (size_t) (stop - p));
		const char *next;

		if (end == NULL)
			end = next = stop;
		else
			next = end + 1;
		(*line)++;
		if (end > p && end[-1] == '\r')
			end--;
		while (p < end && is_blank(*p))
			p++;
		while (end > p && is_blank(end[-1]))
			end--;
		if (p < end && *p != '#')
			problem = parse_line(p, end, roots);
		p = next;
	}
	if (problem == NULL)
	{
		*line = 0;
		if (roots->count == 0)
			problem = "there is no root key in it";
	}
	if (problem != NULL)
		crypto_wipe(roots, sizeof(*roots));
	return problem;
}
