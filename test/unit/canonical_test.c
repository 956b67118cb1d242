/*
 * The log's bytes: what is written is read back, and whatever could be written in a second way is refused.
 */
#include "audit/canonical.h"
#include "tap.h"

static const uint8_t org[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t member[16] = {0xaa, 0xbb};
static const uint8_t commitment[32] = {7};
static const uint8_t layout[CANONICAL_LAYOUT_BYTES] = {8, 9};
static uint8_t sealed[CANONICAL_SEAL_BYTES + 5];

/* Parses a copy that ends where the bytes do, so that a sanitizer sees a byte too many. */
static bool
parses(const uint8_t *p, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	CanonicalEntry entry;
	bool good;

	memcpy(copy, p, len);
	good = canonical_parse_entry(copy, len, &entry);
	free(copy);
	return good;
}

/* An entry as capture writes it; says who when context is its own number. */
static CanonicalBuffer
entry_bytes(uint32_t seq, uint32_t context)
{
	CanonicalBuffer b = {.grow = realloc};
	CanonicalBuffer who_bytes = {.grow = realloc};
	CanonicalWho who = {.actor = 1, .member = member, .role = "app", .role_len = 3};
	CanonicalEntry entry = {.operation = CANONICAL_UPDATE,
							.org = org,
							.at = -5,
							.incarnation = 0x01020304,
							.txid = UINT64_C(0x100000007),
							.seq = seq,
							.schema = "public",
							.schema_len = 6,
							.table = "client",
							.table_len = 6,
							.layout = layout,
							.key_id = 9,
							.context = context,
							.row = 11,
							.commitment = commitment};

	canonical_put_who(&who_bytes, &who);
	if (seq == context)
	{
		entry.who = who_bytes.data;
		entry.who_len = who_bytes.len;
	}
	canonical_put_entry(&b, &entry);
	if (seq == context)
		canonical_put_field(&b, CANONICAL_F_ORIGIN, sealed, CANONICAL_SEAL_BYTES);
	canonical_put_field(&b, CANONICAL_F_IMAGE, sealed, sizeof(sealed));
	free(who_bytes.data);
	return b;
}

static void
lengths(void)
{
	static const struct
	{
		uint32_t n;
		const char *hex;
	} cases[] = {{0, "00"},		{127, "7f"},	   {128, "8001"},
				 {300, "ac02"}, {16384, "808001"}, {UINT32_MAX, "ffffffff0f"}};
	static const char *const bad[] =
		{"", "80", "8000", "ffffffff1f", "ffffffffff00", "ff80", "8080808080808080808001"};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		CanonicalBuffer b = {.grow = realloc};
		size_t pos = 0;
		uint32_t n;

		canonical_put_length(&b, cases[i].n);
		good &= is_hex(b.data, b.len, cases[i].hex);
		good &= canonical_get_length(b.data, b.len, &pos, &n) && n == cases[i].n && pos == b.len;
		free(b.data);
	}
	check(good, "lengths are written in the fewest bytes and read back");
	good = true;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		uint8_t bytes[16];
		size_t len = unhex(bad[i], bytes, sizeof(bytes));
		size_t pos = 0;
		uint32_t n;

		good &= !canonical_get_length(bytes, len, &pos, &n);
	}
	check(good, "a length that is cut off, too large or too long is refused");
}

