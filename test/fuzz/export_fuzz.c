/*
 * What immiiq-verify reads, from anybody: exports, checkpoints, verifier keys, proofs of consistency. Nothing is read
 * beyond its end, and what is taken is not taken with a letter more. An entry's body comes apart from its line, with
 * the tree made to fit it, or nothing would get past the hashes.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/export.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* A copy that ends where it ends. */
static char *
exact(const void *p, size_t n)
{
	char *copy = malloc(n + (n == 0));

	memcpy(copy, p, n);
	return copy;
}

/* All lines of a text. */
static void
read_lines(ExportReader *reader, const char *text, size_t len)
{
	const char *problem = NULL;

	for (const char *p = text; problem == NULL && p < text + len;)
	{
		const char *end = memchr(p, '\n', (size_t) (text + len - p));
		size_t n = (size_t) ((end != NULL ? end : text + len) - p);
		char *line = exact(p, n);

		problem = export_read_line(reader, line, n);
		free(line);
		p += n + 1;
	}
	(void) export_finish(reader);
}

/* An entry: two bytes say how long its body is, what follows are its columns. */
static void
read_entry(const ExportKey *key, const uint8_t *data, size_t size)
{
	ExportReader reader = {.key = key, .state = 1, .first = 1, .last = 1, .tree_size = 1};
	size_t body = size < 2 ? 0 : (size_t) data[0] << 8 | data[1];
	size_t len = 0;
	char *line;

	if (size < 2 || body > size - 2)
		return;
	data += 2;
	size -= 2;
	if (body >= 44)
		memcpy(reader.org, data + 8,
			   sizeof(reader.org)); /* behind version and operation, with their tags */
	if (!tree_leaf_hash(data, body, reader.tree_root))
		abort();
	line = malloc(100 + body * 2 + size);
	len = (size_t) sprintf(line, "{\"position\":1,\"body\":\"");
	for (size_t i = 0; i < body; i += 3)
	{
		uint32_t v = (uint32_t) data[i] << 16 | (i + 1 < body ? (uint32_t) data[i + 1] << 8 : 0) |
					 (i + 2 < body ? data[i + 2] : 0);

		line[len++] = letters[v >> 18];
		line[len++] = letters[v >> 12 & 63];
		line[len++] = i + 1 < body ? letters[v >> 6 & 63] : '=';
		line[len++] = i + 2 < body ? letters[v & 63] : '=';
	}
	len += (size_t) sprintf(line + len, "\",\"path\":[],\"columns\":");
	memcpy(line + len, data + body, size - body);
	len += size - body;
	{
		char *copy = exact(line, len);
		ExportReader again = reader;

		if (export_read_line(&reader, copy, len) == NULL)
		{
			char *more = malloc(len + 1);

			memcpy(more, line, len);
			more[len] = '}';
			assert(export_read_line(&again, more, len + 1) != NULL);
			free(more);
		}
		free(copy);
		export_free(&again);
	}
	export_free(&reader);
	free(line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static ExportKey key;
	ExportReader reader = {.key = &key};
	ExportHead before = {.size = 5};
	ExportHead now = {.size = 9};
	ExportHead head;
	ExportKey other;
	char *text;

	if (!crypto_init() || size == 0)
		return 0;
	strcpy(key.name, "log");
	text = exact(data + 1, size - 1);
	switch (data[0])
	{
		case 'k':
		{
			char *ended = malloc(size);

			memcpy(ended, data + 1, size - 1);
			ended[size - 1] = '\0';
			(void) export_parse_key(ended, &other);
			free(ended);
			break;
		}
		case 'n':
			(void) export_parse_checkpoint(&key, text, size - 1, &head);
			break;
		case 'c':
			(void) export_check_consistency(&before, &now, text, size - 1);
			break;
		case 'e':
			read_entry(&key, data + 1, size - 1);
			break;
		case 'l':
			reader.state = 1;
			reader.first = 1;
			reader.last = 3;
			reader.tree_size = 4;
			read_lines(&reader, text, size - 1);
			break;
		default:
			read_lines(&reader, text, size - 1);
	}
	export_free(&reader);
	free(text);
	return 0;
}
