/*
 * What sign-in in SQL cannot do for itself: tokens and their hashes, keyed
 * hashes under the installation key, and attempts that outlive a rollback.
 * Trusts its callers, which are the extension's own functions: nobody else may
 * execute anything here.  Refuses nothing.
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inet.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context.h"
#include "context/token.h"
#include "identity/identity_internal.h"
#include "journal/journal.h"
#include "keyring/keyring.h"

PG_FUNCTION_INFO_V1(immiiq_new_token);
PG_FUNCTION_INFO_V1(immiiq_derive_token);
PG_FUNCTION_INFO_V1(immiiq_token_digest);
PG_FUNCTION_INFO_V1(immiiq_keyed_hash);
PG_FUNCTION_INFO_V1(immiiq_same_bytes);
PG_FUNCTION_INFO_V1(immiiq_answer_at);
PG_FUNCTION_INFO_V1(immiiq_report_sign_in);
PG_FUNCTION_INFO_V1(immiiq_current_session);
PG_FUNCTION_INFO_V1(immiiq_current_client);
PG_FUNCTION_INFO_V1(immiiq_current_address);
PG_FUNCTION_INFO_V1(immiiq_plain_address);
PG_FUNCTION_INFO_V1(immiiq_network_of);
PG_FUNCTION_INFO_V1(immiiq_address_allowed);
PG_FUNCTION_INFO_V1(immiiq_session_owner);
PG_FUNCTION_INFO_V1(immiiq_acting_email);

#define IDENTITY_TIDY_S	 2	   /* between two looks at sessions that are still to be revoked */
#define IDENTITY_PURGE_S 600   /* between two at what is long dead */
#define IDENTITY_WAIT_US 20000 /* how long an answer is held back at most */

static int identity_link_ttl = 600;
static int identity_refresh_grace = 10;

void
identity_init(void)
{
	DefineCustomIntVariable("immiiq.link_ttl", "How long a link to sign in lasts.", NULL,
							&identity_link_ttl, 600, 10, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
							NULL);
	DefineCustomIntVariable("immiiq.refresh_grace",
							"How long a refresh token that was used gives its successor again.",
							NULL, &identity_refresh_grace, 10, 0, 60, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	throttle_init();
	password_init();
	access_token_init();
}

void
identity_shmem_request(void)
{
	throttle_shmem_request();
	password_shmem_request();
}

void
identity_shmem_startup(void)
{
	throttle_shmem_startup();
	password_shmem_startup();
}

static TimestampTz identity_tidied = 0;
static TimestampTz identity_purged = 0;

bool
identity_tidy_due(void)
{
	return TimestampDifferenceExceeds(identity_tidied, GetCurrentTimestamp(),
									  IDENTITY_TIDY_S * 1000);
}

void
identity_tidy(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool purge = TimestampDifferenceExceeds(identity_purged, now, IDENTITY_PURGE_S * 1000);

	identity_tidied = now;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(purge ? "SELECT immiiq.revoke_pending(), immiiq.purge_sign_in()"
						  : "SELECT immiiq.revoke_pending()",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not tidy up sign-in");
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (purge)
		identity_purged = now;
}

/* The kind of token that an argument names. */
static char
identity_kind(text *arg)
{
	if (VARSIZE_ANY_EXHDR(arg) != 1 || strchr(TOKEN_KINDS, *VARDATA_ANY(arg)) == NULL)
		elog(ERROR, "unknown kind of token");
	return *VARDATA_ANY(arg);
}

static text *
identity_token_text(char token[TOKEN_LEN + 1])
{
	text *result = cstring_to_text_with_len(token, TOKEN_LEN);

	crypto_wipe(token, TOKEN_LEN + 1);
	return result;
}

/* immiiq.new_token(kind text) → text: 32 random bytes as a token of this kind. */
Datum
immiiq_new_token(PG_FUNCTION_ARGS)
{
	char token[TOKEN_LEN + 1];

	if (!token_make(identity_kind(PG_GETARG_TEXT_PP(0)), token))
		elog(ERROR, "could not make a token");
	PG_RETURN_TEXT_P(identity_token_text(token));
}

/* HMAC-SHA256 under a key that is derived from the installation key for this label. */
static void
identity_hmac(const char *label, bytea *data, uint8_t out[CRYPTO_HASH_BYTES])
{
	uint8_t secret[CRYPTO_KEY_BYTES];
	CryptoHmac hmac;
	bool done;

	keyring_installation_secret(label, true, secret);
	done = crypto_hmac_init(&hmac, secret, sizeof(secret)) &&
		   crypto_hmac(&hmac, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), out);
	crypto_wipe(&hmac, sizeof(hmac));
	crypto_wipe(secret, sizeof(secret));
	if (!done)
		elog(ERROR, "could not compute a keyed hash");
}

/* immiiq.keyed_hash(label text, data bytea) → bytea: 32 bytes, under the installation key. */
Datum
immiiq_keyed_hash(PG_FUNCTION_ARGS)
{
	char *label = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bytea *result = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);

	SET_VARSIZE(result, VARHDRSZ + CRYPTO_HASH_BYTES);
	identity_hmac(label, PG_GETARG_BYTEA_PP(1), (uint8_t *) VARDATA(result));
	PG_RETURN_BYTEA_P(result);
}