static void
entries(void)
{
	CanonicalBuffer b = entry_bytes(7, 7);
	CanonicalBuffer later = entry_bytes(8, 7);
	CanonicalEntry e;
	CanonicalWho who;
	bool good = true;

	check(is_hex(b.data, b.len - (CANONICAL_SEAL_BYTES + 2) - (sizeof(sealed) + 2),
				 "010101"
				 "020102"
				 "0310"
				 "0102030405060708090a0b0c0d0e0f10"
				 "0408fffffffffffffffb"
				 "050401020304"
				 "06080000000100000007"
				 "070400000007"
				 "08067075626c6963"
				 "0906636c69656e74"
				 "0a080809000000000000"
				 "0b0400000009"
				 "0c0400000007"
				 "0d08000000000000000b"
				 "0e20"
				 "0700000000000000000000000000000000000000000000000000000000000000"
				 "0f1a"
				 "010101"
				 "0210aabb0000000000000000000000000000"
				 "0403617070"),
		  "the clear part of an entry has the bytes of the format");
	check(canonical_parse_entry(b.data, b.len, &e) && e.operation == CANONICAL_UPDATE &&
			  memcmp(e.org, org, 16) == 0 && e.at == -5 && e.incarnation == 0x01020304 &&
			  e.txid == UINT64_C(0x100000007) && e.seq == 7 && e.schema_len == 6 &&
			  memcmp(e.schema, "public", 6) == 0 && e.table_len == 6 &&
			  memcmp(e.table, "client", 6) == 0 && memcmp(e.layout, layout, sizeof(layout)) == 0 &&
			  e.key_id == 9 && e.context == 7 && e.origin_len == CANONICAL_SEAL_BYTES &&
			  e.image_len == sizeof(sealed) &&
			  e.clear_len == b.len - (CANONICAL_SEAL_BYTES + 2) - (sizeof(sealed) + 2),
		  "an entry that says who is read back");
	check(canonical_parse_who(e.who, e.who_len, &who) && who.actor == 1 &&
			  memcmp(who.member, member, 16) == 0 && who.session == NULL && who.role_len == 3 &&
			  memcmp(who.role, "app", 3) == 0 && who.tool == NULL && !who.impersonated,
		  "who is read back");
	check(canonical_parse_entry(later.data, later.len, &e) && e.who == NULL && e.origin == NULL &&
			  e.context == 7,
		  "an entry that refers to another is read back");

	for (size_t n = 0; n < b.len; n++)
		good &= !parses(b.data, n);
	check(good, "no beginning of an entry is an entry");
	canonical_put_byte(&b, 0);
	check(!parses(b.data, b.len), "bytes after an entry are refused");
	b.len--;

	/* every single bit: either refused or read as another value, never as the same entry */
	good = true;
	for (size_t bit = 0; bit < b.len * 8; bit++)
	{
		CanonicalEntry other;

		b.data[bit / 8] ^= 1 << (bit % 8);
		if (canonical_parse_entry(b.data, b.len, &other))
		{
			CanonicalBuffer again = {.grow = realloc};

			canonical_put_entry(&again, &other);
			good &= again.len == other.clear_len && memcmp(again.data, b.data, again.len) == 0;
			free(again.data);
		}
		b.data[bit / 8] ^= 1 << (bit % 8);
	}
	check(good, "what parses writes itself again byte by byte");
	free(b.data);
	free(later.data);

	b = entry_bytes(7, 8);
	check(parses(b.data, b.len), "context may be any other number of the transaction");
	/* the context's last byte stands before the row's tag, the commitment and the image */
	b.data[b.len - sizeof(sealed) - 2 - 34 - 10 - 1] = 7;
	check(!parses(b.data, b.len), "an entry that names itself as context must say who");
	free(b.data);
	b = entry_bytes(7, 7);
	b.data[0] = 2;
	check(!parses(b.data, b.len), "a tag twice is refused");
	b.data[0] = 1;
	b.data[2] = 2;
	check(!parses(b.data, b.len), "another version is refused");
	b.data[2] = 1;
	b.data[5] = 5;
	check(!parses(b.data, b.len), "an unknown operation is refused");
	free(b.data);
}

/* The fields of an entry, of who, or of an origin, to be written otherwise. */
typedef struct Field
{
	uint8_t tag;
	uint8_t value[80];
	uint32_t len;
} Field;

static int
split(const uint8_t *p, size_t len, Field *fields)
{
	size_t pos = 0;
	int n = 0;

	while (pos < len)
	{
		const uint8_t *value;

		if (!canonical_get_field(p, len, &pos, &fields[n].tag, &value, &fields[n].len))
			abort();
		memcpy(fields[n].value, value, fields[n].len);
		n++;
	}
	return n;
}

typedef bool (*Parser)(const uint8_t *p, size_t len);

