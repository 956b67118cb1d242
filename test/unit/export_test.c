/*
 * The verifier of exports against exports that are made here, valid but for one thing: each has a whole tree and a
 * signature that holds, as somebody who has the log's key would make them, so that the one check it is about must
 * refuse it. What is refused is refused for its own reason.
 */
#include "audit/commit.h"
#include "audit/export.h"
#include "crypto/crypto.h"
#include "tap.h"

#include <ctype.h>
#include <stdarg.h>

#define ENTRIES 40
#define BATCHES 9
#define LINE	20000
#define ENDLESS 200 /* hashes: more than any path has */

static const uint8_t seed[CRYPTO_SEED_BYTES] = {7};
static const uint8_t other_seed[CRYPTO_SEED_BYTES] = {8};
static const uint8_t org[16] = {0xa1, 0xfa};
static const uint8_t other_org[16] = {0xbe, 0x7a};
static char key_text[400];
static ExportKey key;

static char text[ENTRIES * LINE];
static size_t text_len;

/* One thing that is wrong. */
typedef enum Fault
{
	NONE,
	BATCH_LABEL,
	BATCH_VERSION,
	BATCH_ORG,
	BATCH_NUMBER,
	BATCH_NUMBER_ZERO,
	BATCH_PATH,
	RANGE_ZERO,
	RANGE_BACKWARDS,
	RANGE_PAST_BATCH,
	HEAD_SHORT,
	HEAD_ORIGIN,
	HEAD_SIGNATURE,
	HEAD_KEY,
	HEAD_UNSIGNED,
	HEAD_SIZE_ZEROS,
	HEAD_ROOT_SHORT,
	HEAD_EXTRA_LINE,
	HEAD_CUT,
	HEAD_SIGNED_TWICE_WRONG,
	HEAD_NO_BLANK,
	HEAD_BAD_END,
	ENTRY_ORG,
	ENTRY_BODY,
	ENTRY_PATH,
	ENTRY_PATH_LONG,
	ENTRY_PATH_ENDLESS,
	ENTRY_POSITION,
	ENTRY_GAP,
	ENTRY_ORDER,
	ENTRY_MORE,
	ENTRY_TRAILING,
	CONTEXT_WHO,
	CONTEXT_ORDER,
	CONTEXT_LATE,
	CONTEXT_IN_RANGE,
	WHO_MISSING,
	WHO_OTHER_TRANSACTION,
	WHO_OTHER_INCARNATION,
	COLUMN_VALUE,
	COLUMN_SALT,
	COLUMN_NAME,
	COLUMN_PART,
	COLUMN_PART_ORDER,
	COLUMN_PART_UNKNOWN,
	COLUMN_FLAGS,
	COLUMN_FLAG_UNKNOWN,
	COLUMN_NULL,
	COLUMN_MISSING,
	COLUMN_KEPT,
	END_COUNT,
	END_EARLY,
	END_MISSING,
	END_TWICE,
	LAST_FAULT
} Fault;

static void
out(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_len += (size_t) vsnprintf(text + text_len, sizeof(text) - text_len, format, args);
	va_end(args);
}

static void
out_base64(char *to, const uint8_t *p, size_t n)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3)
	{
		uint32_t v = (uint32_t) p[i] << 16 | (i + 1 < n ? (uint32_t) p[i + 1] << 8 : 0) |
					 (i + 2 < n ? p[i + 2] : 0);

		*to++ = letters[v >> 18];
		*to++ = letters[v >> 12 & 63];
		*to++ = i + 1 < n ? letters[v >> 6 & 63] : '=';
		*to++ = i + 2 < n ? letters[v & 63] : '=';
	}
	*to = '\0';
}

static const char *
base64(const uint8_t *p, size_t n)
{
	static char ring[8][8192];
	static int next = 0;
	char *to = ring[next++ % 8];

	out_base64(to, p, n);
	return to;
}

/* The root of leaves first to last - 1, and a path, as RFC 6962 says them. */
static void
root_of(uint8_t (*leaf)[32], int first, int last, uint8_t to[32])
{
	uint8_t left[32];
	uint8_t right[32];
	int split = 1;

	if (last - first == 1)
	{
		memcpy(to, leaf[first], 32);
		return;
	}
	while (split * 2 < last - first)
		split *= 2;
	root_of(leaf, first, first + split, left);
	root_of(leaf, first + split, last, right);
	if (!tree_node_hash(left, right, to))
		abort();
}

static int
path_of(uint8_t (*leaf)[32], int index, int first, int last, uint8_t (*to)[32])
{
	int split = 1;
	int n;

	if (last - first == 1)
		return 0;
	while (split * 2 < last - first)
		split *= 2;
	if (index < first + split)
	{
		n = path_of(leaf, index, first, first + split, to);
		root_of(leaf, first + split, last, to[n]);
	}
	else
	{
		n = path_of(leaf, index, first + split, last, to);
		root_of(leaf, first, first + split, to[n]);
	}
	return n + 1;
}

static void
out_path(uint8_t (*path)[32], int n)
{
	out("[");
	for (int i = 0; i < n; i++)
		out("%s\"%s\"", i > 0 ? "," : "", base64(path[i], 32));
	out("]");
}

/* One column of an image: its bytes, and as it is shown. */
typedef struct Column
{
	CommitPart part;
	uint8_t flags;
	const char *name;
	const char *value;
} Column;

