/*
 * docs/format.md is what the library does: its vectors are read from the page
 * and made again here, and each is what only its own row or header opens.
 */
#include "envelope/envelope.h"
#include "keyring/wrap.h"
#include "tap.h"

static char page[1 << 16];

/* Value of "name = value" in the page's vectors; ends the test when it is not there. */
static const char *
vector(const char *name)
{
	static char values[64][1024];
	static int next = 0;
	char line[128];
	const char *p;
	char *out = values[next++ % 64];

	snprintf(line, sizeof(line), "\n%s = ", name);
	p = strstr(page, line);
	if (p == NULL)
	{
		printf("Bail out! docs/format.md has no vector %s\n", name);
		exit(1);
	}
	p += strlen(line);
	snprintf(out, sizeof(values[0]), "%.*s", (int) strcspn(p, "\n"), p);
	return out;
}

static size_t
bytes_of(const char *name, uint8_t *out, size_t size)
{
	return unhex(vector(name), out, size);
}

static void
test_wraps(const uint8_t root[32], const uint8_t nonce[24])
{
	static const struct
	{
		const char *wrapped;
		const char *key;
		KeyringBinding row;
	} wraps[] = {
		{"wrapped_data_key",
		 "data_key",
		 {.purpose = "data", .version = 1, .key_id = 258, .root_id = "test-1"}},
		{"wrapped_index_secret",
		 "index_secret",
		 {.purpose = "index", .version = 3, .key_id = 4294967295u, .root_id = "test-1"}},
		{"wrapped_installation_key",
		 "installation_key",
		 {.purpose = "installation", .version = 1, .key_id = 1, .root_id = "test-1"}},
	};

	for (size_t i = 0; i < 3; i++)
	{
		KeyringBinding row = wraps[i].row;
		KeyringBinding other;
		uint8_t key[32];
		uint8_t opened[32];
		uint8_t wrapped[KEYRING_WRAPPED_BYTES];
		uint8_t wrong[32];
		bool refused = true;
		bool wiped = true;

		if (i < 2)
			unhex("01890a5dac96774bbcceb302099a8057", row.org, 16);
		bytes_of(wraps[i].key, key, sizeof(key));
		check(keyring_wrap_with_nonce(root, &row, key, nonce, wrapped) &&
				  is_hex(wrapped, sizeof(wrapped), vector(wraps[i].wrapped)),
			  wraps[i].wrapped);
		check(keyring_unwrap(root, &row, wrapped, sizeof(wrapped), opened) &&
				  memcmp(opened, key, 32) == 0,
			  "and it unwraps");
		for (size_t bit = 0; bit < 8 * sizeof(wrapped); bit++)
		{
			memset(opened, 0xee, sizeof(opened));
			wrapped[bit / 8] ^= (uint8_t) (1 << bit % 8);
			refused = refused && !keyring_unwrap(root, &row, wrapped, sizeof(wrapped), opened);
			wrapped[bit / 8] ^= (uint8_t) (1 << bit % 8);
			for (int j = 0; j < 32; j++)
				wiped = wiped && opened[j] == 0;
		}
		check(refused, "no bit of it can change");
		check(wiped, "and a refusal leaves no key");
		refused = !keyring_unwrap(root, &row, wrapped, sizeof(wrapped) - 1, opened) &&
				  !keyring_unwrap(root, &row, wrapped, 0, opened);
		other = row;
		other.purpose = "audit";
		refused = refused && !keyring_unwrap(root, &other, wrapped, sizeof(wrapped), opened);
		other = row;
		other.org[15] ^= 1;
		refused = refused && !keyring_unwrap(root, &other, wrapped, sizeof(wrapped), opened);
		other = row;
		other.version++;
		refused = refused && !keyring_unwrap(root, &other, wrapped, sizeof(wrapped), opened);
		other = row;
		other.key_id--;
		refused = refused && !keyring_unwrap(root, &other, wrapped, sizeof(wrapped), opened);
		other = row;
		other.root_id = "test-2";
		refused = refused && !keyring_unwrap(root, &other, wrapped, sizeof(wrapped), opened);
		memcpy(wrong, root, 32);
		wrong[31] ^= 1;
		refused = refused && !keyring_unwrap(wrong, &row, wrapped, sizeof(wrapped), opened);
		check(refused, "purpose, organisation, version, id, root id, root key and length are bound");
	}
}