static bool
parses_who(const uint8_t *p, size_t len)
{
	CanonicalWho who;

	return canonical_parse_who(p, len, &who);
}

static bool
parses_origin(const uint8_t *p, size_t len)
{
	CanonicalOrigin origin;

	return canonical_parse_origin(p, len, &origin);
}

static bool
fields_parse(Parser parser, const Field *fields, int n)
{
	CanonicalBuffer b = {.grow = realloc};
	bool good;

	for (int i = 0; i < n; i++)
		canonical_put_field(&b, fields[i].tag, fields[i].value, fields[i].len);
	good = parser(b.data, b.len);
	free(b.data);
	return good;
}

/*
 * Every field left out, doubled, swapped with the next, longer, shorter and empty; optional says which may be left out, free
 * which may be longer or shorter, empty which may be so: bits of tags.
 */
static bool
only_one_way(Parser parser, const Field *fields, int n, uint32_t optional, uint32_t free_length,
			 uint32_t empty)
{
	Field other[24];
	bool good = fields_parse(parser, fields, n);

	for (int i = 0; i < n; i++)
	{
		uint32_t bit = UINT32_C(1) << fields[i].tag;

		memcpy(other, fields, sizeof(Field) * n);
		memmove(other + i, other + i + 1, sizeof(Field) * (n - i - 1));
		good &= fields_parse(parser, other, n - 1) == ((optional & bit) != 0);
		memcpy(other, fields, sizeof(Field) * n);
		memmove(other + i + 1, other + i, sizeof(Field) * (n - i));
		good &= !fields_parse(parser, other, n + 1);
		memcpy(other, fields, sizeof(Field) * n);
		if (i + 1 < n)
		{
			other[i] = fields[i + 1];
			other[i + 1] = fields[i];
			good &= !fields_parse(parser, other, n);
			memcpy(other, fields, sizeof(Field) * n);
		}
		for (int by = -1; by <= 1; by += 2)
		{
			other[i].len = fields[i].len + by;
			if (other[i].len > 0)
				good &= fields_parse(parser, other, n) == ((free_length & bit) != 0);
		}
		other[i].len = 0;
		good &= fields_parse(parser, other, n) == ((empty & bit) != 0);
		if (!good)
		{
			printf("# field %d\n", fields[i].tag);
			return false;
		}
	}
	memcpy(other, fields, sizeof(Field) * n);
	other[n] = (Field){.tag = CANONICAL_F_LAST + 1, .len = 50};
	good &= !fields_parse(parser, other, n + 1);
	return good;
}

