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
#include "nodes/pg_list.h"
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
/* The key that sealed a value of org's.  NULL when org has no such key; ERROR when it has and its root key is not loaded. */
extern CryptoXaes *keyring_open_key(const pg_uuid_t *org, uint32_t key_id, uint8_t type,
									uint16_t domain);
/* Organisation of a data key, without opening it. False when unknown. */
extern bool keyring_key_org(uint32_t key_id, pg_uuid_t *org);
/* HMAC of the index secret that the active snapshot sees, for one type, domain and kind of token. */
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
/* Under this organisation (the max UUID) the log keeps what is of none; its keys come from the installation key. */
extern const pg_uuid_t keyring_installation_org;
/* True when an entry can be sealed for this organisation: its audit key is there, and the root key that opens it. */
extern bool keyring_can_log(const pg_uuid_t *org);
/* HMAC key for tags in the log: of addresses, of rows, of columns that are hashed. */
extern const CryptoHmac *keyring_audit_tag_key(const pg_uuid_t *org);
/* 32 bytes derived from the installation key for a fixed label (e.g. "log-signing"). Creates the installation key at first use when may_create. */
extern void keyring_installation_secret(const char *label, bool may_create, uint8_t out[32]);
/* Makes and wraps the keys of a new organisation. */
extern void keyring_create_org(const pg_uuid_t *org);
/* A tag that was remembered under another number may be out of date. */
extern uint64_t keyring_tag_epoch(void);
/*
 * Called when somebody becomes active: until the transaction ends, the
 * organisation's index secret does not change unless the transaction can only
 * read.  ERROR 40001 for a snapshot that is older than the last change.
 */
extern void keyring_enter(const pg_uuid_t *org);

/* Keys at work, for rekey/. */

/* Keeps everybody out who may write for this organisation, until the transaction ends; false when not to wait. */
extern bool keyring_lock_writers(const pg_uuid_t *org, bool wait) CRYPTO_MUST_USE;
/* Waits for those who have entered by now. */
extern void keyring_wait_writers(const pg_uuid_t *org);
/* Makes the organisation's next data key. */
extern uint32_t keyring_new_data_key(const pg_uuid_t *org);
/* Makes its next index secret, which this transaction tags with from now on. Writers must be locked out. */
extern void keyring_turn_index(const pg_uuid_t *org);
/* Ids of its data keys, and the one that seals. */
extern List *keyring_data_keys(const pg_uuid_t *org, uint32_t *current);
/* Deletes its data keys before this one and its earlier index secrets, with 0 everything it has; how many. */
extern int keyring_delete(const pg_uuid_t *org, uint32_t first_data_key);
/* Wraps every key under the current root key; how many were under another. ERROR IQ002 when one does not open. */
extern int64_t keyring_rewrap(void);
/* Overwrites what deleted and replaced rows have left in the pages of the tables of keys; false while older snapshots may need some of them. */
extern bool keyring_wipe(void);
/* 32 bytes for each key of a client from which nothing of the key is learnt, palloc'd; how many. ERROR IQ002, IQ003 when one does not open. */
extern int keyring_commit_client(const pg_uuid_t *org, const pg_uuid_t *client, uint8_t **out);
/*
 * Destroys the keys of a client; how many.  In place: they are overwritten at
 * once, and stay so when the transaction rolls back.
 */
extern int keyring_destroy_client(const pg_uuid_t *org, const pg_uuid_t *client, bool in_place);
/* Makes the organisation's next subject-wrapping key, wraps its clients' keys anew and deletes the ones before; how many it wrapped. */
extern int64_t keyring_rotate_subjects(const pg_uuid_t *org);
/*
 * True when the file of ledger heads knows of an erasure that this database's
 * ledger does not have: no key of the organisation opens then.  Never on a standby.
 */
extern bool keyring_in_quarantine(const pg_uuid_t *org);
/* True when the organisation has any key, whether it can be opened or not. */
extern bool keyring_org_has_keys(const pg_uuid_t *org);

#endif /* IMMIIQ_KEYRING_H */