static const Column columns[] = {
	{COMMIT_NEW, CANONICAL_C_KEY | CANONICAL_KIND_NUMBER << CANONICAL_C_KIND_SHIFT, "note_id", "17"},
	{COMMIT_NEW, 0, "body", "new"},
	{COMMIT_NEW, CANONICAL_C_NULL, "client", NULL},
	{COMMIT_OLD, 0, "body", "old"},
	{COMMIT_ORIGIN, 0, NULL, "192.0.2.1"},
};
#define COLUMNS 5

/* The second column's value, and how it is written, when a test says so. */
static const char *odd_value = NULL;
static size_t odd_len;
static const char *odd_text;
static size_t odd_text_len;

static uint8_t salts[COLUMNS][COMMIT_SALT_BYTES];
static uint8_t commitments[COLUMNS][32];

static void
make_columns(Fault fault)
{
	for (int i = 0; i < COLUMNS; i++)
	{
		CanonicalBuffer item = {.grow = realloc};
		Column column = columns[i];

		memset(salts[i], i + 1, sizeof(salts[i]));
		if (fault == COLUMN_PART_ORDER && i == 0)
			column.part = COMMIT_OLD;
		if (fault == COLUMN_FLAG_UNKNOWN && i == 1)
			column.flags = 0x40;
		if (fault == COLUMN_PART_UNKNOWN && i == 2)
			column.part = 3;
		if (column.name != NULL)
		{
			canonical_put_byte(&item, column.flags);
			canonical_put_length(&item, (uint32_t) strlen(column.name));
			canonical_put(&item, column.name, strlen(column.name));
		}
		if (column.name == NULL)
			canonical_put(&item, column.value, strlen(column.value));
		else if (i == 1 && odd_value != NULL)
		{
			canonical_put_length(&item, (uint32_t) odd_len);
			canonical_put(&item, odd_value, odd_len);
		}
		else if (column.value != NULL)
		{
			canonical_put_length(&item, (uint32_t) strlen(column.value));
			canonical_put(&item, column.value, strlen(column.value));
		}
		if (!commit_item(salts[i], column.part, item.data, item.len, commitments[i]))
			abort();
		free(item.data);
	}
}

static void
out_columns(Fault fault, bool here)
{
	if (!here)
		fault = NONE;
	out("[");
	for (int i = 0; i < COLUMNS; i++)
	{
		Column column = columns[i];
		uint8_t salt[COMMIT_SALT_BYTES];

		memcpy(salt, salts[i], sizeof(salt));
		if (fault == COLUMN_PART_ORDER && i == 0)
			column.part = COMMIT_OLD;
		if (fault == COLUMN_FLAG_UNKNOWN && i == 1)
			column.flags = 0x40;
		if (i == 1)
		{
			column.value = fault == COLUMN_VALUE ? "newer" : column.value;
			column.name = fault == COLUMN_NAME ? "bodx" : column.name;
			column.part = fault == COLUMN_PART ? COMMIT_OLD : column.part;
			column.flags = fault == COLUMN_FLAGS ? CANONICAL_C_SEALED : column.flags;
			salt[3] ^= fault == COLUMN_SALT ? 1 : 0;
			if (fault == COLUMN_MISSING)
				continue;
		}
		if (i == 2 && fault == COLUMN_NULL)
			column.value = "x";
		if (i > 0)
			out(",");
		if (fault == COLUMN_PART_UNKNOWN && i == 2)
			column.part = 3;
		if (i == 3 || (fault == COLUMN_PART_UNKNOWN && i == 4))
		{
			uint8_t commitment[32];

			memcpy(commitment, commitments[i], 32);
			commitment[31] ^= fault == COLUMN_KEPT && i == 3 ? 1 : 0;
			out("{\"commitment\":\"%s\"}", base64(commitment, 32));
			continue;
		}
		if (column.name == NULL)
		{
			out("{\"part\":2,\"origin\":\"%s\",\"salt\":\"%s\"}",
				base64((const uint8_t *) column.value, strlen(column.value)),
				base64(salt, sizeof(salt)));
			continue;
		}
		out("{\"part\":%d,\"flags\":%d,\"name\":\"%s\",\"value\":", column.part, column.flags,
			column.name);
		if (i == 1 && odd_value != NULL)
		{
			out("\"");
			memcpy(text + text_len, odd_text, odd_text_len);
			text_len += odd_text_len;
			out("\"");
		}
		else
			out(column.value != NULL ? "\"%s\"" : "null", column.value);
		out(",\"salt\":\"%s\"}", base64(salt, sizeof(salt)));
	}
	out("]");
}

/* An entry of the organisation's log; transactions have four entries, the first of which says who. */
static void
make_body(CanonicalBuffer *body, int position, Fault fault)
{
	static uint8_t commitment[32];
	CanonicalEntry entry = {0};
	CanonicalWho who = {.actor = 16, .role = "app", .role_len = 3};
	CanonicalBuffer packed = {.grow = realloc};
	int in_transaction = (position - 1) % 4;
	uint8_t sealed[44] = {1};

	if (!commit_root(commitments[0], sizeof(commitments), commitment))
		abort();
	entry.operation = CANONICAL_UPDATE;
	entry.org = fault == ENTRY_ORG && position == 12 ? other_org : org;
	entry.at = 1000 + position;
	entry.incarnation = fault == WHO_OTHER_INCARNATION && position == 12 ? 6 : 5;
	entry.txid = (uint64_t) (100 + (position - 1) / 4 +
							 (fault == WHO_OTHER_TRANSACTION && position == 12 ? 1000 : 0));
	entry.seq = (uint32_t) (in_transaction + 1);
	entry.schema = "public";
	entry.schema_len = 6;
	entry.table = "note";
	entry.table_len = 4;
	entry.key_id = 3;
	entry.context = fault == WHO_MISSING && position == 12 ? 3 : 1;
	entry.row = (uint64_t) position;
	entry.commitment = commitment;
	if (in_transaction == 0)
	{
		canonical_put_who(&packed, &who);
		entry.who = packed.data;
		entry.who_len = (uint32_t) packed.len;
	}
	canonical_put_entry(body, &entry);
	if (in_transaction == 0)
		canonical_put_field(body, CANONICAL_F_ORIGIN, sealed, sizeof(sealed));
	canonical_put_field(body, CANONICAL_F_IMAGE, sealed, sizeof(sealed));
	if (fault == ENTRY_BODY && position == 12)
		canonical_put_byte(body, 0);
	free(packed.data);
}