static void
one_way(void)
{
	CanonicalBuffer b = entry_bytes(7, 7);
	CanonicalBuffer later = entry_bytes(8, 7);
	Field fields[24] = {0};
	Field no_who[24] = {0};
	Field other[24];
	int n;
	int m;
	bool good;
	Field who[8] = {{CANONICAL_W_ACTOR, {1}, 1},	{CANONICAL_W_MEMBER, {2}, 16},
					{CANONICAL_W_SESSION, {3}, 16}, {CANONICAL_W_ROLE, "app", 3},
					{CANONICAL_W_TOOL, "tool", 4},	{CANONICAL_W_IMPERSONATED, {1}, 1},
					{CANONICAL_W_ADDRESS, {4}, 8}};
	Field origin[8] = {{CANONICAL_O_ADDRESS, "::1", 3},
					   {CANONICAL_O_AGENT, "x", 1},
					   {CANONICAL_O_APPLICATION, "psql", 4}};

	canonical_put_field(&b, CANONICAL_F_FORMER, sealed, sizeof(sealed) - 1);
	n = split(b.data, b.len, fields);
	m = split(later.data, later.len, no_who);
	fields[16].len = CANONICAL_SEAL_BYTES;
	fields[17].len = 4 + CANONICAL_SEAL_BYTES;
	good = only_one_way(parses, fields, n, 1u << CANONICAL_F_FORMER | 1u << CANONICAL_F_LAYOUT,
						1u << CANONICAL_F_SCHEMA | 1u << CANONICAL_F_TABLE, 0);
	check(!good, "what is sealed may be longer");
	for (int i = 15; i < n; i++)
	{
		memcpy(other, fields, sizeof(fields));
		other[i].len = (i == 17 ? 4 : 0) + CANONICAL_SEAL_BYTES - 1;
		check(!fields_parse(parses, other, n), "but not shorter than the smallest seal");
		fields[i].len = (i == 17 ? 4 : 0) + CANONICAL_SEAL_BYTES + 2;
	}
	check(only_one_way(parses, fields, n, 1u << CANONICAL_F_FORMER | 1u << CANONICAL_F_LAYOUT,
					   1u << CANONICAL_F_SCHEMA | 1u << CANONICAL_F_TABLE | 1u << CANONICAL_F_ORIGIN |
						   1u << CANONICAL_F_IMAGE | 1u << CANONICAL_F_FORMER,
					   0),
		  "the fields of an entry have one order, none but the last and the layout may be absent, and each has its width");
	memcpy(other, no_who, sizeof(other));
	memmove(other + 16, other + 14, sizeof(Field) * (m - 14));
	other[14] = fields[14];
	other[15] = fields[15];
	check(!fields_parse(parses, other, m + 2),
		  "an entry that names another one as context says nothing of who");
	for (int value = 0; value < 8; value++)
	{
		memcpy(other, fields, sizeof(fields));
		other[1].value[0] = (uint8_t) value;
		check(fields_parse(parses, other, n) == (value >= 1 && value <= 4), "the four operations");
		memcpy(other, fields, sizeof(fields));
		other[0].value[0] = (uint8_t) value;
		check(fields_parse(parses, other, n) == (value == 1), "the one version");
	}
	check(only_one_way(parses_who, who, 7,
					   1u << CANONICAL_W_MEMBER | 1u << CANONICAL_W_SESSION | 1u << CANONICAL_W_TOOL |
						   1u << CANONICAL_W_IMPERSONATED | 1u << CANONICAL_W_ADDRESS,
					   1u << CANONICAL_W_ROLE | 1u << CANONICAL_W_TOOL, 0),
		  "so have the fields of who");
	who[0].value[0] = 0;
	check(!fields_parse(parses_who, who, 7), "nobody is no actor");
	who[0].value[0] = 1;
	for (int value = 0; value < 4; value++)
	{
		who[5].value[0] = (uint8_t) value;
		check(fields_parse(parses_who, who, 7) == (value == 1), "impersonated is there or not");
	}
	check(only_one_way(parses_origin, origin, 3, ~0u, ~0u, ~0u), "and those of an origin");
	/* who and origin that are cut off, in an entry that is not */
	for (uint32_t len = 1; len < fields[14].len; len++)
	{
		memcpy(other, fields, sizeof(fields));
		other[14].len = len;
		check(!fields_parse(parses, other, n), "who that is cut off");
	}
	{
		uint8_t bytes[64];
		size_t len = unhex("01033a3a31020178", bytes, sizeof(bytes));

		good = true;
		for (size_t i = 1; i < len; i++)
		{
			uint8_t *copy = malloc(i);

			memcpy(copy, bytes, i);
			good &= i == 5 || !parses_origin(copy, i);
			free(copy);
		}
		check(good, "an origin that is cut off is refused");
	}
	free(b.data);
	free(later.data);
}

static void
origins(void)
{
	CanonicalBuffer b = {.grow = realloc};
	CanonicalOrigin o = {.agent = "x", .agent_len = 1, .application = "", .application_len = 0};
	CanonicalOrigin back;

	canonical_put_origin(&b, &o);
	check(canonical_parse_origin(b.data, b.len, &back) && back.address == NULL &&
			  back.agent_len == 1 && back.application != NULL && back.application_len == 0,
		  "an origin is read back, absent and empty apart");
	b.data[0] = 9;
	check(!canonical_parse_origin(b.data, b.len, &back),
		  "an unknown field of the origin is refused");
	check(canonical_parse_origin(NULL, 0, &back), "an origin may be empty");
	free(b.data);
}

