/*
 * Derivation and wrapping of keys, byte for byte as docs/format.md says.
 * Trusts the root key it is given; refuses a wrapped key whose organisation,
 * purpose, version, id or root id is not the row's, and one of two readings.
 */
#include <string.h>

#include "keyring/wrap.h"

#define DERIVE_PREFIX		"immiiq/v1/"
#define DERIVE_PREFIX_BYTES (sizeof(DERIVE_PREFIX) - 1)
#define WRAP_LABEL			"immiiq.wrap.v1"
#define WRAP_LABEL_BYTES	(sizeof(WRAP_LABEL) - 1)
#define WRAP_CHECK_BYTES	16
#define WRAP_AAD_MAX		(WRAP_LABEL_BYTES + KEYRING_LABEL_BYTES + 16 + 4 + 4 + 1 + KEYRING_ROOT_ID_MAX)

bool
keyring_derive(const uint8_t key[CRYPTO_KEY_BYTES], const char *label, const uint8_t *parameters,
			   size_t parameters_len, uint8_t *out, size_t out_len)
{
	uint8_t info[DERIVE_PREFIX_BYTES + KEYRING_LABEL_BYTES + KEYRING_PARAMETERS_MAX] = {0};
	size_t label_len = strlen(label);

	if (label_len == 0 || label_len > KEYRING_LABEL_BYTES || parameters_len > KEYRING_PARAMETERS_MAX)
		return false;
	memcpy(info, DERIVE_PREFIX, DERIVE_PREFIX_BYTES);
	memcpy(info + DERIVE_PREFIX_BYTES, label, label_len);
	if (parameters_len > 0)
		memcpy(info + DERIVE_PREFIX_BYTES + KEYRING_LABEL_BYTES, parameters, parameters_len);
	return crypto_hkdf(key, CRYPTO_KEY_BYTES, NULL, 0, info,
					   DERIVE_PREFIX_BYTES + KEYRING_LABEL_BYTES + parameters_len, out, out_len);
}

static void
put_uint32(uint8_t *out, uint32_t v)
{
	out[0] = (uint8_t) (v >> 24);
	out[1] = (uint8_t) (v >> 16);
	out[2] = (uint8_t) (v >> 8);
	out[3] = (uint8_t) v;
}

/* Length of the AAD of a wrap, 0 for a binding that cannot be. */
static size_t
wrap_aad(const KeyringBinding *binding, uint8_t aad[WRAP_AAD_MAX])
{
	size_t purpose_len = strlen(binding->purpose);
	size_t root_id_len = strlen(binding->root_id);
	uint8_t *p = aad;

	if (purpose_len == 0 || purpose_len > KEYRING_LABEL_BYTES || root_id_len == 0 ||
		root_id_len > KEYRING_ROOT_ID_MAX)
		return 0;
	memset(aad, 0, WRAP_AAD_MAX);
	memcpy(p, WRAP_LABEL, WRAP_LABEL_BYTES);
	p += WRAP_LABEL_BYTES;
	memcpy(p, binding->purpose, purpose_len);
	p += KEYRING_LABEL_BYTES;
	memcpy(p, binding->org, sizeof(binding->org));
	p += sizeof(binding->org);
	put_uint32(p, binding->version);
	put_uint32(p + 4, binding->key_id);
	p += 8;
	*p++ = (uint8_t) root_id_len;
	memcpy(p, binding->root_id, root_id_len);
	return (size_t) (p - aad) + root_id_len;
}

/* The object that wraps under a root key; NULL on failure. */
static CryptoXaes *
wrapping_key(const uint8_t root[CRYPTO_KEY_BYTES])
{
	uint8_t kek[CRYPTO_KEY_BYTES];
	CryptoXaes *x = NULL;

	if (keyring_derive(root, "wrap", NULL, 0, kek, sizeof(kek)))
		x = crypto_xaes_new(kek);
	crypto_wipe(kek, sizeof(kek));
	return x;
}

bool
keyring_wrap_with_nonce(const uint8_t root[CRYPTO_KEY_BYTES], const KeyringBinding *binding,
						const uint8_t key[CRYPTO_KEY_BYTES],
						const uint8_t nonce[CRYPTO_NONCE_BYTES], uint8_t out[KEYRING_WRAPPED_BYTES])
{
	uint8_t aad[WRAP_AAD_MAX];
	size_t aad_len = wrap_aad(binding, aad);
	CryptoXaes *x;
	bool ok;

	if (aad_len == 0)
		return false;
	x = wrapping_key(root);
	memcpy(out, nonce, CRYPTO_NONCE_BYTES);
	ok = x != NULL &&
		 crypto_xaes_seal(x, nonce, aad, aad_len, key, CRYPTO_KEY_BYTES, out + CRYPTO_NONCE_BYTES) &&
		 keyring_derive(key, "check", NULL, 0, out + KEYRING_WRAPPED_BYTES - WRAP_CHECK_BYTES,
						WRAP_CHECK_BYTES);
	crypto_xaes_free(x);
	return ok;
}

bool
keyring_wrap(const uint8_t root[CRYPTO_KEY_BYTES], const KeyringBinding *binding,
			 const uint8_t key[CRYPTO_KEY_BYTES], uint8_t out[KEYRING_WRAPPED_BYTES])
{
	uint8_t nonce[CRYPTO_NONCE_BYTES];

	crypto_nonce(nonce, sizeof(nonce));
	return keyring_wrap_with_nonce(root, binding, key, nonce, out);
}

bool
keyring_unwrap(const uint8_t root[CRYPTO_KEY_BYTES], const KeyringBinding *binding,
			   const uint8_t *wrapped, size_t wrapped_len, uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t aad[WRAP_AAD_MAX];
	uint8_t check[WRAP_CHECK_BYTES];
	size_t aad_len = wrap_aad(binding, aad);
	CryptoXaes *x;
	bool ok;

	if (aad_len == 0 || wrapped_len != KEYRING_WRAPPED_BYTES)
		return false;
	x = wrapping_key(root);
	ok = x != NULL &&
		 crypto_xaes_open(x, wrapped, aad, aad_len, wrapped + CRYPTO_NONCE_BYTES,
						  CRYPTO_KEY_BYTES + CRYPTO_MAC_BYTES, key) &&
		 keyring_derive(key, "check", NULL, 0, check, sizeof(check)) &&
		 crypto_equal(check, wrapped + KEYRING_WRAPPED_BYTES - WRAP_CHECK_BYTES, sizeof(check));
	crypto_xaes_free(x);
	if (!ok)
		crypto_wipe(key, CRYPTO_KEY_BYTES);
	return ok;
}