static void
out_note(uint64_t size, const uint8_t root[32], Fault fault)
{
	char body[400];
	char lines[1200] = "";
	uint8_t signature[4 + CRYPTO_SIG_BYTES];
	const char *end;

	snprintf(body, sizeof(body), "%s\n%s%llu\n%s\n%s",
			 fault == HEAD_ORIGIN ? "immiiq/other" : key.name, fault == HEAD_SIZE_ZEROS ? "0" : "",
			 (unsigned long long) size, base64(root, fault == HEAD_ROOT_SHORT ? 31 : 32),
			 fault == HEAD_EXTRA_LINE ? "more\n" : "");
	memcpy(signature, key.id, 4);
	if (!crypto_ed25519_sign(fault == HEAD_SIGNATURE ? other_seed : seed, body, strlen(body),
							 signature + 4))
		abort();
	if (fault == HEAD_KEY)
		signature[0] ^= 1;
	if (fault != HEAD_UNSIGNED)
		snprintf(lines, sizeof(lines), "\xe2\x80\x94 %s %s\n", key.name,
				 base64(signature, sizeof(signature)));
	if (fault == HEAD_SIGNED_TWICE_WRONG)
	{
		signature[20] ^= 1;
		snprintf(lines + strlen(lines), 400, "\xe2\x80\x94 %s %s\n", key.name,
				 base64(signature, sizeof(signature)));
	}
	/* somebody else's, which counts for nothing */
	snprintf(lines + strlen(lines), 400, "\xe2\x80\x94 witness.example %s\n",
			 base64(signature, sizeof(signature)));
	if (fault == HEAD_CUT)
		lines[strlen(lines) - 1] = '\0';
	end = fault == HEAD_NO_BLANK ? "" : "\n";
	for (const char *part = body; part != NULL; part = part == body	 ? end
													   : part == end ? lines
																	 : NULL)
	{
		for (const char *p = part; *p != '\0'; p++)
			*p == '\n' ? out("\\n") : out("%c", *p);
	}
}

/* Writes an export of positions first to last, in the batch whose tree has all entries. */
static void
make_export(Fault fault, int first, int last)
{
	static CanonicalBuffer bodies[ENTRIES];
	static uint8_t leaf[ENTRIES][32];
	static uint8_t batch_leaf[BATCHES][32];
	uint8_t path[ENDLESS][32];
	uint8_t batch[CANONICAL_BATCH_BYTES];
	CanonicalBatch b = {.batch_no = 6, .first = 1, .last = ENTRIES, .at = 5000};
	uint8_t root[32];
	int n;
	int begin = first - (first - 1) % 4;
	int lines = 0;

	text_len = 0;
	make_columns(fault);
	for (int i = 0; i < ENTRIES; i++)
	{
		bodies[i].len = 0;
		bodies[i].grow = realloc;
		make_body(&bodies[i], i + 1, fault);
		if (!tree_leaf_hash(bodies[i].data, bodies[i].len, leaf[i]))
			abort();
	}
	memcpy(b.org, fault == BATCH_ORG ? other_org : org, 16);
	root_of(leaf, 0, ENTRIES, b.org_root);
	if (fault == BATCH_NUMBER)
		b.batch_no = 5;
	if (fault == BATCH_NUMBER_ZERO)
		b.batch_no = 0;
	if (fault == RANGE_PAST_BATCH)
		b.last = (uint64_t) last - 1;
	canonical_write_batch(&b, batch);
	if (fault == BATCH_LABEL)
		batch[3] ^= 1;
	if (fault == BATCH_VERSION)
		batch[16] = 2;
	for (int i = 0; i < BATCHES; i++)
	{
		memset(batch_leaf[i], i + 1, 32);
		if (i == 5 && !tree_leaf_hash(batch, sizeof(batch), batch_leaf[i]))
			abort();
	}
	root_of(batch_leaf, 0, BATCHES, root);
	n = path_of(batch_leaf, 5, 0, BATCHES, path);
	if (fault == BATCH_PATH)
		path[0][0] ^= 1;
	out("{\"immiiq\":\"export/v1\",\"org\":\"a1fa0000-0000-0000-0000-000000000000\",\"first\":%d,\"last\":%d,\"batch\":\"%s\",\"path\":",
		fault == RANGE_ZERO		   ? 0
		: fault == RANGE_BACKWARDS ? last + 1
								   : first,
		last, base64(batch, sizeof(batch)));
	out_path(path, n);
	out(",\"checkpoint\":\"");
	out_note(fault == HEAD_SHORT ? 5 : BATCHES, root, fault);
	out(fault == HEAD_BAD_END ? "\\}}\n" : "\"}\n");
	for (int position = begin; position <= last; position++)
	{
		bool context = position < first;
		int at = position;

		if (context && position != begin && fault != CONTEXT_WHO && fault != CONTEXT_ORDER)
			continue;
		if (fault == ENTRY_GAP && position == 12)
			continue;
		if (fault == CONTEXT_LATE && context)
			continue;
		if (fault == END_EARLY && position == last)
			continue;
		if (fault == CONTEXT_ORDER && context)
			at = position == begin ? 5 : position == begin + 1 ? 1 : position;
		if (fault == CONTEXT_ORDER && context && position > begin + 1)
			continue;
		if (fault == ENTRY_ORDER && (position == 13 || position == 14))
			at = 27 - position;
		n = path_of(leaf, at - 1, 0, ENTRIES, path);
		if (fault == ENTRY_PATH && at == 12)
			path[2][5] ^= 0x10;
		if (fault == ENTRY_PATH_LONG && at == 12)
			memset(path[n++], 0, 32);
		for (; fault == ENTRY_PATH_ENDLESS && at == 12 && n < ENDLESS; n++)
			memset(path[n], 0, 32);
		out("{\"%s\":%d,\"body\":\"%s\",\"path\":",
			context || (fault == CONTEXT_IN_RANGE && at == 13) ? "context" : "position",
			fault == ENTRY_POSITION && at == 12 ? 13 : at,
			base64(bodies[at - 1].data, bodies[at - 1].len));
		out_path(path, n);
		out(",\"columns\":");
		if (at % 5 == 0)
			out("null");
		else
			out_columns(fault, at == 12 || fault == COLUMN_PART_ORDER ||
								   fault == COLUMN_PART_UNKNOWN || fault == COLUMN_FLAG_UNKNOWN);
		out(fault == ENTRY_MORE && at == 12		  ? ",\"more\":1}\n"
			: fault == ENTRY_TRAILING && at == 12 ? "} \n"
												  : "}\n");
		lines++;
	}
	if (fault != END_MISSING)
		out("{\"end\":%d}\n", fault == END_COUNT ? lines + 1 : lines);
	if (fault == END_TWICE)
		out("{\"end\":%d}\n", lines);
}

