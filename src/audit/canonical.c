/*
 * Writing and reading the log's bytes.  Trusts its caller's lengths when it
 * writes; when it reads, refuses unknown tags, wrong order, lengths that are
 * not in the fewest bytes, and whatever is left over.
 */
#include "audit/canonical.h"

#include <string.h>

uint8_t *
canonical_reserve(CanonicalBuffer *b, size_t n)
{
	uint8_t *at;

	if (b->failed)
		return NULL;
	if (n > b->size - b->len || b->data == NULL)
	{
		size_t want = b->size * 2;
		void *p;

		if (want < b->len + n)
			want = b->len + n;
		if (want < 256)
			want = 256;
		p = b->grow(b->data, want);
		if (p == NULL)
		{
			b->failed = true;
			return NULL;
		}
		b->data = p;
		b->size = want;
	}
	at = b->data + b->len;
	b->len += n;
	return at;
}

void
canonical_put(CanonicalBuffer *b, const void *p, size_t n)
{
	uint8_t *at = canonical_reserve(b, n);

	if (at != NULL && n > 0)
		memcpy(at, p, n);
}

void
canonical_put_byte(CanonicalBuffer *b, uint8_t v)
{
	uint8_t *at = canonical_reserve(b, 1);

	if (at != NULL)
		*at = v;
}

void
canonical_put_length(CanonicalBuffer *b, uint32_t n)
{
	uint8_t bytes[5];
	size_t used = 0;

	if (n < 0x80)
	{
		canonical_put_byte(b, (uint8_t) n);
		return;
	}
	while (n >= 0x80)
	{
		bytes[used++] = (uint8_t) (n | 0x80);
		n >>= 7;
	}
	bytes[used++] = (uint8_t) n;
	canonical_put(b, bytes, used);
}

void
canonical_put_field(CanonicalBuffer *b, uint8_t tag, const void *p, size_t n)
{
	canonical_put_byte(b, tag);
	canonical_put_length(b, (uint32_t) n);
	canonical_put(b, p, n);
}

void
canonical_put_field8(CanonicalBuffer *b, uint8_t tag, uint8_t v)
{
	canonical_put_field(b, tag, &v, 1);
}

static void
write_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t) (v >> 24);
	p[1] = (uint8_t) (v >> 16);
	p[2] = (uint8_t) (v >> 8);
	p[3] = (uint8_t) v;
}

static void
write_u64(uint8_t *p, uint64_t v)
{
	write_u32(p, (uint32_t) (v >> 32));
	write_u32(p + 4, (uint32_t) v);
}

void
canonical_put_field32(CanonicalBuffer *b, uint8_t tag, uint32_t v)
{
	uint8_t bytes[4];

	write_u32(bytes, v);
	canonical_put_field(b, tag, bytes, sizeof(bytes));
}

void
canonical_put_field64(CanonicalBuffer *b, uint8_t tag, uint64_t v)
{
	uint8_t bytes[8];

	write_u64(bytes, v);
	canonical_put_field(b, tag, bytes, sizeof(bytes));
}

bool
canonical_get_length(const uint8_t *p, size_t len, size_t *pos, uint32_t *n)
{
	uint64_t value = 0;
	unsigned shift = 0;

	for (;;)
	{
		uint8_t byte;

		if (*pos >= len || shift > 28)
			return false;
		byte = p[(*pos)++];
		value |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
		{
			if (byte == 0 && shift > 0)
				return false; /* a group too many */
			break;
		}
		shift += 7;
	}
	if (value > UINT32_MAX)
		return false;
	*n = (uint32_t) value;
	return true;
}

/* A length and that many bytes. */
static bool
get_bytes(const uint8_t *p, size_t len, size_t *pos, const uint8_t **value, uint32_t *n)
{
	if (!canonical_get_length(p, len, pos, n) || *n > len - *pos)
		return false;
	*value = p + *pos;
	*pos += *n;
	return true;
}

bool
canonical_get_field(const uint8_t *p, size_t len, size_t *pos, uint8_t *tag, const uint8_t **value,
					uint32_t *n)
{
	if (*pos >= len)
		return false;
	*tag = p[(*pos)++];
	return get_bytes(p, len, pos, value, n);
}