static void
images(void)
{
	uint8_t bytes[64];
	/* two new columns, the second NULL; one old column */
	size_t len = unhex("02"
					   "020269640131"
					   "1101"
					   "61"
					   "01"
					   "00"
					   "0161"
					   "0178",
					   bytes, sizeof(bytes));
	CanonicalColumn c;
	size_t pos = 1;
	bool good = true;

	check(canonical_check_image(bytes, len), "an image is whole");
	check(canonical_get_column(bytes, len, &pos, &c) && c.flags == CANONICAL_C_KEY &&
			  c.name_len == 2 && memcmp(c.name, "id", 2) == 0 && c.value_len == 1 &&
			  c.value[0] == '1',
		  "a column is read");
	check(canonical_get_column(bytes, len, &pos, &c) && c.value == NULL &&
			  c.flags == (CANONICAL_C_NULL | CANONICAL_C_SEALED),
		  "a NULL is read");
	for (size_t n = 0; n < len; n++)
	{
		uint8_t *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, bytes, n);
		good &= !canonical_check_image(copy, n);
		free(copy);
	}
	check(good, "no beginning of an image is an image");
	bytes[len] = 0;
	check(!canonical_check_image(bytes, len + 1), "bytes after an image are refused");
	check(!canonical_check_image(bytes + 32, unhex("01110500", bytes + 32, 8)),
		  "a name that goes on behind the end is refused");
	check(!canonical_check_image(bytes + 32, unhex("0111000100", bytes + 32, 8)) &&
			  !canonical_check_image(bytes + 32, unhex("01110000", bytes + 32, 8)),
		  "a column without a name is refused");
	bytes[1] = 0x40;
	check(!canonical_check_image(bytes, len), "an unknown flag is refused");
}

/* An image comes back whole from its packed bytes, which have this length. */
static bool
packs(const char *image_hex, const char *columns_hex, size_t packed_len)
{
	uint8_t image[256];
	uint8_t columns[64];
	uint8_t org[CANONICAL_UUID_BYTES] = {0xab, 0xcd};
	size_t len = unhex(image_hex, image, sizeof(image));
	size_t columns_len = unhex(columns_hex, columns, sizeof(columns));
	CanonicalBuffer packed = {.grow = realloc};
	CanonicalBuffer back = {.grow = realloc};
	bool good;

	canonical_pack_image(&packed, image, len, columns, columns_len, org);
	good = packed.len == packed_len &&
		   canonical_unpack_image(&back, packed.data, packed.len, columns, columns_len, org) &&
		   back.len == len && memcmp(back.data, image, len) == 0;
	for (size_t n = 0; packed.data[0] != 0 && n < packed.len; n++)
	{
		uint8_t *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, packed.data, n);
		back.len = 0;
		good &= !canonical_unpack_image(&back, copy, n, columns, columns_len, org);
		free(copy);
	}
	back.len = 0;
	canonical_put_byte(&packed, 0);
	good &= packed.data[0] == 0 ||
			!canonical_unpack_image(&back, packed.data, packed.len, columns, columns_len, org);
	back.len = 0;
	good &= packed.data[0] == 0 ||
			!canonical_unpack_image(&back, packed.data, packed.len, NULL, 0, org);
	free(packed.data);
	free(back.data);
	return good;
}

/* Packed bytes that no image packs to are refused. */
static bool
refuses(const char *packed_hex, const char *columns_hex)
{
	uint8_t packed[64];
	uint8_t columns[64];
	uint8_t org_of[CANONICAL_UUID_BYTES] = {0};
	size_t len = unhex(packed_hex, packed, sizeof(packed));
	size_t columns_len = unhex(columns_hex, columns, sizeof(columns));
	CanonicalBuffer back = {.grow = realloc};
	bool refused = !canonical_unpack_image(&back, packed, len, columns, columns_len, org_of);

	free(back.data);
	return refused;
}