/*
 * immiiq.derive_token(kind text, data bytea) → text: the token whose secret is
 * the keyed hash of data.  What can be derived again need not be stored.
 */
Datum
immiiq_derive_token(PG_FUNCTION_ARGS)
{
	char kind = identity_kind(PG_GETARG_TEXT_PP(0));
	char label[] = "token-?";
	uint8_t secret[CRYPTO_HASH_BYTES];
	char token[TOKEN_LEN + 1];
	bool done;

	label[6] = kind;
	identity_hmac(label, PG_GETARG_BYTEA_PP(1), secret);
	done = token_encode(kind, secret, token);
	crypto_wipe(secret, sizeof(secret));
	if (!done)
		elog(ERROR, "could not make a token");
	PG_RETURN_TEXT_P(identity_token_text(token));
}

/*
 * immiiq.token_digest(kinds text, token text) → bytea: the SHA-256 under which
 * a token is stored; null for text that is no token of these kinds.
 */
Datum
immiiq_token_digest(PG_FUNCTION_ARGS)
{
	char *kinds = text_to_cstring(PG_GETARG_TEXT_PP(0));
	text *token = PG_GETARG_TEXT_PP(1);
	bytea *result = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);

	SET_VARSIZE(result, VARHDRSZ + CRYPTO_HASH_BYTES);
	if (!token_hash(kinds, VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), (uint8_t *) VARDATA(result)))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(result);
}

/* immiiq.same_bytes(a bytea, b bytea) → boolean: compares in a time that tells nothing but the lengths. */
Datum
immiiq_same_bytes(PG_FUNCTION_ARGS)
{
	bytea *a = PG_GETARG_BYTEA_PP(0);
	bytea *b = PG_GETARG_BYTEA_PP(1);

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
				   crypto_equal(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)));
}

/*
 * immiiq.answer_at(since timestamptz, after interval) → void: returns when this
 * long has passed since then, so that the time of an answer tells nothing of
 * the work behind it.  Waits 20 ms at most, whatever the clock does.
 */
Datum
immiiq_answer_at(PG_FUNCTION_ARGS)
{
	TimestampTz at = DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
	int64 left = at - GetCurrentTimestamp();

	if (left > 0)
		pg_usleep((long) Min(left, IDENTITY_WAIT_US));
	PG_RETURN_VOID();
}

/* An argument's text, NULL when the argument is. */
static const char *
identity_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/*
 * immiiq.report_sign_in(method, verdict, reason, details text, org, member,
 * session uuid, ip inet, user_agent text) → boolean: hands an attempt to the
 * worker, which writes it to immiiq.sign_in_attempt whatever becomes of this
 * transaction.  Waits until it has unless the verdict is 'throttled'; false
 * when it did not in time.  details: what immiiq.take_sign_in takes apart.
 */
Datum
immiiq_report_sign_in(PG_FUNCTION_ARGS)
{
	JournalSignIn attempt;
	char *verdict = text_to_cstring(PG_GETARG_TEXT_PP(1));

	memset(&attempt, 0, sizeof(attempt));
	attempt.method = text_to_cstring(PG_GETARG_TEXT_PP(0));
	attempt.reason = psprintf("%s %s", verdict, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	attempt.details = text_to_cstring(PG_GETARG_TEXT_PP(3));
	attempt.org = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);
	attempt.member = PG_ARGISNULL(5) ? NULL : PG_GETARG_UUID_P(5);
	attempt.session = PG_ARGISNULL(6) ? NULL : PG_GETARG_UUID_P(6);
	if (!PG_ARGISNULL(7))
		attempt.ip = TextDatumGetCString(DirectFunctionCall1(network_host, PG_GETARG_DATUM(7)));
	attempt.agent = identity_text(fcinfo, 8);
	journal_record_sign_in(&attempt);
	PG_RETURN_BOOL(journal_flush(strcmp(verdict, "throttled") != 0));
}