uint32_t
canonical_u32(const uint8_t *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

uint64_t
canonical_u64(const uint8_t *p)
{
	return (uint64_t) canonical_u32(p) << 32 | canonical_u32(p + 4);
}

/* Fields at a place where there is room for them; what comes after. */
static uint8_t *
write_field(uint8_t *at, uint8_t tag, const void *p, size_t n)
{
	*at++ = tag;
	*at++ = (uint8_t) n;
	memcpy(at, p, n);
	return at + n;
}

static uint8_t *
write_field32(uint8_t *at, uint8_t tag, uint32_t v)
{
	*at++ = tag;
	*at++ = 4;
	write_u32(at, v);
	return at + 4;
}

static uint8_t *
write_field64(uint8_t *at, uint8_t tag, uint64_t v)
{
	*at++ = tag;
	*at++ = 8;
	write_u64(at, v);
	return at + 8;
}

void
canonical_put_entry(CanonicalBuffer *b, const CanonicalEntry *e)
{
	const size_t before_names = 3 + 3 + 18 + 10 + 6 + 10 + 6;
	const size_t after_names = (e->layout != NULL ? 2 + CANONICAL_LAYOUT_BYTES : 0) + 6 + 6 + 10 +
							   2 + CANONICAL_HASH_BYTES;
	uint8_t *at = canonical_reserve(b, before_names);

	if (at == NULL)
		return;
	at = write_field(at, CANONICAL_F_VERSION, (const uint8_t[1]){CANONICAL_VERSION}, 1);
	at = write_field(at, CANONICAL_F_OPERATION, &e->operation, 1);
	at = write_field(at, CANONICAL_F_ORG, e->org, CANONICAL_UUID_BYTES);
	at = write_field64(at, CANONICAL_F_AT, (uint64_t) e->at);
	at = write_field32(at, CANONICAL_F_INCARNATION, e->incarnation);
	at = write_field64(at, CANONICAL_F_TXID, e->txid);
	(void) write_field32(at, CANONICAL_F_SEQ, e->seq);
	canonical_put_field(b, CANONICAL_F_SCHEMA, e->schema, e->schema_len);
	canonical_put_field(b, CANONICAL_F_TABLE, e->table, e->table_len);
	at = canonical_reserve(b, after_names);
	if (at == NULL)
		return;
	if (e->layout != NULL)
		at = write_field(at, CANONICAL_F_LAYOUT, e->layout, CANONICAL_LAYOUT_BYTES);
	at = write_field32(at, CANONICAL_F_KEY_ID, e->key_id);
	at = write_field32(at, CANONICAL_F_CONTEXT, e->context);
	at = write_field64(at, CANONICAL_F_ROW, e->row);
	(void) write_field(at, CANONICAL_F_COMMITMENT, e->commitment, CANONICAL_HASH_BYTES);
	if (e->who != NULL)
		canonical_put_field(b, CANONICAL_F_WHO, e->who, e->who_len);
}

bool
canonical_parse_entry(const uint8_t *body, size_t len, CanonicalEntry *e)
{
	/* exact sizes of the fields of fixed width; 0: any size of at least one byte */
	static const uint8_t width[CANONICAL_F_LAST + 1] = {[CANONICAL_F_VERSION] = 1,
														[CANONICAL_F_OPERATION] = 1,
														[CANONICAL_F_ORG] = CANONICAL_UUID_BYTES,
														[CANONICAL_F_AT] = 8,
														[CANONICAL_F_INCARNATION] = 4,
														[CANONICAL_F_TXID] = 8,
														[CANONICAL_F_SEQ] = 4,
														[CANONICAL_F_LAYOUT] =
															CANONICAL_LAYOUT_BYTES,
														[CANONICAL_F_KEY_ID] = 4,
														[CANONICAL_F_CONTEXT] = 4,
														[CANONICAL_F_ROW] = CANONICAL_TAG_BYTES,
														[CANONICAL_F_COMMITMENT] =
															CANONICAL_HASH_BYTES};
	size_t pos = 0;
	uint32_t seen = 0;
	uint32_t required;
	uint8_t last = 0;
	CanonicalWho who;

	memset(e, 0, sizeof(*e));
	while (pos < len)
	{
		size_t start = pos;
		uint8_t tag;
		const uint8_t *value;
		uint32_t n;

		if (!canonical_get_field(body, len, &pos, &tag, &value, &n))
			return false;
		if (tag <= last || tag > CANONICAL_F_LAST)
			return false;
		if (width[tag] != 0 ? n != width[tag] : n == 0)
			return false;
		last = tag;
		seen |= UINT32_C(1) << tag;
		switch (tag)
		{
			case CANONICAL_F_VERSION:
				if (value[0] != CANONICAL_VERSION)
					return false;
				break;
			case CANONICAL_F_OPERATION:
				if (value[0] < CANONICAL_INSERT || value[0] > CANONICAL_EVENT)
					return false;
				e->operation = value[0];
				break;
			case CANONICAL_F_ORG:
				e->org = value;
				break;
			case CANONICAL_F_AT:
				e->at = (int64_t) canonical_u64(value);
				break;
			case CANONICAL_F_INCARNATION:
				e->incarnation = canonical_u32(value);
				break;
			case CANONICAL_F_TXID:
				e->txid = canonical_u64(value);
				break;
			case CANONICAL_F_SEQ:
				e->seq = canonical_u32(value);
				break;
			case CANONICAL_F_SCHEMA:
				e->schema = (const char *) value;
				e->schema_len = n;
				break;
			case CANONICAL_F_TABLE:
				e->table = (const char *) value;
				e->table_len = n;
				break;
			case CANONICAL_F_LAYOUT:
				e->layout = value;
				break;
			case CANONICAL_F_KEY_ID:
				e->key_id = canonical_u32(value);
				break;
			case CANONICAL_F_CONTEXT:
				e->context = canonical_u32(value);
				break;
			case CANONICAL_F_ROW:
				e->row = canonical_u64(value);
				break;
			case CANONICAL_F_COMMITMENT:
				e->commitment = value;
				break;
			case CANONICAL_F_WHO:
				e->who = value;
				e->who_len = n;
				break;
			case CANONICAL_F_ORIGIN:
				if (n < CANONICAL_SEAL_BYTES)
					return false;
				e->origin = value;
				e->origin_len = n;
				e->clear_len = start;
				break;
			case CANONICAL_F_IMAGE:
				if (n < CANONICAL_SEAL_BYTES)
					return false;
				e->image = value;
				e->image_len = n;
				if (e->clear_len == 0)
					e->clear_len = start;
				break;
			case CANONICAL_F_FORMER:
				if (n < 4 + CANONICAL_SEAL_BYTES)
					return false;
				e->former_key_id = canonical_u32(value);
				e->former = value + 4;
				e->former_len = n - 4;
				break;
		}
	}
	required = ((UINT32_C(1) << (CANONICAL_F_LAST + 1)) - 2) &
			   ~(UINT32_C(1) << CANONICAL_F_LAYOUT | UINT32_C(1) << CANONICAL_F_WHO |
				 UINT32_C(1) << CANONICAL_F_ORIGIN | UINT32_C(1) << CANONICAL_F_FORMER);
	if ((seen & required) != required)
		return false;
	if ((e->who != NULL) != (e->origin != NULL) || (e->who != NULL) != (e->context == e->seq))
		return false;
	return e->who == NULL || canonical_parse_who(e->who, e->who_len, &who);
}

/* ---- what is stored of an entry ---- */

/* Beside the operation, in the first byte */
#define STORED_OPERATION 0x07
#define STORED_LAYOUT	 0x08 /* its name; else schema and table, each with its length */
#define STORED_WHO		 0x10 /* who and origin, each with its length */
#define STORED_FORMER	 0x20 /* the image has its length, and a former one follows */
#define STORED_KNOWN	 0x3f

static void
put_bytes(CanonicalBuffer *b, const void *p, uint32_t n)
{
	canonical_put_length(b, n);
	canonical_put(b, p, n);
}

void
canonical_pack_entry(CanonicalBuffer *b, const CanonicalEntry *e, bool former)
{
	uint8_t *at;

	canonical_put_byte(b, (uint8_t) (e->operation | (e->layout != NULL ? STORED_LAYOUT : 0) |
									 (e->who != NULL ? STORED_WHO : 0) |
									 (former ? STORED_FORMER : 0)));
	if (e->layout != NULL)
		canonical_put(b, e->layout, CANONICAL_LAYOUT_BYTES);
	else
	{
		put_bytes(b, e->schema, e->schema_len);
		put_bytes(b, e->table, e->table_len);
	}
	at = canonical_reserve(b, 4 + CANONICAL_TAG_BYTES + CANONICAL_HASH_BYTES);
	if (at == NULL)
		return;
	write_u32(at, e->key_id);
	write_u64(at + 4, e->row);
	memcpy(at + 4 + CANONICAL_TAG_BYTES, e->commitment, CANONICAL_HASH_BYTES);
	if (e->who != NULL)
		put_bytes(b, e->who, e->who_len);
}

/* So many bytes. */
static bool
take(const uint8_t *p, size_t len, size_t *pos, size_t n, const uint8_t **value)
{
	if (n > len - *pos)
		return false;
	*value = p + *pos;
	*pos += n;
	return true;
}

bool
canonical_unpack_entry(const uint8_t *stored, size_t len, CanonicalEntry *e)
{
	size_t pos = 1;
	const uint8_t *value;

	if (len < 1 || (stored[0] & ~STORED_KNOWN) != 0)
		return false;
	e->operation = stored[0] & STORED_OPERATION;
	if ((stored[0] & STORED_LAYOUT) != 0)
	{
		if (!take(stored, len, &pos, CANONICAL_LAYOUT_BYTES, &e->layout))
			return false;
	}
	else
	{
		e->layout = NULL;
		if (!get_bytes(stored, len, &pos, &value, &e->schema_len))
			return false;
		e->schema = (const char *) value;
		if (!get_bytes(stored, len, &pos, &value, &e->table_len))
			return false;
		e->table = (const char *) value;
	}
	if (!take(stored, len, &pos, 4, &value))
		return false;
	e->key_id = canonical_u32(value);
	if (!take(stored, len, &pos, CANONICAL_TAG_BYTES, &value))
		return false;
	e->row = canonical_u64(value);
	if (!take(stored, len, &pos, CANONICAL_HASH_BYTES, &e->commitment))
		return false;
	e->who = e->origin = e->former = NULL;
	if ((stored[0] & STORED_WHO) != 0 && (!get_bytes(stored, len, &pos, &e->who, &e->who_len) ||
										  !get_bytes(stored, len, &pos, &e->origin, &e->origin_len)))
		return false;
	if ((stored[0] & STORED_FORMER) != 0)
	{
		if (!get_bytes(stored, len, &pos, &e->image, &e->image_len) ||
			!take(stored, len, &pos, 4, &value))
			return false;
		e->former_key_id = canonical_u32(value);
		e->former = stored + pos;
		e->former_len = (uint32_t) (len - pos);
	}
	else
	{
		e->image = stored + pos;
		e->image_len = (uint32_t) (len - pos);
	}
	return true;
}

void
canonical_put_whole_entry(CanonicalBuffer *b, const CanonicalEntry *e)
{
	canonical_put_entry(b, e);
	if (e->who != NULL)
		canonical_put_field(b, CANONICAL_F_ORIGIN, e->origin, e->origin_len);
	canonical_put_field(b, CANONICAL_F_IMAGE, e->image, e->image_len);
	if (e->former != NULL)
	{
		uint8_t *at;

		canonical_put_byte(b, CANONICAL_F_FORMER);
		canonical_put_length(b, 4 + e->former_len);
		at = canonical_reserve(b, 4);
		if (at != NULL)
			write_u32(at, e->former_key_id);
		canonical_put(b, e->former, e->former_len);
	}
}

bool
canonical_parse_layout(const uint8_t *layout, size_t len, CanonicalEntry *e,
					   const uint8_t **columns, size_t *columns_len)
{
	size_t pos = 0;
	const uint8_t *value;

	if (!get_bytes(layout, len, &pos, &value, &e->schema_len))
		return false;
	e->schema = (const char *) value;
	if (!get_bytes(layout, len, &pos, &value, &e->table_len))
		return false;
	e->table = (const char *) value;
	*columns = layout + pos;
	*columns_len = len - pos;
	return true;
}

void
canonical_put_who(CanonicalBuffer *b, const CanonicalWho *w)
{
	canonical_put_field8(b, CANONICAL_W_ACTOR, w->actor);
	if (w->member != NULL)
		canonical_put_field(b, CANONICAL_W_MEMBER, w->member, CANONICAL_UUID_BYTES);
	if (w->session != NULL)
		canonical_put_field(b, CANONICAL_W_SESSION, w->session, CANONICAL_UUID_BYTES);
	canonical_put_field(b, CANONICAL_W_ROLE, w->role, w->role_len);
	if (w->tool != NULL)
		canonical_put_field(b, CANONICAL_W_TOOL, w->tool, w->tool_len);
	if (w->impersonated)
		canonical_put_field8(b, CANONICAL_W_IMPERSONATED, 1);
	if (w->address != NULL)
		canonical_put_field(b, CANONICAL_W_ADDRESS, w->address, CANONICAL_TAG_BYTES);
}

bool
canonical_parse_who(const uint8_t *p, size_t len, CanonicalWho *w)
{
	size_t pos = 0;
	uint8_t last = 0;

	memset(w, 0, sizeof(*w));
	while (pos < len)
	{
		uint8_t tag;
		const uint8_t *value;
		uint32_t n;

		if (!canonical_get_field(p, len, &pos, &tag, &value, &n) || tag <= last || n == 0)
			return false;
		last = tag;
		switch (tag)
		{
			case CANONICAL_W_ACTOR:
				if (n != 1 || value[0] == 0)
					return false;
				w->actor = value[0];
				break;
			case CANONICAL_W_MEMBER:
				if (n != CANONICAL_UUID_BYTES)
					return false;
				w->member = value;
				break;
			case CANONICAL_W_SESSION:
				if (n != CANONICAL_UUID_BYTES)
					return false;
				w->session = value;
				break;
			case CANONICAL_W_ROLE:
				w->role = (const char *) value;
				w->role_len = n;
				break;
			case CANONICAL_W_TOOL:
				w->tool = (const char *) value;
				w->tool_len = n;
				break;
			case CANONICAL_W_IMPERSONATED:
				if (n != 1 || value[0] != 1)
					return false;
				w->impersonated = true;
				break;
			case CANONICAL_W_ADDRESS:
				if (n != CANONICAL_TAG_BYTES)
					return false;
				w->address = value;
				break;
			default:
				return false;
		}
	}
	return w->actor != 0 && w->role != NULL;
}

void
canonical_put_origin(CanonicalBuffer *b, const CanonicalOrigin *o)
{
	if (o->address != NULL)
		canonical_put_field(b, CANONICAL_O_ADDRESS, o->address, o->address_len);
	if (o->agent != NULL)
		canonical_put_field(b, CANONICAL_O_AGENT, o->agent, o->agent_len);
	if (o->application != NULL)
		canonical_put_field(b, CANONICAL_O_APPLICATION, o->application, o->application_len);
}

bool
canonical_parse_origin(const uint8_t *p, size_t len, CanonicalOrigin *o)
{
	size_t pos = 0;
	uint8_t last = 0;

	memset(o, 0, sizeof(*o));
	while (pos < len)
	{
		uint8_t tag;
		const uint8_t *value;
		uint32_t n;

		if (!canonical_get_field(p, len, &pos, &tag, &value, &n) || tag <= last)
			return false;
		last = tag;
		switch (tag)
		{
			case CANONICAL_O_ADDRESS:
				o->address = (const char *) value;
				o->address_len = n;
				break;
			case CANONICAL_O_AGENT:
				o->agent = (const char *) value;
				o->agent_len = n;
				break;
			case CANONICAL_O_APPLICATION:
				o->application = (const char *) value;
				o->application_len = n;
				break;
			default:
				return false;
		}
	}
	return true;
}

bool
canonical_get_column(const uint8_t *p, size_t len, size_t *pos, CanonicalColumn *c)
{
	const uint8_t *bytes;

	memset(c, 0, sizeof(*c));
	if (*pos >= len)
		return false;
	c->flags = p[(*pos)++];
	if ((c->flags & ~CANONICAL_C_KNOWN) != 0)
		return false;
	if (!get_bytes(p, len, pos, &bytes, &c->name_len) || c->name_len == 0)
		return false;
	c->name = (const char *) bytes;
	if ((c->flags & CANONICAL_C_NULL) == 0)
	{
		if (!get_bytes(p, len, pos, &bytes, &c->value_len))
			return false;
		c->value = (const char *) bytes;
	}
	return true;
}

bool
canonical_check_image(const uint8_t *p, size_t len)
{
	size_t pos = 0;

	for (int part = 0; part < 2; part++)
	{
		uint32_t count;

		if (!canonical_get_length(p, len, &pos, &count))
			return false;
		while (count-- > 0)
		{
			CanonicalColumn column;

			if (!canonical_get_column(p, len, &pos, &column))
				return false;
		}
	}
	return pos == len;
}

/* ---- packed images ---- */

/* How an image is packed */
#define PACKED_PLAIN  0
#define PACKED_LAYOUT 1
#define PACKED_WHOLE  2 /* beside PACKED_LAYOUT: the new columns are all of the layout's */
/* How a value is packed: these, or its length and PACKED_LENGTH, and its bytes */
#define PACKED_NULL	   0
#define PACKED_ORG	   1 /* the entry's organisation, as text */
#define PACKED_UUID	   2 /* 16 bytes follow; text in lower case stood there */
#define PACKED_INSTANT 3 /* 8 bytes follow: as PACKED_TIME, +00 stood behind it */
#define PACKED_TIME                                                                                \
	4 /* 8 bytes follow: microseconds since 2000-01-01, as PostgreSQL writes them in ISO */
#define PACKED_DATE		5 /* 4 bytes follow: days since then */
#define PACKED_LENGTH	6
#define DATE_TEXT_BYTES 10
#define TIME_TEXT_BYTES 19 /* without the fraction */
#define TIME_TEXT_MAX	29
#define UUID_TEXT_BYTES 36

static bool
uuid_has_dash(unsigned i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* The bytes of a uuid whose text is as PostgreSQL writes it; false for any other text. */
static bool
parse_uuid(const char *text, uint8_t out[CANONICAL_UUID_BYTES])
{
	unsigned n = 0;

	for (unsigned i = 0; i < UUID_TEXT_BYTES; i++)
	{
		char c = text[i];
		uint8_t digit;

		if (uuid_has_dash(i))
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			digit = (uint8_t) (c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (uint8_t) (c - 'a' + 10);
		else
			return false;
		out[n / 2] = (uint8_t) (n % 2 == 0 ? digit << 4 : out[n / 2] | digit);
		n++;
	}
	return true;
}

void
canonical_put_uuid(CanonicalBuffer *b, const uint8_t *uuid)
{
	uint8_t *at;
	unsigned n = 0;

	canonical_put_length(b, UUID_TEXT_BYTES);
	at = canonical_reserve(b, UUID_TEXT_BYTES);
	for (unsigned i = 0; at != NULL && i < UUID_TEXT_BYTES; i++)
	{
		if (uuid_has_dash(i))
			at[i] = '-';
		else
		{
			at[i] = (uint8_t) "0123456789abcdef"[n % 2 == 0 ? uuid[n / 2] >> 4 : uuid[n / 2] & 15];
			n++;
		}
	}
}

/* Reads so many decimal digits. */
static bool
read_digits(const char *text, unsigned n, uint32_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < n; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*value = *value * 10 + (uint32_t) (text[i] - '0');
	}
	return true;
}

static void
write_digits(char *at, unsigned n, uint32_t value)
{
	while (n-- > 0)
	{
		at[n] = (char) ('0' + value % 10);
		value /= 10;
	}
}

#define DAYS_OF_400_YEARS INT64_C(146097)
#define DAYS_TO_2000	  INT64_C(730425) /* from 0000-03-01 to 2000-01-01 */
#define DAY_MICROSECONDS  INT64_C(86400000000)

/* The days from 2000-01-01 to a date of the years 1 to 9999, year-month-day; false for any other text. */
static bool
parse_date(const char *text, int64_t *days)
{
	static const uint8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	uint32_t year;
	uint32_t month;
	uint32_t day;
	uint32_t of_year;

	if (text[4] != '-' || text[7] != '-' || !read_digits(text, 4, &year) ||
		!read_digits(text + 5, 2, &month) || !read_digits(text + 8, 2, &day) || year == 0 ||
		month < 1 || month > 12 || day < 1 ||
		day > lengths[month - 1] +
				  (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 1u : 0u))
		return false;
	/* years that begin in March end with their leap day */
	year -= month <= 2;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	*days = (int64_t) (year / 400) * DAYS_OF_400_YEARS + (year % 400) * 365 + year % 400 / 4 -
			year % 400 / 100 + of_year - DAYS_TO_2000;
	return true;
}

/* Writes the date so many days from 2000-01-01; false when it is not of the years 1 to 9999. */
static bool
write_date(char at[DATE_TEXT_BYTES], int64_t days)
{
	uint32_t of_era;
	uint32_t year;
	uint32_t of_year;
	uint32_t month;

	days += DAYS_TO_2000;
	if (days < 306 || days >= 25 * DAYS_OF_400_YEARS - 60) /* 0001-01-01, 10000-01-01 */
		return false;
	of_era = (uint32_t) (days % DAYS_OF_400_YEARS);
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	month = (5 * of_year + 2) / 153;
	write_digits(at + 8, 2, of_year - (153 * month + 2) / 5 + 1);
	month = month < 10 ? month + 3 : month - 9;
	write_digits(at, 4, (uint32_t) (days / DAYS_OF_400_YEARS) * 400 + year + (month <= 2));
	write_digits(at + 5, 2, month);
	at[4] = at[7] = '-';
	return true;
}

/* The microseconds of a time as PostgreSQL writes it in ISO, and whether it ends in +00; false for any other text. */
static bool
parse_time(const char *text, size_t len, int64_t *value, bool *instant)
{
	int64_t days;
	uint32_t hour;
	uint32_t minute;
	uint32_t second;
	uint32_t fraction = 0;

	if (len < TIME_TEXT_BYTES || len > TIME_TEXT_MAX || !parse_date(text, &days) ||
		text[10] != ' ' || text[13] != ':' || text[16] != ':' ||
		!read_digits(text + 11, 2, &hour) || !read_digits(text + 14, 2, &minute) ||
		!read_digits(text + 17, 2, &second) || hour > 23 || minute > 59 || second > 59)
		return false;
	*instant = len > TIME_TEXT_BYTES + 2 && memcmp(text + len - 3, "+00", 3) == 0;
	if (*instant)
		len -= 3;
	if (len > TIME_TEXT_BYTES)
	{
		unsigned n = (unsigned) (len - TIME_TEXT_BYTES - 1);

		if (text[TIME_TEXT_BYTES] != '.' || n < 1 || n > 6 || text[len - 1] == '0' ||
			!read_digits(text + TIME_TEXT_BYTES + 1, n, &fraction))
			return false;
		for (; n < 6; n++)
			fraction *= 10;
	}
	*value = days * DAY_MICROSECONDS + INT64_C(1000000) * (3600 * hour + 60 * minute + second) +
			 fraction;
	return true;
}

static bool
put_time_text(CanonicalBuffer *b, int64_t value, bool instant)
{
	char text[TIME_TEXT_MAX];
	size_t len = TIME_TEXT_BYTES;
	int64_t days = value / DAY_MICROSECONDS;
	int64_t left = value % DAY_MICROSECONDS;
	uint32_t seconds;
	uint32_t fraction;

	if (left < 0)
	{
		left += DAY_MICROSECONDS;
		days--;
	}
	if (!write_date(text, days))
		return false;
	seconds = (uint32_t) (left / 1000000);
	fraction = (uint32_t) (left % 1000000);
	text[10] = ' ';
	write_digits(text + 11, 2, seconds / 3600);
	text[13] = ':';
	write_digits(text + 14, 2, seconds / 60 % 60);
	text[16] = ':';
	write_digits(text + 17, 2, seconds % 60);
	if (fraction != 0)
	{
		unsigned n = 6;

		for (; fraction % 10 == 0; n--)
			fraction /= 10;
		text[len] = '.';
		write_digits(text + len + 1, n, fraction);
		len += 1 + n;
	}
	if (instant)
	{
		memcpy(text + len, "+00", 3);
		len += 3;
	}
	canonical_put_length(b, (uint32_t) len);
	canonical_put(b, text, len);
	return true;
}

/* Packs a date or time; false when the text is none as PostgreSQL writes it. */
static bool
pack_time(CanonicalBuffer *b, const char *text, size_t len)
{
	uint8_t bytes[1 + 8];
	int64_t value;
	bool instant;

	if (len == DATE_TEXT_BYTES && parse_date(text, &value))
	{
		bytes[0] = PACKED_DATE;
		write_u32(bytes + 1, (uint32_t) value);
		canonical_put(b, bytes, 1 + 4);
		return true;
	}
	if (!parse_time(text, len, &value, &instant))
		return false;
	bytes[0] = instant ? PACKED_INSTANT : PACKED_TIME;
	write_u64(bytes + 1, (uint64_t) value);
	canonical_put(b, bytes, sizeof(bytes));
	return true;
}

static bool
put_date_text(CanonicalBuffer *b, int32_t days)
{
	char text[DATE_TEXT_BYTES];

	if (!write_date(text, days))
		return false;
	canonical_put_length(b, DATE_TEXT_BYTES);
	canonical_put(b, text, DATE_TEXT_BYTES);
	return true;
}

static void
pack_value(CanonicalBuffer *b, const CanonicalColumn *c, const uint8_t *org)
{
	uint8_t uuid[CANONICAL_UUID_BYTES];

	if (c->value == NULL)
		canonical_put_byte(b, PACKED_NULL);
	else if (c->value_len == UUID_TEXT_BYTES && parse_uuid(c->value, uuid))
	{
		bool own = memcmp(uuid, org, sizeof(uuid)) == 0;

		canonical_put_byte(b, own ? PACKED_ORG : PACKED_UUID);
		if (!own)
			canonical_put(b, uuid, sizeof(uuid));
	}
	else if (c->value_len < DATE_TEXT_BYTES || !pack_time(b, c->value, c->value_len))
	{
		canonical_put_length(b, c->value_len + PACKED_LENGTH);
		canonical_put(b, c->value, c->value_len);
	}
}

/* Moves behind the next column of a layout; false at its end. */
static bool
next_in_layout(const uint8_t *layout, size_t layout_len, size_t *pos)
{
	const uint8_t *name;
	uint32_t n;
	size_t next = *pos + 1;

	if (*pos >= layout_len || !get_bytes(layout, layout_len, &next, &name, &n))
		return false;
	*pos = next;
	return true;
}

/* Packs one part; false when it is not of this layout. whole: all columns of the layout stand there. */
static bool
pack_part(CanonicalBuffer *b, const uint8_t *image, size_t len, size_t *pos, const uint8_t *layout,
		  size_t layout_len, uint32_t count, bool whole, const uint8_t *org)
{
	size_t at = 0;
	uint32_t number = 0;

	while (count-- > 0)
	{
		CanonicalColumn c;
		size_t head = *pos;
		size_t head_len;
		size_t start;

		if (!canonical_get_column(image, len, pos, &c))
			return false;
		head_len = (size_t) ((const uint8_t *) c.name - (image + head)) + c.name_len;
		for (;; number++)
		{
			start = at;
			if (!next_in_layout(layout, layout_len, &at))
				return false;
			if (at - start == head_len && layout[start] == (c.flags & ~CANONICAL_C_NULL) &&
				memcmp(layout + start + 1, image + head + 1, head_len - 1) == 0)
				break;
			if (whole)
				return false;
		}
		if (!whole)
			canonical_put_length(b, number);
		number++;
		pack_value(b, &c, org);
	}
	return !whole || at == layout_len;
}

static bool
pack_with_layout(CanonicalBuffer *b, const uint8_t *image, size_t len, const uint8_t *layout,
				 size_t layout_len, const uint8_t *org)
{
	size_t pos = 0;
	uint32_t count;

	if (!canonical_get_length(image, len, &pos, &count))
		return false;
	canonical_put_byte(b, count > 0 ? PACKED_LAYOUT | PACKED_WHOLE : PACKED_LAYOUT);
	if (count > 0 && !pack_part(b, image, len, &pos, layout, layout_len, count, true, org))
		return false;
	if (!canonical_get_length(image, len, &pos, &count))
		return false;
	canonical_put_length(b, count);
	return pack_part(b, image, len, &pos, layout, layout_len, count, false, org) && pos == len;
}

void
canonical_pack_image(CanonicalBuffer *b, const uint8_t *image, size_t len, const uint8_t *layout,
					 size_t layout_len, const uint8_t *org)
{
	size_t start = b->len;

	if (layout != NULL && pack_with_layout(b, image, len, layout, layout_len, org))
		return;
	b->len = start;
	canonical_put_byte(b, PACKED_PLAIN);
	canonical_put(b, image, len);
}

/* Appends a column whose flags and name stand in the layout from start to end. */
static bool
unpack_column(CanonicalBuffer *b, const uint8_t *packed, size_t len, size_t *pos,
			  const uint8_t *head, size_t head_len, const uint8_t *org)
{
	uint8_t *flags = canonical_reserve(b, head_len);
	uint32_t code;

	if (flags == NULL || !canonical_get_length(packed, len, pos, &code))
		return false;
	memcpy(flags, head, head_len);
	if (code == PACKED_NULL)
		*flags |= CANONICAL_C_NULL;
	else if (code == PACKED_ORG)
		canonical_put_uuid(b, org);
	else
	{
		uint32_t n = code == PACKED_UUID							 ? CANONICAL_UUID_BYTES
					 : code == PACKED_INSTANT || code == PACKED_TIME ? 8
					 : code == PACKED_DATE							 ? 4
																	 : code - PACKED_LENGTH;
		const uint8_t *value = packed + *pos;

		if (n > len - *pos)
			return false;
		*pos += n;
		if (code == PACKED_UUID)
			canonical_put_uuid(b, value);
		else if (code == PACKED_INSTANT || code == PACKED_TIME)
			return put_time_text(b, (int64_t) canonical_u64(value), code == PACKED_INSTANT) &&
				   !b->failed;
		else if (code == PACKED_DATE)
			return put_date_text(b, (int32_t) canonical_u32(value)) && !b->failed;
		else
			put_bytes(b, value, n);
	}
	return !b->failed;
}

static bool
unpack_part(CanonicalBuffer *b, const uint8_t *packed, size_t len, size_t *pos,
			const uint8_t *layout, size_t layout_len, uint32_t count, bool whole, const uint8_t *org)
{
	size_t at = 0;
	uint32_t number = 0;

	while (count-- > 0)
	{
		size_t start = at;
		uint32_t wanted = number;

		if (!whole && !canonical_get_length(packed, len, pos, &wanted))
			return false;
		if (wanted < number)
			return false;
		for (; number <= wanted; number++)
		{
			start = at;
			if (!next_in_layout(layout, layout_len, &at))
				return false;
		}
		if (!unpack_column(b, packed, len, pos, layout + start, at - start, org))
			return false;
	}
	return true;
}

bool
canonical_unpack_image(CanonicalBuffer *b, const uint8_t *packed, size_t len, const uint8_t *layout,
					   size_t layout_len, const uint8_t *org)
{
	size_t pos = 1;
	size_t at = 0;
	uint32_t columns = 0;
	uint32_t count;

	if (len < 1)
		return false;
	if (packed[0] == PACKED_PLAIN)
	{
		canonical_put(b, packed + 1, len - 1);
		return !b->failed;
	}
	if (layout == NULL || (packed[0] & ~PACKED_WHOLE) != PACKED_LAYOUT)
		return false;
	if (packed[0] & PACKED_WHOLE)
	{
		while (next_in_layout(layout, layout_len, &at))
			columns++;
		if (at != layout_len || columns == 0)
			return false;
	}
	canonical_put_length(b, columns);
	if (!unpack_part(b, packed, len, &pos, layout, layout_len, columns, true, org) ||
		!canonical_get_length(packed, len, &pos, &count))
		return false;
	canonical_put_length(b, count);
	return unpack_part(b, packed, len, &pos, layout, layout_len, count, false, org) && pos == len &&
		   !b->failed;
}

void
canonical_write_batch(const CanonicalBatch *batch, uint8_t out[CANONICAL_BATCH_BYTES])
{
	uint8_t *p = out;

	memcpy(p, "immiiq/v1/batch\0", 16);
	p += 16;
	*p++ = CANONICAL_VERSION;
	write_u64(p, batch->batch_no);
	p += 8;
	memcpy(p, batch->org, 16);
	p += 16;
	write_u64(p, batch->first);
	p += 8;
	write_u64(p, batch->last);
	p += 8;
	write_u64(p, (uint64_t) batch->at);
	p += 8;
	memcpy(p, batch->org_root, 32);
	p += 32;
	memcpy(p, batch->previous, 32);
}