/* What the verifier says of a text; NULL: whole. */
static const char *
verdict(const char *export, size_t len)
{
	ExportReader reader = {.key = &key};
	const char *problem = NULL;
	const char *p = export;

	while (problem == NULL && p < export + len)
	{
		const char *end = memchr(p, '\n', (size_t) (export + len - p));
		char *line;

		if (end == NULL)
		{
			problem = "line does not end";
			break;
		}
		/* a copy of exactly its length, so that reading on shows */
		line = malloc((size_t) (end - p) + 1);
		memcpy(line, p, (size_t) (end - p));
		problem = export_read_line(&reader, line, (size_t) (end - p));
		free(line);
		p = end + 1;
	}
	if (problem == NULL)
		problem = export_finish(&reader);
	export_free(&reader);
	return problem;
}

static void
is_refused(Fault fault, int first, int last, const char *why, const char *name)
{
	const char *said;

	make_export(fault, first, last);
	said = verdict(text, text_len);
	if (!check(said == NULL ? why == NULL : why != NULL && strcmp(said, why) == 0, name))
		printf("# said: %s\n", said == NULL ? "whole" : said);
}

static void
faults(void)
{
	static const struct
	{
		Fault fault;
		int first;
		const char *why;
		const char *name;
	} cases[] = {
		{NONE, 1, NULL, "an export from the first entry"},
		{NONE, 9, NULL, "one that begins with a transaction"},
		{NONE, 11, NULL, "one that begins within a transaction"},
		{BATCH_LABEL, 9, "batch is malformed", "bytes of another kind in the batch's place"},
		{BATCH_VERSION, 9, "batch is malformed", "a batch of another version"},
		{BATCH_ORG, 9, "batch is another organisation's", "another organisation's batch"},
		{BATCH_NUMBER, 9, "batch is not in the tree of the checkpoint", "a batch of another number"},
		{BATCH_NUMBER_ZERO, 9, "batch is not in the tree of the checkpoint",
		 "a batch without a number"},
		{BATCH_PATH, 9, "batch is not in the tree of the checkpoint", "another path of the batch"},
		{RANGE_ZERO, 1, "export goes past the batch that it is proved by", "from position 0"},
		{RANGE_BACKWARDS, 9, "export goes past the batch that it is proved by",
		 "a range that ends before it begins"},
		{RANGE_PAST_BATCH, 9, "export goes past the batch that it is proved by",
		 "a range past the batch"},
		{HEAD_SHORT, 9, "batch is not in the tree of the checkpoint",
		 "a checkpoint of a smaller tree"},
		{HEAD_ORIGIN, 9, "checkpoint is of another log", "another log's checkpoint"},
		{HEAD_SIGNATURE, 9, "signature of the checkpoint does not hold",
		 "a checkpoint signed by another key under this one's name"},
		{HEAD_KEY, 9, "checkpoint is not signed by this key", "a signature under another key's hash"},
		{HEAD_UNSIGNED, 9, "checkpoint is not signed by this key", "a witness's signature alone"},
		{HEAD_SIZE_ZEROS, 9, "checkpoint is malformed", "a size with a zero before"},
		{HEAD_ROOT_SHORT, 9, "checkpoint is malformed", "a root of 31 bytes"},
		{HEAD_EXTRA_LINE, 9, "checkpoint has no signature", "a checkpoint with one line more"},
		{HEAD_NO_BLANK, 9, "checkpoint has no signature", "a checkpoint without the blank line"},
		{HEAD_BAD_END, 9, "header is malformed", "a checkpoint that ends in an escape that is none"},
		{HEAD_CUT, 9, "checkpoint is malformed", "a last line that does not end"},
		{HEAD_SIGNED_TWICE_WRONG, 9, "signature of the checkpoint does not hold",
		 "a second signature of this key that does not hold"},
		{ENTRY_ORG, 9, "entry is another organisation's",
		 "another organisation's entry in this tree"},
		{ENTRY_BODY, 9, "body of the entry is malformed", "a body with a byte behind it in the tree"},
		{ENTRY_PATH, 9, "entry is not in the organisation's tree", "another path of an entry"},
		{ENTRY_PATH_LONG, 9, "entry is not in the organisation's tree",
		 "a path with a hash too many"},
		{ENTRY_PATH_ENDLESS, 9, "line is malformed", "a path of more hashes than any tree is high"},
		{ENTRY_POSITION, 9, "entries are missing, or too many", "an entry under another number"},
		{ENTRY_GAP, 9, "entries are missing, or too many", "an entry that is not there"},
		{ENTRY_ORDER, 9, "entries are missing, or too many", "two entries in another order"},
		{ENTRY_MORE, 9, "line is malformed", "an entry with something more"},
		{ENTRY_TRAILING, 9, "line is malformed", "an entry with a blank behind it"},
		{CONTEXT_WHO, 11, "entry before the export's first does not say who",
		 "an entry before the range that does not say who"},
		{CONTEXT_ORDER, 11, "entries are not in order", "entries before the range in another order"},
		{CONTEXT_LATE, 11, "entry that says who is missing",
		 "a range whose first transaction has nobody"},
		{CONTEXT_IN_RANGE, 9, "line is malformed", "an entry of the range named as one before it"},
		{WHO_MISSING, 9, "entry that says who is missing",
		 "an entry that names another one as its context"},
		{WHO_OTHER_TRANSACTION, 9, "entry that says who is missing",
		 "one that names an entry of another transaction"},
		{WHO_OTHER_INCARNATION, 9, "entry that says who is missing",
		 "one that names an entry of another incarnation"},
		{COLUMN_VALUE, 9, "columns are not those of the entry", "another value"},
		{COLUMN_SALT, 9, "columns are not those of the entry", "another salt"},
		{COLUMN_NAME, 9, "columns are not those of the entry", "another name"},
		{COLUMN_PART, 9, "line is malformed", "a new value among the old ones"},
		{COLUMN_PART_ORDER, 9, "line is malformed", "old values before the new ones"},
		{COLUMN_PART_UNKNOWN, 9, "line is malformed", "columns of a part that there is none of"},
		{COLUMN_FLAGS, 9, "columns are not those of the entry", "other flags"},
		{COLUMN_FLAG_UNKNOWN, 9, "line is malformed", "an unknown flag"},
		{COLUMN_NULL, 9, "line is malformed", "a value where the flags say NULL"},
		{COLUMN_MISSING, 9, "columns are not those of the entry", "a column that is not there"},
		{COLUMN_KEPT, 9, "columns are not those of the entry",
		 "another commitment of what is kept back"},
		{END_COUNT, 9, "entries are missing, or too many", "a count of lines that is not theirs"},
		{END_EARLY, 9, "entries are missing, or too many", "an end before the last entry"},
		{END_MISSING, 9, "export was cut off", "no end"},
		{END_TWICE, 9, "lines after the end", "two ends"},
	};
	bool seen[LAST_FAULT] = {false};
	bool every = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		seen[cases[i].fault] = true;
		is_refused(cases[i].fault, cases[i].first, ENTRIES, cases[i].why, cases[i].name);
	}
	for (int i = 0; i < LAST_FAULT; i++)
		every = every && seen[i];
	check(every, "every fault has its case");
}

