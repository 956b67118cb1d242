/*
 * The sealed format as its enemy sees it: every bit, every length and every
 * header that this library would not have written is refused.
 */
#include "envelope/envelope.h"
#include "tap.h"

#define PLAIN		"Müller, Zoë"
#define PLAIN_BYTES (sizeof(PLAIN) - 1)

static CryptoXaes *key;
static const uint8_t tag[ENVELOPE_TAG_BYTES] = {0xde, 0xad, 0xbe, 0xef};
static const uint8_t list[] = {0, 0, 0, 7, 0, 0, 1, 0, 0xff, 0, 0, 0};
static const EnvelopeTokens tokens = {ENVELOPE_MATCH, 3, list};

/* Seals PLAIN into a buffer that is exactly as large, so that a sanitizer sees one byte too many. */
static uint8_t *
seal(uint8_t flags, size_t *len)
{
	uint8_t *out;

	*len = envelope_sealed_size(flags, tokens.count, PLAIN_BYTES);
	out = malloc(*len);
	if (!envelope_seal(key, ENVELOPE_TYPE_TEXT, flags, 515, 0x01020304, tag, &tokens,
					   (const uint8_t *) PLAIN, PLAIN_BYTES, out))
		abort();
	return out;
}

/* Opens a value in a buffer of its own; true when it gives PLAIN. */
static bool
opens(const uint8_t *value, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	uint8_t *plain = NULL;
	Envelope env;
	bool good = false;

	memcpy(copy, value, len);
	if (envelope_parse(copy, len, &env) && env.algorithm == ENVELOPE_SEALED)
	{
		plain = malloc(envelope_plain_size(&env) + 1);
		good = envelope_open(key, copy, &env, plain) && envelope_plain_size(&env) == PLAIN_BYTES &&
			   memcmp(plain, PLAIN, PLAIN_BYTES) == 0;
	}
	free(plain);
	free(copy);
	return good;
}

static bool
parses(const uint8_t *value, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	Envelope env;
	bool good;

	memcpy(copy, value, len);
	good = envelope_parse(copy, len, &env);
	free(copy);
	return good;
}

static void
test_layout(uint8_t flags)
{
	size_t len;
	uint8_t *value = seal(flags, &len);
	uint8_t *again = seal(flags, &len);
	bool tagged = (flags & ENVELOPE_TAG) != 0;
	Envelope env;
	bool ok;

	ok = envelope_parse(value, len, &env);
	check(ok && env.algorithm == ENVELOPE_SEALED && env.type == ENVELOPE_TYPE_TEXT &&
			  env.flags == flags && env.domain == 515 && env.key_id == 0x01020304,
		  tagged ? "with a tag: the header comes back" : "without a tag: the header comes back");
	check(len == PLAIN_BYTES + (tagged ? 64 : 48),
		  "64 bytes over the plaintext with a tag, 48 without");
	check(ok && env.prefix_len == (tagged ? 24 : 8) && env.nonce == value + env.prefix_len &&
			  env.body == env.nonce + 24 && env.body + env.body_len == value + len &&
			  (tagged ? env.tag == value + 8 && memcmp(env.tag, tag, 16) == 0 : env.tag == NULL),
		  "its parts point into the value");
	check(opens(value, len), "it opens");
	check(memcmp(value, again, env.prefix_len) == 0 &&
			  memcmp(value + env.prefix_len, again + env.prefix_len, 24) != 0 &&
			  memcmp(env.body, again + env.prefix_len + 24, PLAIN_BYTES) != 0,
		  "sealed again it has another nonce and another ciphertext");
	ok = envelope_parse_prefix(value, env.prefix_len, &env);
	check(ok && env.key_id == 0x01020304 && env.nonce == NULL && env.body == NULL,
		  "its first bytes alone tell the header");
	check(!envelope_parse_prefix(value, env.prefix_len - 1, &env), "one byte fewer does not");
	free(value);
	free(again);
}