static void
test_derivations(const uint8_t root[32])
{
	uint8_t key[32];
	uint8_t out[32];

	check(keyring_derive(root, "fingerprint", NULL, 0, out, 16) &&
			  is_hex(out, 16, vector("fingerprint")),
		  "fingerprint");
	check(keyring_derive(root, "wrap", NULL, 0, out, 32) && is_hex(out, 32, vector("wrapping_key")),
		  "wrapping_key");
	bytes_of("data_key", key, 32);
	check(keyring_derive(key, "check", NULL, 0, out, 16) && is_hex(out, 16, vector("check")),
		  "check");
	bytes_of("installation_key", key, 32);
	check(keyring_derive(key, "audit", NULL, 0, out, 32) &&
			  is_hex(out, 32, vector("audit_cipher_key")),
		  "audit_cipher_key");
	check(keyring_derive(key, "log-signing", NULL, 0, out, 32) &&
			  is_hex(out, 32, vector("log_signing_seed")),
		  "log_signing_seed");
	check(keyring_derive(key, "0123456789abcdef", NULL, 0, out, 32) &&
			  !keyring_derive(key, "0123456789abcdefg", NULL, 0, out, 32) &&
			  !keyring_derive(key, "", NULL, 0, out, 32),
		  "labels have 1 to 16 bytes");
}

static int
compare_tokens(const void *a, const void *b)
{
	return memcmp(a, b, ENVELOPE_TOKEN_BYTES);
}

/* The tokens of a point, put together from the page's words; returns how many bytes. */
static size_t
range_tokens(uint8_t type, uint16_t domain, uint32_t point, int levels, uint8_t *out)
{
	uint8_t parameters[4] = {type, (uint8_t) (domain >> 8), (uint8_t) domain, 5};
	uint8_t master[32];
	uint8_t derived[32];
	CryptoHmac h;

	bytes_of("index_secret", master, 32);
	if (!keyring_derive(master, "tag", parameters, 4, derived, 32) ||
		!crypto_hmac_init(&h, derived, 32))
		return 0;
	for (int level = 0; level < levels; level++)
	{
		uint32_t at = point >> (2 * level);
		uint8_t message[5] = {(uint8_t) level, (uint8_t) (at >> 24), (uint8_t) (at >> 16),
							  (uint8_t) (at >> 8), (uint8_t) at};
		uint8_t hash[CRYPTO_HASH_BYTES];

		if (!crypto_hmac(&h, message, sizeof(message), hash))
			return 0;
		memcpy(out + 4 * level, hash, 4);
	}
	qsort(out, levels, 4, compare_tokens);
	return 4 * (size_t) levels;
}

static void
test_match_token(void)
{
	uint8_t parameters[4] = {ENVELOPE_TYPE_TEXT, 0, 7, 4};
	uint8_t master[32];
	uint8_t derived[32];
	uint8_t hash[CRYPTO_HASH_BYTES];
	CryptoHmac h;

	bytes_of("index_secret", master, 32);
	check(keyring_derive(master, "tag", parameters, 4, derived, 32) &&
			  crypto_hmac_init(&h, derived, 32) && crypto_hmac(&h, "yko", 3, hash) &&
			  is_hex(hash, 4, vector("match_token")),
		  "match_token");
}

