/*
 * Signatures of tree heads by a command, instead of the database's own key.
 * Trusts the server's configuration for whose key it is; refuses every
 * signature that does not hold under that key.
 */
#include "postgres.h"

#include "common/base64.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "audit/audit_internal.h"
#include "base/base.h"
#include "base/command.h"
#include "crypto/crypto.h"

/* Keys that are told apart: the current one and those before it. */
#define SIGNER_MAX_KEYS 16

static char *signer_command = NULL;
static char *signer_keys = NULL;

/* The n-th key of a list, 0 being the current one; false past the end, and *bad when the list is no list of keys. */
static bool
signer_nth(const char *list, int n, uint8 *key, bool *bad)
{
	const char *at = list;

	*bad = false;
	for (int i = 0; at != NULL; i++)
	{
		char bytes[CRYPTO_PUB_BYTES];

		at += strspn(at, ", ");
		if (*at == '\0')
			return false;
		if (strspn(at, "0123456789abcdefABCDEF") != 2 * CRYPTO_PUB_BYTES || i == SIGNER_MAX_KEYS)
		{
			*bad = true;
			return false;
		}
		(void) hex_decode(at, 2 * CRYPTO_PUB_BYTES, bytes);
		memcpy(key, bytes, CRYPTO_PUB_BYTES);
		if (i == n)
			return true;
		at += 2 * CRYPTO_PUB_BYTES;
	}
	return false;
}

static bool
signer_check_keys(char **newval, void **extra, GucSource source)
{
	uint8 key[CRYPTO_PUB_BYTES];
	bool bad;

	(void) signer_nth(*newval, SIGNER_MAX_KEYS, key, &bad);
	if (bad)
		GUC_check_errdetail("It reads Ed25519 public keys of 64 hexadecimal digits, the current "
							"one first, %d at most.",
							SIGNER_MAX_KEYS);
	return !bad;
}

void
signer_init(void)
{
	DefineCustomStringVariable("immiiq.signer_command",
							   "Shell command that signs heads of the audit, instead of a key of the "
							   "installation's own.",
							   "It gets the text to be signed and answers with the 64 bytes of an "
							   "Ed25519 signature in base64.",
							   &signer_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL,
							   NULL);
	DefineCustomStringVariable("immiiq.signer_key",
							   "Public key of immiiq.signer_command, and its former ones after it.",
							   NULL, &signer_keys, "", PGC_SIGHUP, 0, signer_check_keys, NULL, NULL);
}

bool
signer_is_set(void)
{
	return signer_command != NULL && signer_command[0] != '\0';
}

bool
signer_knows(const uint8 *public_key)
{
	uint8 key[CRYPTO_PUB_BYTES];
	bool bad;

	for (int i = 0; signer_nth(signer_keys, i, key, &bad); i++)
	{
		if (memcmp(key, public_key, CRYPTO_PUB_BYTES) == 0)
			return true;
	}
	return false;
}

void
signer_sign(const char *note, uint8 *public_key, uint8 *signature)
{
	char *said = palloc(COMMAND_OUTPUT_MAX + 1);
	char bytes[CRYPTO_SIG_BYTES + 2];
	const char *problem;
	size_t len;
	bool bad;

	if (!signer_nth(signer_keys, 0, public_key, &bad))
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("immiiq.signer_command is set and immiiq.signer_key is not")));
	problem = command_run(signer_command, note, strlen(note), said, COMMAND_OUTPUT_MAX, &len);
	CHECK_FOR_INTERRUPTS();
	while (len > 0 && (said[len - 1] == '\n' || said[len - 1] == '\r'))
		len--;
	if (problem == NULL &&
		(len != pg_b64_enc_len(CRYPTO_SIG_BYTES) ||
		 pg_b64_decode(said, (int) len, (uint8 *) bytes, sizeof(bytes)) != CRYPTO_SIG_BYTES))
		problem = "it gave no signature of 64 bytes in base64";
	if (problem == NULL)
	{
		memcpy(signature, bytes, CRYPTO_SIG_BYTES);
		if (!crypto_ed25519_verify(public_key, note, strlen(note), signature))
			problem = "its signature does not hold under immiiq.signer_key";
	}
	pfree(said);
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
						errmsg("could not sign the audit: immiiq.signer_command: %s", problem),
						errdetail("Entries wait until it does.")));
}