static void
test_mutations(uint8_t flags)
{
	size_t len;
	uint8_t *value = seal(flags, &len);
	uint8_t *more = malloc(len + 64);
	bool bits = true;
	bool bytes = true;
	bool shorter = true;
	bool longer = true;

	for (size_t bit = 0; bit < 8 * len; bit++)
	{
		value[bit / 8] ^= (uint8_t) (1 << bit % 8);
		bits = bits && !opens(value, len);
		value[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	for (size_t i = 0; i < len; i++)
	{
		for (unsigned delta = 1; delta < 256; delta++)
		{
			value[i] ^= (uint8_t) delta;
			bytes = bytes && !opens(value, len);
			value[i] ^= (uint8_t) delta;
		}
	}
	for (size_t n = 0; n < len; n++)
		shorter = shorter && !opens(value, n) && !opens(value + len - n, n);
	for (size_t extra = 1; extra <= 64; extra++)
	{
		memcpy(more, value, len);
		memset(more + len, 0, extra);
		longer = longer && !opens(more, len + extra);
		memset(more, 0, extra);
		memcpy(more + extra, value, len);
		longer = longer && !opens(more, len + extra);
	}
	check(bits, "no value with one bit flipped opens");
	check(bytes, "no value with one byte changed opens");
	check(shorter, "no part of a value opens");
	check(longer, "no value with bytes after or before it opens");
	check(opens(value, len), "the value itself still does");
	free(value);
	free(more);
}

/* All 2^16 first two bytes: what parses is exactly what the format lists. */
static void
test_headers(void)
{
	uint8_t value[88] = {0};
	size_t accepted = 0;
	bool exact = true;

	memset(value + 4, 1, 4);
	for (unsigned first = 0; first < 256; first++)
	{
		for (unsigned second = 0; second < 256; second++)
		{
			unsigned type = second >> 4;
			unsigned flags = second & 15;
			bool flags_good = flags == 0 || flags == 1 || (flags == 3 && type == 1);
			/* 88 bytes leave 40 or 24 of plaintext: no type of fixed width has that. */
			bool type_good = type >= 1 && type <= 7 && type != 3 && type != 5 && type != 6;
			bool good = first == 0x11 && type_good && flags_good;

			value[0] = (uint8_t) first;
			value[1] = (uint8_t) second;
			exact = exact && parses(value, sizeof(value)) == good;
			accepted += good;
		}
	}
	check(exact && accepted == 9, "of all 65,536 headers only the documented ones parse");

	value[0] = 0x11;
	value[1] = 0x11;
	check(parses(value, sizeof(value)), "a header with a key id parses");
	memset(value + 4, 0, 4);
	check(!parses(value, sizeof(value)), "key id 0 does not");
	check(!parses(value, 0), "nothing is no value");
}

/* A list of tokens has one form only. */
static void
test_tokens(void)
{
	static const uint8_t twice[] = {0, 0, 0, 7, 0, 0, 0, 7};
	static const uint8_t falling[] = {0, 0, 1, 0, 0, 0, 0, 7};
	static const struct
	{
		uint8_t type;
		uint8_t kinds;
		bool good;
	} kinds[] = {
		{ENVELOPE_TYPE_TEXT, 0, false},
		{ENVELOPE_TYPE_TEXT, ENVELOPE_PREFIX, true},
		{ENVELOPE_TYPE_TEXT, ENVELOPE_PREFIX | ENVELOPE_MATCH, true},
		{ENVELOPE_TYPE_TEXT, ENVELOPE_RANGE, false},
		{ENVELOPE_TYPE_TEXT, ENVELOPE_MATCH | 0x10, false},
		{ENVELOPE_TYPE_BYTEA, ENVELOPE_PREFIX, false},
		{ENVELOPE_TYPE_NUMERIC, ENVELOPE_RANGE, true},
		{ENVELOPE_TYPE_NUMERIC, ENVELOPE_MATCH, false},
		{ENVELOPE_TYPE_JSONB, ENVELOPE_CONTAINS, true},
		{ENVELOPE_TYPE_JSONB, ENVELOPE_RANGE, false},
	};
	EnvelopeTokens wrong = {ENVELOPE_MATCH, 2, twice};
	uint8_t value[160];
	Envelope env;
	bool good = true;
	size_t len;
	uint8_t *sealed = seal(ENVELOPE_TOKENS, &len);

	check(envelope_parse(sealed, len, &env) && env.tag == NULL && env.tokens.count == 3 &&
			  memcmp(env.tokens.list, list, sizeof(list)) == 0 && env.prefix_len == 8 + 4 + 12,
		  "tokens stand behind the header");
	check(envelope_parse_prefix(sealed, 12, &env) && env.tokens.count == 3 &&
			  env.tokens.list == NULL && env.prefix_len == 24,
		  "their number is known before they are read");
	check(!envelope_parse_prefix(sealed, 11, &env), "and not from less");
	free(sealed);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		EnvelopeTokens t = {kinds[i].kinds, 0, NULL};

		good = good && envelope_seal(key, kinds[i].type, ENVELOPE_TOKENS, 1, 1, NULL, &t,
									 (const uint8_t *) PLAIN, PLAIN_BYTES, value) == kinds[i].good;
	}
	check(good, "a type has its own kinds only");
	check(!envelope_seal(key, ENVELOPE_TYPE_TEXT, ENVELOPE_TOKENS, 1, 1, NULL, &wrong,
						 (const uint8_t *) PLAIN, PLAIN_BYTES, value),
		  "no token stands twice");
	wrong.list = falling;
	check(!envelope_seal(key, ENVELOPE_TYPE_TEXT, ENVELOPE_TOKENS, 1, 1, NULL, &wrong,
						 (const uint8_t *) PLAIN, PLAIN_BYTES, value),
		  "they stand in order");
	wrong.count = ENVELOPE_TOKENS_MAX + 1;
	check(!envelope_seal(key, ENVELOPE_TYPE_TEXT, ENVELOPE_TOKENS, 1, 1, NULL, &wrong,
						 (const uint8_t *) PLAIN, PLAIN_BYTES, value),
		  "and are not too many");
}

/* A prefix too long for the stack is authenticated all the same. */
static void
test_many_tokens(void)
{
	uint8_t *many = malloc(4 * 5000);
	EnvelopeTokens t = {ENVELOPE_MATCH, 5000, many};
	size_t len = envelope_sealed_size(ENVELOPE_TOKENS | ENVELOPE_TAG, 5000, PLAIN_BYTES);
	uint8_t *value = malloc(len);

	for (uint32_t i = 0; i < 5000; i++)
	{
		many[4 * i] = many[4 * i + 1] = 0;
		many[4 * i + 2] = (uint8_t) (i >> 8);
		many[4 * i + 3] = (uint8_t) i;
	}
	check(envelope_seal(key, ENVELOPE_TYPE_TEXT, ENVELOPE_TOKENS | ENVELOPE_TAG, 515, 0x01020304,
						tag, &t, (const uint8_t *) PLAIN, PLAIN_BYTES, value) &&
			  opens(value, len),
		  "five thousand tokens");
	value[28] ^= 0x80;
	check(!opens(value, len), "of which none can be changed");
	value[28] ^= 0x80;
	value[28 + 4 * 4999] ^= 1;
	check(!opens(value, len), "the last one neither");
	free(value);
	free(many);
}

static void
test_widths(void)
{
	static const struct
	{
		uint8_t type;
		size_t width;
	} fixed[] = {{ENVELOPE_TYPE_INT8, 8}, {ENVELOPE_TYPE_DATE, 4}, {ENVELOPE_TYPE_TIMESTAMPTZ, 8}};
	uint8_t value[128];
	uint8_t plain[16] = {0};
	bool seals = true;
	bool refuses = true;
	bool parsed = true;

	for (size_t i = 0; i < 3; i++)
	{
		for (size_t n = 0; n <= 16; n++)
		{
			bool sealed = envelope_seal(key, fixed[i].type, 0, 0, 1, NULL, NULL, plain, n, value);

			seals = seals && (n != fixed[i].width || sealed);
			refuses = refuses && (n == fixed[i].width || !sealed);
			memset(value, 0, sizeof(value));
			envelope_write_prefix(ENVELOPE_SEALED, fixed[i].type, 0, 0, 1, NULL, value);
			parsed = parsed && parses(value, 48 + n) == (n == fixed[i].width);
		}
	}
	check(seals, "types of fixed width seal their width");
	check(refuses, "and nothing else");
	check(parsed, "nor does anything else parse");
	check(!envelope_seal(key, ENVELOPE_TYPE_TEXT, 0, 0, 0, NULL, NULL, plain, 1, value) &&
			  !envelope_seal(key, 0, 0, 0, 1, NULL, NULL, plain, 1, value) &&
			  !envelope_seal(key, 8, 0, 0, 1, NULL, NULL, plain, 1, value) &&
			  !envelope_seal(key, ENVELOPE_TYPE_TEXT, ENVELOPE_FOLD, 0, 1, NULL, NULL, plain, 1,
							 value) &&
			  !envelope_seal(key, ENVELOPE_TYPE_JSONB, ENVELOPE_FOLD | ENVELOPE_TAG, 0, 1, tag,
							 NULL, plain, 1, value),
		  "nothing is sealed that would not parse");
	check(envelope_seal(key, ENVELOPE_TYPE_TEXT, 0, 0, 1, NULL, NULL, NULL, 0, value) &&
			  parses(value, 48),
		  "the empty text is a value");
}

static void
test_in_memory(void)
{
	uint8_t value[64] = {0};
	Envelope env;
	size_t n;

	n = envelope_write_prefix(ENVELOPE_UNSEALED, ENVELOPE_TYPE_TEXT, 0, 0, 0, NULL, value);
	memcpy(value + n, PLAIN, PLAIN_BYTES);
	check(envelope_parse(value, n + PLAIN_BYTES, &env) && env.body == value + n &&
			  envelope_plain_size(&env) == PLAIN_BYTES && env.nonce == NULL,
		  "an unsealed value is its header and its plaintext");
	check(!envelope_open(key, value, &env, value + 32), "which cannot be opened");
	value[3] = 1;
	check(!parses(value, n + PLAIN_BYTES), "it has no domain");
	value[3] = 0;
	value[7] = 1;
	check(!parses(value, n + PLAIN_BYTES), "no key");
	value[7] = 0;
	value[1] |= ENVELOPE_TAG;
	check(!parses(value, n + PLAIN_BYTES), "and no tag");

	n = envelope_write_prefix(ENVELOPE_PROBE, ENVELOPE_TYPE_TEXT, ENVELOPE_TAG, 7, 0, tag, value);
	check(envelope_parse(value, n, &env) && env.domain == 7 && memcmp(env.tag, tag, 16) == 0 &&
			  env.body == NULL,
		  "a probe is its header and its tag");
	check(!envelope_open(key, value, &env, value + 32), "which cannot be opened either");
	check(!parses(value, n + 1) && !parses(value, n - 1), "with not a byte more or fewer");
	value[1] &= 0xf0;
	check(!parses(value, 8), "a probe without a tag is nothing");
}

static void
test_armour(uint8_t flags)
{
	size_t len;
	uint8_t *value = seal(flags, &len);
	size_t n = envelope_armour_size(len);
	char *text = malloc(n);
	uint8_t *back = malloc(envelope_dearmour_size(n + 8));
	size_t back_len = 0;
	char *changed = malloc(n + 8);
	bool refused = true;
	bool shorter = true;

	envelope_armour(value, len, text);
	check(memcmp(text, "iq1:", 4) == 0 && envelope_dearmour(text, n, back, &back_len) &&
			  back_len == len && memcmp(back, value, len) == 0,
		  "armour gives the same bytes");
	check(back_len <= envelope_dearmour_size(n), "in the room that was asked for");

	/* Every character replaced by every other: either refused, or other bytes, which do not open. */
	memcpy(changed, text, n);
	for (size_t i = 0; i < n; i++)
	{
		for (unsigned c = 0; c < 256; c++)
		{
			if ((char) c == text[i])
				continue;
			changed[i] = (char) c;
			refused =
				refused && (!envelope_dearmour(changed, n, back, &back_len) ||
							(i >= 4 && memcmp(back, value, len) != 0 && !opens(back, back_len)));
		}
		changed[i] = text[i];
	}
	check(refused, "no armour with one character changed means the same or opens");
	for (size_t m = 0; m < n; m++)
		shorter =
			shorter && (!envelope_dearmour(text, m, back, &back_len) || !opens(back, back_len));
	check(shorter, "no part of it opens");

	refused = true;
	for (const char *p = "= \n\tA\v"; *p != '\0'; p++)
	{
		memcpy(changed, text, n);
		changed[n] = *p;
		refused = refused &&
				  (!envelope_dearmour(changed, n + 1, back, &back_len) || !opens(back, back_len));
		changed[0] = *p;
		memcpy(changed + 1, text, n);
		refused = refused && !envelope_dearmour(changed, n + 1, back, &back_len);
	}
	check(refused, "nothing may stand after or before it");
	memcpy(changed, text, n);
	changed[1] = 'Q';
	check(!envelope_dearmour(changed, n, back, &back_len), "the prefix is in lower case");

	value[0] = 0x10 | ENVELOPE_UNSEALED;
	value[1] = ENVELOPE_TYPE_TEXT << 4;
	memset(value + 2, 0, 6);
	envelope_armour(value, len, text);
	check(parses(value, len) && !envelope_dearmour(text, n, back, &back_len),
		  "armour of an unsealed value is refused");
	envelope_write_prefix(ENVELOPE_PROBE, ENVELOPE_TYPE_TEXT, ENVELOPE_TAG, 1, 1, tag, value);
	envelope_armour(value, 24, text);
	check(parses(value, 24) && !envelope_dearmour(text, envelope_armour_size(24), back, &back_len),
		  "so is armour of a probe");
	check(!envelope_dearmour("iq1:", 4, back, &back_len) &&
			  !envelope_dearmour("", 0, back, &back_len),
		  "empty armour is none");
	free(value);
	free(text);
	free(back);
	free(changed);
}

/* What another key, or the header of another value, makes of it. */
static void
test_binding(void)
{
	uint8_t other_bytes[CRYPTO_KEY_BYTES] = {1};
	CryptoXaes *other = crypto_xaes_new(other_bytes);
	size_t len;
	uint8_t *value = seal(ENVELOPE_TAG, &len);
	uint8_t *plain = malloc(PLAIN_BYTES);
	uint8_t *spliced = seal(ENVELOPE_TAG, &len);
	Envelope env;

	check(envelope_parse(value, len, &env) && !envelope_open(other, value, &env, plain),
		  "another key does not open it");
	memcpy(spliced + 24, value + 24, len - 24);
	check(opens(spliced, len), "under an equal header the sealed part opens");
	envelope_write_prefix(ENVELOPE_SEALED, ENVELOPE_TYPE_TEXT, ENVELOPE_TAG, 516, 0x01020304, tag,
						  spliced);
	check(!opens(spliced, len), "under another domain it does not");
	envelope_write_prefix(ENVELOPE_SEALED, ENVELOPE_TYPE_TEXT, ENVELOPE_TAG | ENVELOPE_FOLD, 515,
						  0x01020304, tag, spliced);
	check(!opens(spliced, len), "nor with other flags");
	envelope_write_prefix(ENVELOPE_SEALED, ENVELOPE_TYPE_BYTEA, ENVELOPE_TAG, 515, 0x01020304, tag,
						  spliced);
	check(!opens(spliced, len), "nor as another type");
	crypto_xaes_free(other);
	free(value);
	free(plain);
	free(spliced);
}

int
main(void)
{
	uint8_t bytes[CRYPTO_KEY_BYTES] = {0};

	if (!crypto_init())
		return 1;
	key = crypto_xaes_new(bytes);
	for (int fallback = 0; fallback < 2; fallback++)
	{
		crypto_force_fallback(fallback);
		test_layout(0);
		test_layout(ENVELOPE_TAG);
		test_layout(ENVELOPE_TAG | ENVELOPE_FOLD);
		test_mutations(0);
		test_mutations(ENVELOPE_TAG | ENVELOPE_FOLD);
		test_mutations(ENVELOPE_TAG | ENVELOPE_TOKENS);
		test_many_tokens();
		test_binding();
	}
	test_headers();
	test_tokens();
	test_widths();
	test_in_memory();
	test_armour(0);
	test_armour(ENVELOPE_TAG);
	test_armour(ENVELOPE_TOKENS);
	crypto_xaes_free(key);
	return done();
}