static void
test_value(const char *name, uint8_t type, uint8_t flags, uint16_t domain, uint8_t kind,
		   const char *canonical, const uint8_t nonce[24])
{
	static const char label[] = "immiiq.envelope.v1";
	uint8_t parameters[4] = {type, (uint8_t) (domain >> 8), (uint8_t) domain, kind};
	uint8_t master[32];
	uint8_t derived[32];
	uint8_t tag[CRYPTO_HASH_BYTES] = {0};
	uint8_t plain[64];
	uint8_t opened[64];
	uint8_t text[64];
	uint8_t value[160];
	uint8_t want[160];
	uint8_t aad[128];
	uint8_t tokens[64];
	size_t tokens_len;
	char armour[256];
	char field[64];
	size_t text_len;
	size_t plain_len;
	size_t n;
	size_t want_len;
	CryptoXaes *x;
	CryptoHmac h;
	Envelope env;

	snprintf(field, sizeof(field), "%s_plain", name);
	plain_len = bytes_of(field, plain, sizeof(plain));
	if (flags & ENVELOPE_TAG)
	{
		text_len = bytes_of(canonical, text, sizeof(text));
		bytes_of("index_secret", master, 32);
		snprintf(field, sizeof(field), "%s_tag_key", name);
		check(keyring_derive(master, "tag", parameters, 4, derived, 32) &&
				  is_hex(derived, 32, vector(field)),
			  field);
		snprintf(field, sizeof(field), "%s_tag", name);
		check(crypto_hmac_init(&h, derived, 32) && crypto_hmac(&h, text, text_len, tag) &&
				  is_hex(tag, 16, vector(field)),
			  field);
	}
	bytes_of("data_key", master, 32);
	snprintf(field, sizeof(field), "%s_field_key", name);
	check(keyring_derive(master, "field", parameters, 3, derived, 32) &&
			  is_hex(derived, 32, vector(field)),
		  field);
	x = crypto_xaes_new(derived);

	/* Put together from the page's words; envelope_seal draws its own nonce. */
	n = envelope_write_prefix(ENVELOPE_SEALED, type, flags, domain, 258, tag, value);
	if (flags & ENVELOPE_TOKENS)
	{
		tokens_len = range_tokens(type, domain, 104407, 9, tokens);
		snprintf(field, sizeof(field), "%s_tokens", name);
		check(is_hex(tokens, tokens_len, vector(field)), field);
		memcpy(value + n, "\4\0\0\11", 4);
		memcpy(value + n + 4, tokens, tokens_len);
		n += 4 + tokens_len;
	}
	memcpy(aad, label, strlen(label));
	memcpy(aad + strlen(label), value, n);
	memcpy(value + n, nonce, 24);
	snprintf(field, sizeof(field), "%s_envelope", name);
	check(crypto_xaes_seal(x, nonce, aad, strlen(label) + n, plain, plain_len, value + n + 24) &&
			  is_hex(value, envelope_sealed_size(flags, 9, plain_len), vector(field)),
		  field);
	n = envelope_sealed_size(flags, 9, plain_len);
	envelope_armour(value, n, armour);
	armour[envelope_armour_size(n)] = '\0';
	snprintf(field, sizeof(field), "%s_armour", name);
	check(strcmp(armour, vector(field)) == 0, field);
	check(envelope_dearmour(vector(field), strlen(vector(field)), want, &want_len) &&
			  envelope_parse(want, want_len, &env) && env.type == type && env.flags == flags &&
			  env.domain == domain && env.key_id == 258 && envelope_plain_size(&env) == plain_len &&
			  envelope_open(x, want, &env, opened) && memcmp(opened, plain, plain_len) == 0,
		  "and it opens");
	crypto_xaes_free(x);
}

int
main(void)
{
	FILE *file = fopen("docs/format.md", "r");
	uint8_t root[32];
	uint8_t nonce[24];
	size_t n;

	if (file == NULL)
	{
		printf("Bail out! docs/format.md is not there\n");
		return 1;
	}
	n = fread(page, 1, sizeof(page) - 1, file);
	fclose(file);
	check(n > 0 && n < sizeof(page) - 1 && crypto_init(), "the page is there, whole");
	bytes_of("root_key", root, sizeof(root));
	bytes_of("nonce", nonce, sizeof(nonce));
	test_derivations(root);
	test_match_token();
	for (int fallback = 0; fallback < 2; fallback++)
	{
		crypto_force_fallback(fallback);
		test_wraps(root, nonce);
		test_value("text", ENVELOPE_TYPE_TEXT, ENVELOPE_TAG, 7, 1, "text_plain", nonce);
		test_value("folded", ENVELOPE_TYPE_TEXT, ENVELOPE_TAG | ENVELOPE_FOLD, 0, 2,
				   "folded_canonical", nonce);
		test_value("date", ENVELOPE_TYPE_DATE, 0, 258, 0, NULL, nonce);
		test_value("ranged", ENVELOPE_TYPE_DATE, ENVELOPE_TAG | ENVELOPE_TOKENS, 258, 1,
				   "date_plain", nonce);
	}
	return done();
}
