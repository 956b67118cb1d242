/*
 * Reading an export of the log and holding it against a public key.  Trusts the
 * key; refuses whatever has a second way to be written, so that every byte of
 * an export counts.
 */
#include "audit/export.h"

#include <stdlib.h>
#include <string.h>

#include "audit/commit.h"

enum
{
	EXPORT_HEADER,
	EXPORT_CONTEXTS,
	EXPORT_ENTRIES,
	EXPORT_END
};

static const char *const not_canonical = "line is malformed";

/* ---- the letters of a line ---- */

typedef struct Cursor
{
	const char *p;
	const char *end;
} Cursor;

static bool
take(Cursor *c, const char *literal)
{
	size_t n = strlen(literal);

	if ((size_t) (c->end - c->p) < n || memcmp(c->p, literal, n) != 0)
		return false;
	c->p += n;
	return true;
}

static bool
take_number(Cursor *c, uint64_t *n)
{
	const char *start = c->p;

	*n = 0;
	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
	{
		if (*n > (UINT64_MAX - 9) / 10)
			return false;
		*n = *n * 10 + (uint64_t) (*c->p++ - '0');
	}
	return c->p > start && (*start != '0' || c->p == start + 1);
}

static int
base64_value(char ch)
{
	if (ch >= 'A' && ch <= 'Z')
		return ch - 'A';
	if (ch >= 'a' && ch <= 'z')
		return ch - 'a' + 26;
	if (ch >= '0' && ch <= '9')
		return ch - '0' + 52;
	return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

/* Base64 with padding, the spare bits zero, up to a letter that is none; out has room for size bytes. */
static bool
take_base64(Cursor *c, uint8_t *out, size_t size, size_t *len)
{
	*len = 0;
	while (c->end - c->p >= 4 && base64_value(c->p[0]) >= 0)
	{
		int v[4];
		int n = 3;

		for (int i = 0; i < 4; i++)
			v[i] = base64_value(c->p[i]);
		if (v[1] < 0)
			return false;
		if (v[2] < 0 && v[3] >= 0)
			return false;
		if (v[3] < 0)
		{
			if (c->p[3] != '=')
				return false;
			n = 2;
			if (v[2] < 0)
			{
				if (c->p[2] != '=')
					return false;
				n = 1;
			}
		}
		if ((n == 1 && (v[1] & 15) != 0) || (n == 2 && (v[2] & 3) != 0) || *len + (size_t) n > size)
			return false;
		out[(*len)++] = (uint8_t) (v[0] << 2 | v[1] >> 4);
		if (n > 1)
			out[(*len)++] = (uint8_t) (v[1] << 4 | v[2] >> 2);
		if (n > 2)
			out[(*len)++] = (uint8_t) (v[2] << 6 | v[3]);
		c->p += 4;
		if (n < 3)
			break;
	}
	return true;
}

/* The same between quotes. */
static bool
take_bytes(Cursor *c, uint8_t *out, size_t size, size_t *len)
{
	return take(c, "\"") && take_base64(c, out, size, len) && take(c, "\"");
}

static bool
take_exactly(Cursor *c, uint8_t *out, size_t size)
{
	size_t len;

	return take_bytes(c, out, size, &len) && len == size;
}

/* A JSON string, each character in the one way that PostgreSQL writes it; out has room for what is left of the line. */
static bool
take_string(Cursor *c, char *out, size_t *len)
{
	static const char escapes[] = "\"\"\\\\b\bf\fn\nr\rt\t";

	*len = 0;
	if (!take(c, "\""))
		return false;
	while (c->p < c->end && *c->p != '"')
	{
		unsigned char ch = (unsigned char) *c->p++;

		if (ch < 0x20)
			return false;
		if (ch == '\\')
		{
			bool known = false;

			if (c->p == c->end)
				return false;
			ch = (unsigned char) *c->p++;
			for (size_t i = 0; i + 1 < sizeof(escapes) && !known; i += 2)
			{
				if (escapes[i] == (char) ch)
				{
					ch = (unsigned char) escapes[i + 1];
					known = true;
				}
			}
			if (!known)
			{
				static const char digits[] = "0123456789abcdef";
				const char *low;

				if (ch != 'u' || c->end - c->p < 4 || c->p[0] != '0' || c->p[1] != '0' ||
					(c->p[2] != '0' && c->p[2] != '1') || c->p[3] == '\0' ||
					(low = strchr(digits, c->p[3])) == NULL)
					return false;
				ch = (unsigned char) ((c->p[2] - '0') * 16 + (low - digits));
				if (ch == '\b' || ch == '\f' || ch == '\n' || ch == '\r' || ch == '\t')
					return false; /* has a shorter way */
				c->p += 4;
			}
		}
		out[(*len)++] = (char) ch;
	}
	return take(c, "\"");
}

static bool
take_uuid(Cursor *c, uint8_t out[CANONICAL_UUID_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	if (!take(c, "\""))
		return false;
	for (int i = 0; i < CANONICAL_UUID_BYTES; i++)
	{
		const char *high;
		const char *low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && !take(c, "-"))
			return false;
		if (c->end - c->p < 2 || c->p[0] == '\0' || c->p[1] == '\0' ||
			(high = strchr(digits, c->p[0])) == NULL || (low = strchr(digits, c->p[1])) == NULL)
			return false;
		out[i] = (uint8_t) ((high - digits) << 4 | (low - digits));
		c->p += 2;
	}
	return take(c, "\"");
}

/* A list of hashes. */
static bool
take_path(Cursor *c, uint8_t (*path)[TREE_HASH_BYTES], size_t *len)
{
	*len = 0;
	if (!take(c, "["))
		return false;
	if (take(c, "]"))
		return true;
	do
	{
		if (*len == TREE_MAX_PROOF || !take_exactly(c, path[(*len)++], TREE_HASH_BYTES))
			return false;
	} while (take(c, ","));
	return take(c, "]");
}

/* ---- keys, checkpoints ---- */

const char *
export_parse_key(const char *text, ExportKey *key)
{
	static const uint8_t ed25519[2] = {'\n', 0x01};
	const char *plus = strchr(text, '+');
	uint8_t bytes[1 + CRYPTO_PUB_BYTES];
	uint8_t hash[CRYPTO_HASH_BYTES];
	Cursor c;
	char id[9];
	size_t len;

	if (plus == NULL || plus == text || plus - text > EXPORT_NAME_MAX || strlen(plus) < 10 ||
		plus[9] != '+')
		return "verifier key does not read name+hash+key";
	memcpy(key->name, text, (size_t) (plus - text));
	key->name[plus - text] = '\0';
	c = (Cursor){plus + 10, text + strlen(text)};
	if (!take_base64(&c, bytes, sizeof(bytes), &len) || len != sizeof(bytes) || c.p != c.end ||
		bytes[0] != 0x01)
		return "verifier key is not one of Ed25519";
	memcpy(key->public, bytes + 1, CRYPTO_PUB_BYTES);
	if (!crypto_sha256_3(key->name, strlen(key->name), ed25519, sizeof(ed25519), key->public,
						 CRYPTO_PUB_BYTES, hash))
		return "could not compute a hash";
	memcpy(key->id, hash, sizeof(key->id));
	for (int i = 0; i < 4; i++)
	{
		static const char digits[] = "0123456789abcdef";

		id[2 * i] = digits[hash[i] >> 4];
		id[2 * i + 1] = digits[hash[i] & 15];
	}
	if (memcmp(id, plus + 1, 8) != 0)
		return "hash in the verifier key is not that of its name and key";
	return NULL;
}

const char *
export_parse_checkpoint(const ExportKey *key, const char *note, size_t len, ExportHead *head)
{
	Cursor c = {note, note + len};
	const char *body_end;
	size_t n;
	bool signed_by_key = false;

	if (!take(&c, key->name) || !take(&c, "\n"))
		return "checkpoint is of another log";
	if (!take_number(&c, &head->size) || !take(&c, "\n") ||
		!take_base64(&c, head->root, sizeof(head->root), &n) || n != sizeof(head->root) ||
		!take(&c, "\n"))
		return "checkpoint is malformed";
	body_end = c.p;
	if (!take(&c, "\n") || c.p == c.end)
		return "checkpoint has no signature";
	while (c.p < c.end)
	{
		const char *line_end = memchr(c.p, '\n', (size_t) (c.end - c.p));
		uint8_t signature[4 + CRYPTO_SIG_BYTES];
		Cursor line;

		if (line_end == NULL || !take(&c, "\xe2\x80\x94 "))
			return "checkpoint is malformed";
		line = (Cursor){c.p, line_end};
		c.p = line_end + 1;
		if (!take(&line, key->name) || !take(&line, " ") ||
			!take_base64(&line, signature, sizeof(signature), &n) || n != sizeof(signature) ||
			line.p != line.end || memcmp(signature, key->id, 4) != 0)
			continue; /* somebody else's */
		if (!crypto_ed25519_verify(key->public, note, (size_t) (body_end - note), signature + 4))
			return "signature of the checkpoint does not hold";
		signed_by_key = true;
	}
	if (!signed_by_key)
		return "checkpoint is not signed by this key";
	return NULL;
}

const char *
export_check_consistency(const ExportHead *before, const ExportHead *now, const char *proof,
						 size_t len)
{
	uint8_t path[TREE_MAX_PROOF][TREE_HASH_BYTES];
	Cursor c = {proof, proof + len};
	size_t count = 0;

	while (c.p < c.end)
	{
		size_t n;

		if (count == TREE_MAX_PROOF || !take_base64(&c, path[count++], TREE_HASH_BYTES, &n) ||
			n != TREE_HASH_BYTES || !take(&c, "\n"))
			return "proof of consistency is malformed";
	}
	if (before->size > now->size)
		return "log is shorter than it was: it was cut";
	if (!tree_verify_consistency(before->size, before->root, now->size, now->root,
								 (const uint8_t(*)[TREE_HASH_BYTES]) path, count))
		return "log is not a continuation of the earlier checkpoint: it was rewritten";
	return NULL;
}

/* ---- lines ---- */

static const char *
read_header(ExportReader *r, Cursor *c)
{
	uint8_t batch[CANONICAL_BATCH_BYTES];
	uint8_t path[TREE_MAX_PROOF][TREE_HASH_BYTES];
	uint8_t leaf[TREE_HASH_BYTES];
	size_t path_len;
	size_t len;
	char *note;
	const char *problem;

	if (!take(c, "{\"immiiq\":\"export/v1\",\"org\":") || !take_uuid(c, r->org) ||
		!take(c, ",\"first\":") || !take_number(c, &r->first) || !take(c, ",\"last\":") ||
		!take_number(c, &r->last) || !take(c, ",\"batch\":") ||
		!take_exactly(c, batch, sizeof(batch)) || !take(c, ",\"path\":") ||
		!take_path(c, path, &path_len) || !take(c, ",\"checkpoint\":"))
		return "header is malformed";
	note = malloc((size_t) (c->end - c->p) + 1);
	if (note == NULL)
		return "out of memory";
	if (!take_string(c, note, &len) || !take(c, "}") || c->p != c->end)
		problem = "header is malformed";
	else
		problem = export_parse_checkpoint(r->key, note, len, &r->head);
	free(note);
	if (problem != NULL)
		return problem;

	/* label 16, version 1, number 8, organisation 16, first 8, last 8, time 8, root 32, previous 32 */
	if (memcmp(batch, "immiiq/v1/batch\0\1", 17) != 0)
		return "batch is malformed";
	if (memcmp(batch + 25, r->org, CANONICAL_UUID_BYTES) != 0)
		return "batch is another organisation's";
	r->tree_size = canonical_u64(batch + 49);
	memcpy(r->tree_root, batch + 65, TREE_HASH_BYTES);
	if (r->first == 0 || r->first > r->last || r->last > r->tree_size)
		return "export goes past the batch that it is proved by";
	if (!tree_leaf_hash(batch, sizeof(batch), leaf))
		return "could not compute a hash";
	/* a number 0 is beyond every tree */
	if (!tree_verify_inclusion(leaf, canonical_u64(batch + 17) - 1, r->head.size,
							   (const uint8_t(*)[TREE_HASH_BYTES]) path, path_len, r->head.root))
		return "batch is not in the tree of the checkpoint";
	return NULL;
}

/* One column that is shown: its bytes as in the image, rebuilt from what is readable. */
static bool
take_column(Cursor *c, uint8_t *item, size_t *item_len, char *text, uint8_t salt[COMMIT_SALT_BYTES],
			uint64_t *part)
{
	CanonicalBuffer b = {.data = item, .size = SIZE_MAX}; /* the caller's room suffices */
	uint64_t flags;
	size_t len;

	if (!take(c, "\"part\":") || !take_number(c, part))
		return false;
	if (*part == COMMIT_ORIGIN)
	{
		size_t room = (size_t) (c->end - c->p);

		if (!take(c, ",\"origin\":") || !take_bytes(c, item, room, item_len))
			return false;
		return take(c, ",\"salt\":") && take_exactly(c, salt, COMMIT_SALT_BYTES);
	}
	if (*part > COMMIT_OLD || !take(c, ",\"flags\":") || !take_number(c, &flags) ||
		(flags & ~(uint64_t) CANONICAL_C_KNOWN) != 0 || !take(c, ",\"name\":") ||
		!take_string(c, text, &len) || len > UINT32_MAX)
		return false;
	canonical_put_byte(&b, (uint8_t) flags);
	canonical_put_length(&b, (uint32_t) len);
	canonical_put(&b, text, len);
	if (!take(c, ",\"value\":"))
		return false;
	if ((flags & CANONICAL_C_NULL) != 0)
	{
		if (!take(c, "null"))
			return false;
	}
	else
	{
		if (!take_string(c, text, &len) || len > UINT32_MAX)
			return false;
		canonical_put_length(&b, (uint32_t) len);
		canonical_put(&b, text, len);
	}
	*item_len = b.len;
	return take(c, ",\"salt\":") && take_exactly(c, salt, COMMIT_SALT_BYTES);
}

/* The columns of an entry, shown or kept back, against its commitment. */
static const char *
read_columns(ExportReader *r, Cursor *c)
{
	size_t room = (size_t) (c->end - c->p) + 64;
	CanonicalBuffer hashes = {.grow = realloc};
	uint8_t *item = malloc(room);
	char *text = malloc(room);
	uint8_t hash[COMMIT_HASH_BYTES];
	const char *problem = NULL;
	uint64_t last_part = 0;

	if (item == NULL || text == NULL)
		problem = "out of memory";
	else if (!take(c, "["))
		problem = not_canonical;
	while (problem == NULL)
	{
		uint8_t salt[COMMIT_SALT_BYTES];
		uint8_t *at = canonical_reserve(&hashes, COMMIT_HASH_BYTES);
		uint64_t part;
		size_t len;

		if (at == NULL)
			problem = "out of memory";
		else if (take(c, "{\"commitment\":"))
		{
			if (!take_exactly(c, at, COMMIT_HASH_BYTES) || !take(c, "}"))
				problem = not_canonical;
			r->kept++;
		}
		else if (!take(c, "{") || !take_column(c, item, &len, text, salt, &part) || !take(c, "}") ||
				 part < last_part)
			problem = not_canonical;
		else
		{
			if (!commit_item(salt, (CommitPart) part, item, len, at))
				problem = "could not compute a hash";
			last_part = part;
			r->shown++;
		}
		if (problem != NULL || !take(c, ","))
			break;
	}
	if (problem == NULL && !take(c, "]"))
		problem = not_canonical;
	if (problem == NULL && !commit_root(hashes.data, hashes.len, hash))
		problem = "could not compute a hash";
	if (problem == NULL && (memcmp(hash, r->entry.commitment, sizeof(hash)) != 0))
		problem = "columns are not those of the entry";
	free(hashes.data);
	free(item);
	free(text);
	return problem;
}

/* Remembers entries that say who, and looks for the one that this entry names. */
static const char *
check_context(ExportReader *r)
{
	if (r->incarnation != r->entry.incarnation || r->txid != r->entry.txid)
		r->context_count = 0;
	r->incarnation = r->entry.incarnation;
	r->txid = r->entry.txid;
	if (r->entry.who != NULL)
	{
		if (r->context_count == r->context_size)
		{
			size_t size = r->context_size == 0 ? 16 : r->context_size * 2;
			uint32_t *more = realloc(r->contexts, size * sizeof(uint32_t));

			if (more == NULL)
				return "out of memory";
			r->contexts = more;
			r->context_size = size;
		}
		r->contexts[r->context_count++] = r->entry.seq;
		return NULL;
	}
	for (size_t i = 0; i < r->context_count; i++)
	{
		if (r->contexts[i] == r->entry.context)
			return NULL;
	}
	return "entry that says who is missing";
}

static const char *
read_entry(ExportReader *r, Cursor *c, bool context)
{
	uint8_t path[TREE_MAX_PROOF][TREE_HASH_BYTES];
	uint8_t leaf[TREE_HASH_BYTES];
	uint64_t position;
	size_t path_len;
	size_t len;
	const char *problem;

	if (!take_number(c, &position) || !take(c, ",\"body\":"))
		return not_canonical;
	if (position <= r->position)
		return "entries are not in order";
	if (context ? (position >= r->first)
				: (position != (r->state == EXPORT_CONTEXTS ? r->first : r->position + 1) ||
				   position > r->last))
		return "entries are missing, or too many";
	r->state = context ? EXPORT_CONTEXTS : EXPORT_ENTRIES;
	r->position = position;
	r->lines++;
	if (r->body_size < (size_t) (c->end - c->p))
	{
		free(r->body);
		r->body_size = (size_t) (c->end - c->p);
		r->body = malloc(r->body_size);
		if (r->body == NULL)
		{
			r->body_size = 0;
			return "out of memory";
		}
	}
	if (!take_bytes(c, r->body, r->body_size, &len) || !take(c, ",\"path\":") ||
		!take_path(c, path, &path_len) || !take(c, ",\"columns\":"))
		return not_canonical;
	if (!tree_leaf_hash(r->body, len, leaf))
		return "could not compute a hash";
	if (!tree_verify_inclusion(leaf, position - 1, r->tree_size,
							   (const uint8_t(*)[TREE_HASH_BYTES]) path, path_len, r->tree_root))
		return "entry is not in the organisation's tree";
	if (!canonical_parse_entry(r->body, len, &r->entry))
		return "body of the entry is malformed";
	if (memcmp(r->entry.org, r->org, CANONICAL_UUID_BYTES) != 0)
		return "entry is another organisation's";
	if (context && r->entry.who == NULL)
		return "entry before the export's first does not say who";
	problem = check_context(r);
	if (problem != NULL)
		return problem;
	if (!take(c, "null"))
	{
		problem = read_columns(r, c);
		if (problem != NULL)
			return problem;
	}
	return take(c, "}") && c->p == c->end ? NULL : not_canonical;
}

const char *
export_read_line(ExportReader *reader, const char *line, size_t len)
{
	Cursor c = {line, line + len};
	const char *problem;
	uint64_t count;

	if (reader->state == EXPORT_HEADER)
	{
		problem = read_header(reader, &c);
		reader->state = EXPORT_CONTEXTS;
		return problem;
	}
	if (reader->state == EXPORT_END)
		return "lines after the end";
	if (take(&c, "{\"position\":"))
		return read_entry(reader, &c, false);
	if (reader->state == EXPORT_CONTEXTS && take(&c, "{\"context\":"))
		return read_entry(reader, &c, true);
	if (!take(&c, "{\"end\":") || !take_number(&c, &count) || !take(&c, "}") || c.p != c.end)
		return not_canonical;
	reader->state = EXPORT_END;
	if (count != reader->lines || reader->position != reader->last)
		return "entries are missing, or too many";
	return NULL;
}

const char *
export_finish(ExportReader *reader)
{
	return (reader->state != EXPORT_END) ? "export was cut off" : NULL;
}

void
export_free(ExportReader *reader)
{
	free(reader->contexts);
	free(reader->body);
	memset(reader, 0, sizeof(*reader));
}
