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
	const size_t after_names = 6 + 6 + 10 + 2 + CANONICAL_HASH_BYTES;
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
	static const uint8_t width[CANONICAL_F_LAST + 1] = {0, 1, 1, 16, 8,	 4, 8, 4, 0,
														0, 4, 4, 8,	 32, 0, 0, 0, 0};
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
	required = ((UINT32_C(1) << (CANONICAL_F_LAST + 1)) - 2) & ~(UINT32_C(1) << CANONICAL_F_WHO) &
			   ~(UINT32_C(1) << CANONICAL_F_ORIGIN) & ~(UINT32_C(1) << CANONICAL_F_FORMER);
	if ((seen & required) != required)
		return false;
	if ((e->who != NULL) != (e->origin != NULL) || (e->who != NULL) != (e->context == e->seq))
		return false;
	return e->who == NULL || canonical_parse_who(e->who, e->who_len, &who);
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
#define PACKED_NULL		0
#define PACKED_ORG		1 /* the entry's organisation, as text */
#define PACKED_UUID		2 /* 16 bytes follow; text in lower case stood there */
#define PACKED_LENGTH	3
#define PACKED_HEAD		(1 + CANONICAL_LAYOUT_BYTES)
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

static void
put_uuid_text(CanonicalBuffer *b, const uint8_t *uuid)
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
	else
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

	if (*pos >= layout_len)
		return false;
	(*pos)++;
	return get_bytes(layout, layout_len, pos, &name, &n);
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
				 size_t layout_len, const uint8_t *name, const uint8_t *org)
{
	size_t pos = 0;
	uint32_t count;

	if (!canonical_get_length(image, len, &pos, &count))
		return false;
	canonical_put_byte(b, count > 0 ? PACKED_LAYOUT | PACKED_WHOLE : PACKED_LAYOUT);
	canonical_put(b, name, CANONICAL_LAYOUT_BYTES);
	if (count > 0 && !pack_part(b, image, len, &pos, layout, layout_len, count, true, org))
		return false;
	if (!canonical_get_length(image, len, &pos, &count))
		return false;
	canonical_put_length(b, count);
	return pack_part(b, image, len, &pos, layout, layout_len, count, false, org) && pos == len;
}

void
canonical_pack_image(CanonicalBuffer *b, const uint8_t *image, size_t len, const uint8_t *layout,
					 size_t layout_len, const uint8_t *name, const uint8_t *org)
{
	size_t start = b->len;

	if (layout != NULL && pack_with_layout(b, image, len, layout, layout_len, name, org))
		return;
	b->len = start;
	canonical_put_byte(b, PACKED_PLAIN);
	canonical_put(b, image, len);
}

const uint8_t *
canonical_packed_layout(const uint8_t *packed, size_t len)
{
	if (len < PACKED_HEAD || (packed[0] & PACKED_LAYOUT) == 0)
		return NULL;
	return packed + 1;
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
		put_uuid_text(b, org);
	else
	{
		uint32_t n = code == PACKED_UUID ? CANONICAL_UUID_BYTES : code - PACKED_LENGTH;

		if (n > len - *pos)
			return false;
		if (code == PACKED_UUID)
			put_uuid_text(b, packed + *pos);
		else
		{
			canonical_put_length(b, n);
			canonical_put(b, packed + *pos, n);
		}
		*pos += n;
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
	size_t pos = PACKED_HEAD;
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
	if (layout == NULL || len < PACKED_HEAD || (packed[0] & ~PACKED_WHOLE) != PACKED_LAYOUT)
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