/* Every byte of an export of 32 entries, each in several ways; no copy may be taken. */
static void
every_byte(void)
{
	static char copy[sizeof(text)];
	static const uint8_t flips[] = {0x01, 0x04, 0x20};
	size_t taken = 0;
	size_t tried = 0;

	make_export(NONE, 9, ENTRIES);
	memcpy(copy, text, text_len);
	for (size_t i = 0; i < text_len; i += 1)
	{
		/* the header, two entries and the end whole; between them one byte in 11 */
		if (i > 6000 && i + 3000 < text_len && i % 11 != 0)
			continue;
		for (size_t f = 0; f < sizeof(flips); f++)
		{
			copy[i] = (char) (text[i] ^ flips[f]);
			tried++;
			if (verdict(copy, text_len) == NULL)
			{
				/* somebody else's signature is nobody's business */
				const char *witness = strstr(text, "witness.example");

				if (i < (size_t) (witness - text) || i > (size_t) (witness - text) + 120)
				{
					taken++;
					printf("# byte %zu\n", i);
				}
			}
		}
		copy[i] = text[i];
	}
	check(taken == 0 && tried > 10000, "no byte of a large export can be another");
	for (size_t i = 0; i < text_len; i += 97)
		taken += verdict(text, i) == NULL;
	check(taken == 0, "and it cannot be cut anywhere");
}