static void
packing(void)
{
	/* columns a (key), b (sealed) and c */
	const char *columns = "020161"
						  "100162"
						  "000163";

	check(packs("03"
				"0201610131"
				"11"
				"0162"
				"000163"
				"0178"
				"00",
				columns, 1 + 2 + 1 + 2 + 1),
		  "an inserted row: values and nothing else");
	check(packs("03"
				"0201610131"
				"11"
				"0162"
				"000163"
				"0178"
				"01"
				"000163"
				"0179",
				columns, 1 + 2 + 1 + 2 + 1 + 3),
		  "an updated one: an old value with its number");
	check(packs("00"
				"02"
				"0201610131"
				"110162",
				columns, 1 + 1 + 3 + 2),
		  "old columns alone");
	check(packs("00"
				"00",
				columns, 2),
		  "no column at all");
	check(packs("01"
				"020161"
				"24"
				"62626364303030302d303030302d303030302d303030302d303030303030303030303030"
				"00",
				"020161", 1 + 17 + 1),
		  "a uuid is 16 bytes");
	check(packs("01"
				"020161"
				"24"
				"61626364303030302d303030302d303030302d303030302d303030303030303030303041"
				"00",
				"020161", 1 + 37 + 1),
		  "but not in upper case");
	check(packs("01"
				"020161"
				"24"
				"61626364303030302d303030302d303030302d303030302d303030303030303030303020"
				"00",
				"020161", 1 + 37 + 1),
		  "nor with anything else in it");
	check(packs("01"
				"020161"
				"24"
				"616263643030303030303030302d303030302d303030302d303030303030303030303030"
				"00",
				"020161", 1 + 37 + 1),
		  "nor without its dashes");
	check(packs("01"
				"020161"
				"24"
				"61626364303030302d303030302d303030302d303030302d303030303030303030303030"
				"00",
				"020161", 1 + 1 + 1),
		  "and the organisation's is one");
	check(packs("01"
				"020164"
				"0131"
				"00",
				columns, 1 + 7),
		  "what is of no layout is packed with its names");
	check(packs("02"
				"0201610131"
				"0001630178"
				"00",
				columns, 1 + 12),
		  "and so is a part of one");
	check(packs("00"
				"02"
				"0001630178"
				"0201610131",
				columns, 1 + 12),
		  "or one in another order");
	check(!refuses("0102000731010731", "020161000162"), "columns by their numbers");
	check(refuses("0102010731000731", "020161000162"), "not from behind");
	check(refuses("01020007310007", "020161000162"), "nor one twice");
	check(refuses("0101020731", "020161000162"), "nor one that the layout has not");
	check(refuses("0101", "020161000162"), "nor without a number");
	check(refuses("0400", "020161"), "an unknown way of packing is refused");
	check(refuses("0300", ""), "and all columns of a layout that has none");
	check(refuses("03073100", "0201610001"), "and a layout that is cut off");
}

/* A value comes back whole from its packed bytes, which have this length beside two more. */
static bool
packs_text(const char *text, size_t packed_len)
{
	CanonicalBuffer hex = {.grow = realloc};
	char byte[8];
	bool good;

	canonical_put(&hex, "01020161", 8);
	snprintf(byte, sizeof(byte), "%02x", (unsigned) strlen(text));
	canonical_put(&hex, byte, 2);
	for (const char *c = text; *c != '\0'; c++)
	{
		snprintf(byte, sizeof(byte), "%02x", (unsigned char) *c);
		canonical_put(&hex, byte, 2);
	}
	canonical_put(&hex, "00", 3);
	good = packs((char *) hex.data, "020161", 2 + packed_len);
	free(hex.data);
	if (!good)
		printf("# %s\n", text);
	return good;
}