/* The active session, null for operators and when nobody is active. */
Datum
immiiq_current_session(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *session;

	if (identity == NULL || base_uuid_is_nil(&identity->session))
		PG_RETURN_NULL();
	session = palloc(sizeof(pg_uuid_t));
	*session = identity->session;
	PG_RETURN_UUID_P(session);
}

/* The client of the active portal session, null for everybody else. */
Datum
immiiq_current_client(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *client;

	if (identity == NULL || base_uuid_is_nil(&identity->client))
		PG_RETURN_NULL();
	client = palloc(sizeof(pg_uuid_t));
	*client = identity->client;
	PG_RETURN_UUID_P(client);
}

/* A copy of an address without its netmask; an IPv4 address written as IPv6 becomes IPv4. */
static inet *
identity_plain(Datum address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	inet *given = DatumGetInetPP(address);
	inet *plain = palloc0(sizeof(inet));
	bool is_mapped =
		ip_family(given) == PGSQL_AF_INET6 && memcmp(ip_addr(given), mapped, sizeof(mapped)) == 0;

	ip_family(plain) = is_mapped ? PGSQL_AF_INET : ip_family(given);
	ip_bits(plain) = ip_maxbits(plain);
	memcpy(ip_addr(plain), ip_addr(given) + (is_mapped ? sizeof(mapped) : 0), ip_addrsize(plain));
	SET_INET_VARSIZE(plain);
	return plain;
}

/* immiiq.plain_address(ip inet) → inet. */
Datum
immiiq_plain_address(PG_FUNCTION_ARGS)
{
	PG_RETURN_INET_P(identity_plain(PG_GETARG_DATUM(0)));
}

/* immiiq.network_of(ip inet) → cidr: an IPv4 address, the /64 of an IPv6 address. */
Datum
immiiq_network_of(PG_FUNCTION_ARGS)
{
	inet *network = identity_plain(PG_GETARG_DATUM(0));

	if (ip_family(network) == PGSQL_AF_INET6)
	{
		ip_bits(network) = 64;
		memset(ip_addr(network) + 8, 0, 8);
	}
	PG_RETURN_INET_P(network);
}

/* immiiq.current_address() → inet: what the tier said in this transaction, else the address of the session's sign-in. */
Datum
immiiq_current_address(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	const char *address = context_client_ip();

	if (identity != NULL && *address == '\0')
		address = identity->address;
	if (*address == '\0')
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(inet_in, CStringGetDatum(address)));
}

/* An address as the allowlist takes it. */
static const char *
identity_address(Datum ip)
{
	return TextDatumGetCString(DirectFunctionCall1(network_host, ip));
}

/* immiiq.address_allowed(org uuid, ip inet) → boolean: true when the organisation has no allowlist, or it holds the address. */
Datum
immiiq_address_allowed(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(
		context_address_allowed(PG_GETARG_UUID_P(0),
								PG_ARGISNULL(1) ? "" : identity_address(PG_GETARG_DATUM(1))));
}

/*
 * immiiq.session_owner(session uuid, ip inet) → one row: whose session it is,
 * when it expires, whether session, member and organisation are active, and
 * whether the allowlist has the address (null: that of the sign-in).
 */
Datum
immiiq_session_owner(PG_FUNCTION_ARGS)
{
	ContextIdentity identity;
	TupleDesc desc;
	Datum values[5] = {0};
	bool nulls[5] = {true, true, true, true, true};
	const char *reason;
	bool alive;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!PG_ARGISNULL(0))
	{
		alive = context_read_session(PG_GETARG_UUID_P(0), &identity, &reason);
		if (!base_uuid_is_nil(&identity.org))
		{
			memset(nulls, false, sizeof(nulls));
			nulls[1] = base_uuid_is_nil(&identity.member);
			values[0] = UUIDPGetDatum(&identity.org);
			values[1] = UUIDPGetDatum(&identity.member);
			values[2] = TimestampTzGetDatum(identity.expires_at);
			values[3] =
				BoolGetDatum(alive && context_member_acts(&identity.org, &identity.member, NULL));
			values[4] = BoolGetDatum(
				context_address_allowed(&identity.org, PG_ARGISNULL(1)
														   ? identity.address
														   : identity_address(PG_GETARG_DATUM(1))));
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* immiiq.acting_email(org uuid, member uuid) → text: the member's address while member and organisation are active, else null. */
Datum
immiiq_acting_email(PG_FUNCTION_ARGS)
{
	char *email;

	if (!context_member_acts(PG_GETARG_UUID_P(0), PG_GETARG_UUID_P(1), &email))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(email));
}