/* Values, and the ways to write them: there is one of each. */
static void
strings(void)
{
#define PAIR(value, json) value, sizeof(value) - 1, json, sizeof(json) - 1
	static const struct
	{
		const char *value;
		size_t len;
		const char *json;
		size_t json_len;
		bool good;
	} cases[] = {
		{PAIR("\x01\x1f\x10\x0f", "\\u0001\\u001f\\u0010\\u000f"), true},
		{PAIR("\"\\\b\f\n\r\t/", "\\\"\\\\\\b\\f\\n\\r\\t/"), true},
		{PAIR("", ""), true},
		{PAIR("\x7f\xc3\xa9", "\x7f\xc3\xa9"), true},
		{PAIR("\x01", "\x01"), false},
		{PAIR("\x1f", "\x1f"), false},
		{PAIR("\n", "\\u000a"), false},
		{PAIR("\b", "\\u0008"), false},
		{PAIR("\f", "\\u000c"), false},
		{PAIR("\r", "\\u000d"), false},
		{PAIR("\t", "\\u0009"), false},
		{PAIR("!", "\\u0021"), false},
		{PAIR("\x1f", "\\u001F"), false},
		{PAIR("\x01", "\\u1001"), false},
		{PAIR("\x01", "\\u0101"), false},
		{PAIR("\x01", "\\v0001"), false},
		{PAIR("\x01", "\\U0001"), false},
		{PAIR("\x10", "\\u000\0"), false},
		{PAIR("/", "\\/"), false},
		{PAIR("\xc3\xa9", "\\u00e9"), false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		odd_value = cases[i].value;
		odd_len = cases[i].len;
		odd_text = cases[i].json;
		odd_text_len = cases[i].json_len;
		make_export(NONE, 9, 12);
		if (!check((verdict(text, text_len) == NULL) == cases[i].good,
				   cases[i].good ? "a value as it is written" : "another way to write it"))
			printf("# number %zu\n", i);
	}
	odd_value = NULL;
}

/* Reads a line as if what stands before it had been; true when it is taken. */
static bool
is_taken(const ExportReader *before, const char *line, size_t len)
{
	ExportReader reader = *before;
	char *exact = malloc(len);
	bool taken;

	memcpy(exact, line, len);
	taken = export_read_line(&reader, exact, len) == NULL &&
			(before->state != 2 || export_finish(&reader) == NULL);
	if (before->state != 2)
		export_free(&reader);
	free(exact);
	return taken;
}

/* An entry whose line ends within a string: nothing behind it is read. */
static void
ends(void)
{
	static const char *const last[] = {"\\", "\\u", "\\u0", "\\u00", "\\u001", "\\n", "x"};
	ExportReader before = {.key = &key};
	const char *line;
	const char *value;
	bool taken = false;

	make_export(NONE, 9, 12);
	line = strchr(text, '\n') + 1;
	if (export_read_line(&before, text, (size_t) (line - 1 - text)) != NULL)
		abort();
	value = strstr(line, "\"value\":\"");
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++)
	{
		char copy[LINE];
		size_t len = (size_t) (value + 9 - line);

		memcpy(copy, line, len);
		memcpy(copy + len, last[i], strlen(last[i]));
		taken |= is_taken(&before, copy, len + strlen(last[i]));
	}
	check(!taken, "a line that ends within a string is refused");
}

/*
 * Lines of an export from which something is taken out, in which something stands twice, or that have a letter more:
 * whatever it is and wherever, the line is refused.
 */
static void
letters_gone_or_more(void)
{
	static const char more[] = "0 9\"=A,}\\\n\t\r\x01\xff[";
	ExportReader before = {.key = &key};
	static char copy[sizeof(text)];
	size_t taken = 0;
	size_t tried = 0;
	size_t number = 0;

	make_export(NONE, 9, 12);
	for (char *line = text; line < text + text_len; number++)
	{
		size_t len = (size_t) ((char *) memchr(line, '\n', text_len) - line);
		const char *signatures = strstr(text, "\xe2\x80\x94 ");

		/* the header, the first entry, which says who, and the end */
		for (size_t at = 0; (number < 2 || number == 5) && at <= len; at++)
		{
			/* among signatures there may be somebody else's */
			bool free_to_say = number == 0 && line + at >= signatures && at + 2 < len;

			memcpy(copy, line, at);
			memcpy(copy + at + 1, line + at, len - at);
			for (size_t i = 0; i < sizeof(more) && !free_to_say; i++)
			{
				copy[at] = more[i];
				tried++;
				if ((at > 0 && line[at - 1] == more[i]) || !is_taken(&before, copy, len + 1))
					continue;
				taken++;
				printf("# line %zu: %02x at %zu\n", number, more[i], at);
			}
			/* another letter, the next one among them: it may differ in a bit that counts for nothing */
			memcpy(copy, line, len);
			for (size_t i = 0; i <= sizeof(more) && at < len && !free_to_say; i++)
			{
				copy[at] = i < sizeof(more) ? more[i] : line[at] + 1;
				/* by itself, a header may name another range */
				if (copy[at] == line[at] ||
					(number == 0 && isdigit((uint8_t) copy[at]) && isdigit((uint8_t) line[at])) ||
					!is_taken(&before, copy, len))
					continue;
				taken++;
				printf("# line %zu: %02x instead of %02x at %zu\n", number, copy[at], line[at], at);
			}
			if (at > 0)
				taken += is_taken(&before, line, at) && at < len;
			for (size_t n = 1; n <= 48 && at + n <= len; n++)
			{
				size_t rest = len - at - n;

				if (number == 0 && signatures < line + at + n && at + 3 < len)
					continue;
				tried++;
				memcpy(copy, line, at);
				memcpy(copy + at, line + at + n, rest);
				if (is_taken(&before, copy, len - n))
				{
					taken++;
					printf("# line %zu: without %.*s\n", number, (int) n, line + at);
				}
				memcpy(copy, line, at + n);
				memcpy(copy + at + n, line + at, len - at);
				if (is_taken(&before, copy, len + n))
				{
					taken++;
					printf("# line %zu: twice %.*s\n", number, (int) n, line + at);
				}
			}
		}
		if (export_read_line(&before, line, len) != NULL)
			abort();
		line += len + 1;
	}
	export_free(&before);
	check(taken == 0 && tried > 10000,
		  "nothing can be taken out of a line, stand twice, or be put in");
}

