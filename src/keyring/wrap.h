/*
 * Derivation and wrapping of keys (docs/format.md): 32 bytes in, 32 or 88 out.
 * No postgres.h: unit tests link it alone.  Trusts the root key it is given;
 * refuses a wrapped key that was moved to another row.
 */
#ifndef IMMIIQ_WRAP_H
#define IMMIIQ_WRAP_H

#include "crypto/crypto.h"

#define KEYRING_WRAPPED_BYTES	  88 /* nonce 24, ciphertext 32, MAC 16, check value 16 */
#define KEYRING_FINGERPRINT_BYTES 16
#define KEYRING_ROOT_ID_MAX		  32
#define KEYRING_LABEL_BYTES		  16 /* of a purpose in an HKDF info string, zero-padded */
#define KEYRING_PARAMETERS_MAX	  16

/* What a wrapped key is bound to: its row of immiiq.wrapped_key. */
typedef struct KeyringBinding
{
	const char *purpose; /* "installation", "data", "index", "audit" */
	uint8_t org[16];	 /* zeros for the installation */
	uint32_t version;
	uint32_t key_id;
	const char *root_id;
} KeyringBinding;

/* HKDF-SHA256 of a key under info "immiiq/v1/" ‖ label ‖ parameters. False for a label that is too long. */
extern bool keyring_derive(const uint8_t key[CRYPTO_KEY_BYTES], const char *label,
						   const uint8_t *parameters, size_t parameters_len, uint8_t *out,
						   size_t out_len) CRYPTO_MUST_USE;
/* Wraps a key under a root key with a fresh nonce. */
extern bool keyring_wrap(const uint8_t root[CRYPTO_KEY_BYTES], const KeyringBinding *binding,
						 const uint8_t key[CRYPTO_KEY_BYTES],
						 uint8_t out[KEYRING_WRAPPED_BYTES]) CRYPTO_MUST_USE;
/* The same with a nonce that the caller gives: for test vectors only. */
extern bool keyring_wrap_with_nonce(const uint8_t root[CRYPTO_KEY_BYTES],
									const KeyringBinding *binding,
									const uint8_t key[CRYPTO_KEY_BYTES],
									const uint8_t nonce[CRYPTO_NONCE_BYTES],
									uint8_t out[KEYRING_WRAPPED_BYTES]) CRYPTO_MUST_USE;
/* Unwraps and compares the check value; false (and key wiped) for a wrong root key, row or byte. */
extern bool keyring_unwrap(const uint8_t root[CRYPTO_KEY_BYTES], const KeyringBinding *binding,
						   const uint8_t *wrapped, size_t wrapped_len,
						   uint8_t key[CRYPTO_KEY_BYTES]) CRYPTO_MUST_USE;

#endif /* IMMIIQ_WRAP_H */