static void
times(void)
{
	static const char *const dates[] = {"2000-01-01", "0001-01-01", "9999-12-31", "2024-02-29",
										"1900-02-28", "2000-02-29", "1999-12-31"};
	static const char *const instants[] = {"2000-01-01 00:00:00+00", "0001-01-01 00:00:00.000001+00",
										   "9999-12-31 23:59:59.999999+00",
										   "1969-07-20 20:17:40.5+00"};
	static const char *const plain[] = {"2023-02-29",
										"1900-02-29",
										"2024-00-01",
										"2024-13-01",
										"2024-01-00",
										"2024-04-31",
										"0000-12-31",
										"2024/01/01",
										"2024/01-01",
										"202a-01-01",
										"2024-0:-01",
										"2024-01-0:",
										"2024-01-01 00:0::00",
										"2024-01-01 00:00:0:",
										"2024-01-01 00:00:00.:",
										"2024-01-01 00:00",
										"2024-01/01",
										"2024-1-001",
										"-024-01-01",
										"12345678901",
										"10000-01-01",
										"2024-01-01 BC",
										"2024-01-01T00:00:00",
										"2024-01-01 24:00:00",
										"2024-01-01 00:60:00",
										"2024-01-01 00:00:60",
										"2024-01-01 00-00:00",
										"2024-01-01 00:00-00",
										"2024-01-01 0a:00:00",
										"2024-01-01 00:00:00.",
										"2024-01-01 00:00:00.0",
										"2024-01-01 00:00:00.10",
										"2024-01-01 00:00:00.1234567",
										"2024-01-01 00:00:00.1234567+00",
										"2024-01-01 00:00:00,5",
										"2024-01-01 00:00:00+01",
										"2024-01-01 00:00:00-00",
										"2024-01-01 00:00:00+0",
										"2024-01-01 00:00:00+000",
										"2024-01-01 00:00:00+00 BC",
										"2024-01-01 00:00:00.+00"};
	uint8_t org_of[CANONICAL_UUID_BYTES] = {0};
	bool good = true;

	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++)
		good &= packs_text(dates[i], 5);
	check(good, "a date is four bytes");
	good = true;
	for (size_t i = 0; i < sizeof(instants) / sizeof(instants[0]); i++)
	{
		char without[32];

		good &= packs_text(instants[i], 9);
		snprintf(without, sizeof(without), "%.*s", (int) strlen(instants[i]) - 3, instants[i]);
		good &= packs_text(without, 9);
	}
	check(good, "a time is eight, with and without its zone");
	good = true;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		good &= packs_text(plain[i], 1 + strlen(plain[i]));
	check(good, "and any other text is its bytes");
	good = true;
	for (int last = 0; last < 2; last++)
	{
		/* one microsecond and one day beyond the years that have four digits */
		static const char *const beyond[2][3] = {{"03030380e70b913b8000", "03040380e70b913b8000",
												  "0305002c95d4"},
												 {"0303ff1fe2ffc59c5fff", "03048000000000000000",
												  "0305fff4dbf8"}};

		for (int i = 0; i < 3; i++)
		{
			CanonicalBuffer image = {.grow = realloc};
			uint8_t packed[32];
			size_t len = unhex(beyond[last][i], packed, sizeof(packed));

			packed[len] = 0;
			packed[0] = 3;
			good &= !canonical_unpack_image(&image, packed, len + 1, (const uint8_t *) "\0\001a", 3,
											org_of);
			free(image.data);
		}
	}
	check(good, "a time that has no such text is refused");
}

/* Everything of an entry but what its row's columns and its layout say comes back from what is stored. */
static bool
stores(const CanonicalBuffer *body, bool with_layout)
{
	CanonicalEntry entry;
	CanonicalEntry back = {0};
	CanonicalBuffer stored = {.grow = realloc};
	CanonicalBuffer whole = {.grow = realloc};
	bool good;

	if (!canonical_parse_entry(body->data, body->len, &entry) ||
		(entry.layout != NULL) != with_layout)
		return false;
	canonical_pack_entry(&stored, &entry, entry.former != NULL);
	if (entry.origin != NULL)
	{
		canonical_put_length(&stored, entry.origin_len);
		canonical_put(&stored, entry.origin, entry.origin_len);
	}
	if (entry.former != NULL)
		canonical_put_length(&stored, entry.image_len);
	canonical_put(&stored, entry.image, entry.image_len);
	if (entry.former != NULL)
	{
		canonical_put(&stored, "\0\0\0\7", 4);
		canonical_put(&stored, entry.former, entry.former_len);
	}
	back.org = org;
	back.at = entry.at;
	back.incarnation = entry.incarnation;
	back.txid = entry.txid;
	back.seq = entry.seq;
	back.context = entry.context;
	back.schema = "public";
	back.schema_len = 6;
	back.table = "client";
	back.table_len = 6;
	good = canonical_unpack_entry(stored.data, stored.len, &back);
	canonical_put_whole_entry(&whole, &back);
	good &= whole.len == body->len && memcmp(whole.data, body->data, whole.len) == 0;
	/* another byte stored is another entry, or none */
	for (size_t bit = 0; bit < stored.len * 8; bit++)
	{
		stored.data[bit / 8] ^= 1 << (bit % 8);
		whole.len = 0;
		if (canonical_unpack_entry(stored.data, stored.len, &back))
		{
			canonical_put_whole_entry(&whole, &back);
			good &= whole.len != body->len || memcmp(whole.data, body->data, whole.len) != 0;
		}
		stored.data[bit / 8] ^= 1 << (bit % 8);
	}
	for (size_t n = 0; n < stored.len; n++)
	{
		uint8_t *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, stored.data, n);
		whole.len = 0;
		if (canonical_unpack_entry(copy, n, &back))
		{
			canonical_put_whole_entry(&whole, &back);
			good &= whole.len < body->len;
		}
		free(copy);
	}
	free(stored.data);
	free(whole.data);
	return good;
}