static const char *
consistent(int before, int now, int fault)
{
	static uint8_t leaf[70][32];
	ExportHead old = {.size = (uint64_t) before};
	ExportHead new = {.size = (uint64_t) now};
	char proof[ENDLESS * 50] = "";
	uint8_t hashes[ENDLESS][32];
	int n = 0;
	int first = 0;
	int last = now;
	int m = before;

	for (int i = 0; i < 70; i++)
		memset(leaf[i], i + 1, 32);
	root_of(leaf, 0, before, old.root);
	root_of(leaf, 0, now, new.root);
	/* RFC 6962, 2.1.2, from the outside in */
	{
		uint8_t outer[64][32];
		int count = 0;
		bool whole = true;

		while (m != last - first)
		{
			int split = 1;

			while (split * 2 < last - first)
				split *= 2;
			if (m <= split)
			{
				root_of(leaf, first + split, last, outer[count++]);
				last = first + split;
			}
			else
			{
				root_of(leaf, first, first + split, outer[count++]);
				first += split;
				m -= split;
				whole = false;
			}
		}
		if (!whole)
			root_of(leaf, first, last, hashes[n++]);
		while (count > 0)
			memcpy(hashes[n++], outer[--count], 32);
	}
	if (fault == 1)
		hashes[n - 1][7] ^= 1;
	if (fault == 2)
		n--;
	if (fault == 3)
		memset(hashes[n++], 9, 32);
	if (fault == 4)
		old.root[0] ^= 1;
	if (fault == 5)
		new.root[0] ^= 1;
	if (fault == 6)
		old.size--;
	if (fault == 7)
		new.size *= 2;
	if (fault == 8)
	{
		ExportHead swap = old;

		old = new;
		new = swap;
	}
	if (fault == 9)
		n = 0;
	if (fault == 10)
		new.size = old.size;
	for (; fault == 14 && n < ENDLESS; n++)
		memset(hashes[n], 9, 32);
	for (int i = 0; i < n; i++)
		snprintf(proof + strlen(proof), 200, "%s%s\n",
				 base64(hashes[i], fault == 11 && i == 0 ? 31 : 32),
				 fault == 12 && i == 0 ? " " : "");
	if (fault == 13)
		proof[strlen(proof) - 1] = '\0';
	if (fault == 15)
		proof[42]++;
	return export_check_consistency(&old, &new, proof, strlen(proof));
}

static void
consistency(void)
{
	static const char *const names[] = {"",
										"another hash",
										"a hash too few",
										"a hash too many",
										"another earlier root",
										"another later root",
										"an earlier size less by one",
										"twice the later size",
										"the two heads swapped",
										"no hash",
										"equal sizes, other roots",
										"a hash of 31 bytes",
										"a blank behind a hash",
										"a last line that does not end",
										"more hashes than any tree is high",
										"spare bits that are set"};
	bool good = true;

	for (int now = 1; now <= 35; now++)
	{
		for (int before = 1; before <= now; before++)
			good = good && consistent(before, now, 0) == NULL;
	}
	check(good, "630 pairs of heads that continue each other");
	check(strcmp(consistent(37, 70, 8), "log is shorter than it was: it was cut") == 0,
		  "a log that was cut is said to be");
	for (int fault = 1; fault < (int) (sizeof(names) / sizeof(names[0])); fault++)
	{
		char name[100];

		snprintf(name, sizeof(name), "consistency with %s is refused", names[fault]);
		check(consistent(37, 70, fault) != NULL && consistent(32, 70, fault) != NULL, name);
	}
}

/* What the reader says of a note with this text, signed as the log signs. */
static const char *
signed_note(const char *body, size_t len)
{
	char note[1000];
	uint8_t signature[4 + CRYPTO_SIG_BYTES];
	ExportHead head;
	const char *problem;
	char *exact;

	memcpy(signature, key.id, 4);
	if (!crypto_ed25519_sign(seed, body, len, signature + 4))
		abort();
	snprintf(note, sizeof(note), "%.*s\n\xe2\x80\x94 %s %s\n", (int) len, body, key.name,
			 base64(signature, sizeof(signature)));
	exact = malloc(strlen(note));
	memcpy(exact, note, strlen(note));
	problem = export_parse_checkpoint(&key, exact, strlen(note), &head);
	free(exact);
	return problem;
}

