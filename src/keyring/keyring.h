/*
 * Root keys in locked shared memory, wrapped keys in immiiq.wrapped_key, and
 * the per-backend cache of what is derived from them.  Trusts the root keys;
 * refuses to write under one whose fingerprint is not the database's.
 *
 * Pointers handed out: the last eight distinct ones in a row stay whole, even
 * when an eviction or an invalidation comes between.  So take what one value
 * needs, use it, and never store it.
 */
#ifndef IMMIIQ_KEYRING_H
#define IMMIIQ_KEYRING_H

#include "crypto/crypto.h"
#include "utils/uuid.h"

/* What a tag is made for: part of the derivation. */
typedef enum KeyringTokenKind
{
	KEYRING_TOKEN_EQUALITY = 1,
	KEYRING_TOKEN_FOLD = 2,
	KEYRING_TOKEN_PREFIX = 3,
	KEYRING_TOKEN_MATCH = 4,
	KEYRING_TOKEN_RANGE = 5,
	KEYRING_TOKEN_CONTAINS = 6
} KeyringTokenKind;

extern void keyring_init(void);
extern void keyring_shmem_request(void);
extern void keyring_shmem_startup(void);
/* Loads root keys again (the worker calls it after SIGHUP); keeps the old ones and logs why when the new ones are bad. */
extern void keyring_reload(void);

/* The organisation's current data key for one type and column domain; sets *key_id. ERROR (IQ002, IQ003) when it cannot be had. */
extern CryptoXaes *keyring_seal_key(const pg_uuid_t *org, uint8_t type, uint16_t domain,
									uint32_t *key_id);
/* The key that sealed a value, and whose it is.  NULL when no such key is known here; ERROR when it is known and its root key is not loaded. */
extern CryptoXaes *keyring_open_key(uint32_t key_id, uint8_t type, uint16_t domain, pg_uuid_t *org);
/* Organisation of a data key, without opening it. False when unknown. */
extern bool keyring_key_org(uint32_t key_id, pg_uuid_t *org);
/* HMAC of the organisation's index secret for one type, domain and kind of token. */
extern const CryptoHmac *keyring_tag_key(const pg_uuid_t *org, uint8_t type, uint16_t domain,
										 KeyringTokenKind kind);
/*
 * What seals an image of the log: the key of a client (made and wrapped at first
 * use), or with client NULL the organisation's audit key; its id is reported.
 * *salt gets 32 bytes for commitments, valid as long as the cipher.  ERROR
 * (IQ002, IQ003) when it cannot be had.
 */
extern CryptoXaes *keyring_image_key(const pg_uuid_t *org, const pg_uuid_t *client,
									 uint32_t *key_id, const uint8_t **salt);
/* The same by id for reading; NULL when there is no such key of this organisation, as after an erasure. */
extern CryptoXaes *keyring_find_image_key(const pg_uuid_t *org, uint32_t key_id,
										  const uint8_t **salt);
/* HMAC key for tags in the log: of addresses, of rows, of columns that are hashed. */
extern const CryptoHmac *keyring_audit_tag_key(const pg_uuid_t *org);
/* 32 bytes derived from the installation key for a fixed label (e.g. "log-signing"). Creates the installation key at first use when may_create. */
extern void keyring_installation_secret(const char *label, bool may_create, uint8_t out[32]);
/* Makes and wraps the keys of a new organisation. */
extern void keyring_create_org(const pg_uuid_t *org);
/* True when the organisation has any key, whether it can be opened or not. */
extern bool keyring_org_has_keys(const pg_uuid_t *org);

#endif /* IMMIIQ_KEYRING_H */