static void
storing(void)
{
	CanonicalBuffer b = entry_bytes(7, 7);
	CanonicalBuffer later = entry_bytes(8, 7);
	CanonicalBuffer none = {.grow = realloc};
	CanonicalEntry e;
	const uint8_t *columns;
	size_t columns_len;

	check(stores(&later, true), "an entry is stored without what its row and its layout say");
	check(stores(&b, true), "and so is one that says who");
	canonical_put_field(&b, CANONICAL_F_FORMER, "\0\0\0\7", 4);
	b.data[b.len - 5] = 4 + CANONICAL_SEAL_BYTES + 5;
	canonical_put(&b, sealed, sizeof(sealed));
	check(stores(&b, true), "and one with a former image");
	check(canonical_parse_entry(b.data, b.len, &e), "which is an entry");
	e.layout = NULL;
	canonical_put_whole_entry(&none, &e);
	check(stores(&none, false), "one without a layout has its names");
	check(canonical_parse_layout((const uint8_t *) "\006public\006client\002\001a", 17, &e,
								 &columns, &columns_len) &&
			  e.schema_len == 6 && e.table_len == 6 && memcmp(e.table, "client", 6) == 0 &&
			  columns_len == 3 && columns[0] == CANONICAL_C_KEY,
		  "a layout has schema, table and columns");
	for (size_t n = 0; n < 14; n++)
		check(!canonical_parse_layout((const uint8_t *) "\006public\006client", n, &e, &columns,
									  &columns_len),
			  "and not less");
	free(b.data);
	free(later.data);
	free(none.data);
}

static void
batches(void)
{
	CanonicalBatch batch = {.batch_no = 3, .first = 2, .last = 2506, .at = 1};
	uint8_t out[CANONICAL_BATCH_BYTES];

	memcpy(batch.org, org, 16);
	memset(batch.org_root, 0x11, 32);
	memset(batch.previous, 0x22, 32);
	canonical_write_batch(&batch, out);
	check(is_hex(out, sizeof(out),
				 "696d6d6969712f76312f626174636800"
				 "01"
				 "0000000000000003"
				 "0102030405060708090a0b0c0d0e0f10"
				 "0000000000000002"
				 "00000000000009ca"
				 "0000000000000001"
				 "1111111111111111111111111111111111111111111111111111111111111111"
				 "2222222222222222222222222222222222222222222222222222222222222222"),
		  "a batch has the bytes of the format");
}

/* A grow that gives nothing. */
static void *
no_memory(void *old, size_t size)
{
	return NULL;
}

int
main(void)
{
	CanonicalBuffer none = {.grow = no_memory};

	memset(sealed, 0x5e, sizeof(sealed));
	lengths();
	entries();
	one_way();
	origins();
	images();
	packing();
	times();
	storing();
	batches();
	canonical_put_field64(&none, 1, 1);
	check(none.failed && none.len == 0, "a buffer that cannot grow says so");
	return done();
}