/* Checkpoints that the log's own key has signed and that are none. */
static void
checkpoints(void)
{
	static const uint8_t root[32] = {9};
	static const char *const bad[] = {"",
									  "\n",
									  "\n\n\n",
									  "%s",
									  "%s\n",
									  "%s\n\n%s\n",
									  "%s\n-1\n%s\n",
									  "%s\n+1\n%s\n",
									  "%s\n 1\n%s\n",
									  "%s\n1 \n%s\n",
									  "%s\n01\n%s\n",
									  "%s\n0x1\n%s\n",
									  "%s\n1.0\n%s\n",
									  "%s\n18446744073709551616\n%s\n",
									  "%s\n99999999999999999999999\n%s\n",
									  "%s\r\n1\r\n%s\r\n",
									  "%s\n1\r\n%s\n",
									  "%s\n1\n%s\r\n",
									  " %s\n1\n%s\n",
									  "%s \n1\n%s\n",
									  "%s/\n1\n%s\n",
									  "\xef\xbb\xbf%s\n1\n%s\n",
									  "%s\n1\n%s",
									  "%s\n1\n%s\n\n",
									  "%s\n1\n%s=\n",
									  "%s\n1\n\n%s\n",
									  "%s\n1\nA%s\n",
									  "%s\n1\nAAAA%s\n"};
	char body[400];
	char other[800];
	size_t len;
	const char *size;
	int taken = 0;
	int tried = 0;

	len = (size_t) snprintf(body, sizeof(body), "%s\n1234567\n%s\n", key.name, base64(root, 32));
	size = strchr(body, '\n') + 1;
	check(signed_note(body, len) == NULL, "a checkpoint is read");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		snprintf(other, sizeof(other), bad[i], key.name, base64(root, 32));
		if (!check(signed_note(other, strlen(other)) != NULL,
				   "one that the log has signed and is none"))
			printf("# number %zu\n", i);
	}
	for (size_t at = 0; at < len; at++)
	{
		for (size_t n = 1; n <= 48 && at + n <= len; n++)
		{
			/* another size is another checkpoint */
			if (body + at >= size && body + at + n <= size + 7)
				continue;
			memcpy(other, body, at);
			memcpy(other + at, body + at + n, len - at - n);
			tried++;
			taken += signed_note(other, len - n) == NULL;
		}
	}
	check(taken == 0 && tried > 3000, "none from which something is taken out");
	{
		char note[] =
			"immiiq/00112233445566778899aabbccddeeff\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\0";
		ExportHead head;

		check(export_parse_checkpoint(&key, note, strlen(note), &head) != NULL &&
				  strcmp(export_parse_checkpoint(&key, note, strlen(note), &head),
						 "checkpoint has no signature") == 0,
			  "nor one that ends before its signature");
		strcat(note, "\n");
		check(strcmp(export_parse_checkpoint(&key, note, strlen(note), &head),
					 "checkpoint has no signature") == 0,
			  "nor one that ends behind the blank line");
	}
}

/* A verifier key of a name, with the hash that it has to have. */
static const char *
named_key(uint8_t kind, const char *name, char *to, size_t size)
{
	uint8_t public[1 + CRYPTO_PUB_BYTES] = {kind};
	uint8_t hash[32];

	if (!crypto_ed25519_public(seed, public + 1) ||
		!crypto_sha256_3(name, strlen(name), "\n\x01", 2, public + 1, CRYPTO_PUB_BYTES, hash))
		abort();
	snprintf(to, size, "%s+%02x%02x%02x%02x+%s", name, hash[0], hash[1], hash[2], hash[3],
			 base64(public, sizeof(public)));
	return to;
}

static void
keys(void)
{
	char bad[1000];
	char name[600];
	ExportKey read;

	check(export_parse_key(key_text, &read) == NULL && memcmp(&read.public, &key.public, 32) == 0,
		  "a verifier key is read");
	strcpy(bad, key_text);
	bad[0] = 'x';
	check(export_parse_key(bad, &read) != NULL, "not with another name");
	strcpy(bad, key_text);
	bad[strlen(bad) - 3] ^= 1;
	check(export_parse_key(bad, &read) != NULL, "nor another key");
	strcpy(bad, key_text);
	*(strchr(bad, '+') + 1) ^= 1;
	check(export_parse_key(bad, &read) != NULL, "nor another hash");
	strcpy(bad, key_text);
	strcat(bad, "A");
	check(export_parse_key(bad, &read) != NULL, "nor with a letter more");
	check(export_parse_key("", &read) != NULL && export_parse_key("+", &read) != NULL &&
			  export_parse_key("a+b", &read) != NULL &&
			  export_parse_key("a+00000000+", &read) != NULL &&
			  export_parse_key("+00000000+AQ==", &read) != NULL,
		  "nor one that is cut off");
	for (size_t n = 0; n < strlen(key_text); n++)
	{
		char *exact = strndup(key_text, n);

		if (export_parse_key(exact, &read) == NULL)
			check(false, "nor one that is cut off anywhere");
		free(exact);
	}
	check(export_parse_key(named_key(1, "", bad, sizeof(bad)), &read) != NULL,
		  "nor one without a name");
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	check(export_parse_key(named_key(1, name, bad, sizeof(bad)), &read) != NULL,
		  "nor one with a name that is too long");
	name[EXPORT_NAME_MAX] = '\0';
	check(export_parse_key(named_key(1, name, bad, sizeof(bad)), &read) == NULL,
		  "but with one as long as it may be");
	strcpy(bad, key_text);
	*strrchr(bad, '+') = '-';
	check(export_parse_key(bad, &read) != NULL, "nor one whose hash does not end");
	check(export_parse_key(named_key(2, "n", bad, sizeof(bad)), &read) != NULL &&
			  export_parse_key(named_key(1, "n", bad, sizeof(bad)), &read) == NULL,
		  "nor a key of another kind");
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!crypto_init() || export_parse_key(named_key(1, "immiiq/00112233445566778899aabbccddeeff",
													 key_text, sizeof(key_text)),
										   &key) != NULL)
		abort();
	if (argc == 2 && strcmp(argv[1], "-w") == 0)
	{
		make_export(NONE, 11, 20);
		fwrite(text, 1, text_len, stdout);
		return 0;
	}
	keys();
	checkpoints();
	faults();
	consistency();
	letters_gone_or_more();
	strings();
	ends();
	/* -q: for who runs it many times */
	if (argc != 2 || strcmp(argv[1], "-q") != 0)
		every_byte();
	return done();
}
