/*
 * Reading values of enc types.  Trusts nothing in the bytes; gives plaintext
 * only for the organisation whose key sealed it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "search/value.h"

bool
value_read_prefix(Datum value, uint8 prefix[VALUE_PREFIX_BYTES], Envelope *env)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);

	if (VARATT_IS_EXTERNAL(v) || VARATT_IS_COMPRESSED(v))
	{
		struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, VALUE_PREFIX_BYTES);
		size_t len = VARSIZE_ANY_EXHDR(slice);

		memcpy(prefix, VARDATA_ANY(slice), len);
		pfree(slice);
		return envelope_parse_prefix(prefix, len, env);
	}
	return envelope_parse_prefix((const uint8 *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), env);
}

bool
value_read_tokens(Datum value, EnvelopeTokens *tokens)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	Envelope env;

	if (!value_read_prefix(value, prefix, &env) || env.tokens.kinds == 0)
		return false;
	if (env.tokens.list == NULL || VARATT_IS_EXTENDED((struct varlena *) DatumGetPointer(value)))
	{
		struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, env.prefix_len);

		if (!envelope_parse_prefix((const uint8 *) VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice),
								   &env) ||
			env.tokens.list == NULL)
			return false;
	}
	*tokens = env.tokens;
	return true;
}

const uint8 *
value_read(Datum value, size_t *len, Envelope *env)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	const uint8 *buf = (const uint8 *) VARDATA_ANY(v);

	*len = VARSIZE_ANY_EXHDR(v);
	if (!envelope_parse(buf, *len, env))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("sealed value is malformed")));
	return buf;
}

bool
value_belongs(const Envelope *env, const pg_uuid_t *org)
{
	pg_uuid_t owner;

	return env->algorithm == ENVELOPE_SEALED && keyring_key_org(env->key_id, &owner) &&
		   base_uuid_equal(&owner, org);
}

/*
 * What was opened last, once some value was opened twice in a row, as a condition
 * and a sort on the same column do with every row.  Whoever asks again needs the
 * key again; all of it is wiped when the transaction ends.
 */
#define VALUE_OPENED	   8
#define VALUE_OPENED_BYTES 256

typedef struct ValueOpened
{
	size_t len;
	uint8 sealed[VALUE_OPENED_BYTES];
	uint8 plain[VALUE_OPENED_BYTES];
} ValueOpened;

static ValueOpened value_opened[VALUE_OPENED];
static const uint8 *value_last = NULL; /* where the last one stood; only compared */
static bool value_repeats = false;

static void
value_forget(XactEvent event, void *arg)
{
	if (value_repeats && event != XACT_EVENT_PRE_COMMIT &&
		event != XACT_EVENT_PARALLEL_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
	{
		crypto_wipe(value_opened, sizeof(value_opened));
		value_repeats = false;
	}
}

/* Opens a value under its key, or remembers what it held. */
static bool
value_open_again(CryptoXaes *key, const uint8 *buf, const Envelope *env, size_t plain_len,
				 uint8 *plain)
{
	static bool registered = false;
	ValueOpened *last = &value_opened[env->nonce[0] % VALUE_OPENED];
	size_t len = env->body + env->body_len - buf;

	if (buf == value_last && !value_repeats)
	{
		if (!registered)
			RegisterXactCallback(value_forget, NULL);
		registered = value_repeats = true;
	}
	value_last = buf;
	if (!value_repeats || len > VALUE_OPENED_BYTES)
		return envelope_open(key, buf, env, plain);
	if (last->len == len && memcmp(last->sealed, buf, len) == 0)
	{
		memcpy(plain, last->plain, plain_len);
		return true;
	}
	if (!envelope_open(key, buf, env, plain))
		return false;
	last->len = len;
	memcpy(last->sealed, buf, len);
	memcpy(last->plain, plain, plain_len);
	return true;
}

/* Opens what belongs to org, behind so many bytes of room; *authentic tells why there is nothing. */
static uint8 *
value_open_sealed(const uint8 *buf, const Envelope *env, const pg_uuid_t *org, size_t room,
				  size_t *len, bool *authentic)
{
	CryptoXaes *key;
	uint8 *plain;

	*len = 0;
	*authentic = true;
	if (env->algorithm != ENVELOPE_SEALED)
		return NULL;
	key = keyring_open_key(org, env->key_id, env->type, env->domain);
	if (key == NULL)
		return NULL;
	*len = envelope_plain_size(env);
	plain = palloc(room + *len + 1);
	if (value_open_again(key, buf, env, *len, plain + room))
		return plain;
	pfree(plain);
	*authentic = false;
	return NULL;
}

static void
value_refuse_corrupt(void)
{
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("sealed value does not open"),
					errdetail("The key is wrong or the value is corrupt.")));
}

uint8 *
value_open(const uint8 *buf, const Envelope *env, const pg_uuid_t *org, size_t *len)
{
	uint8 *plain;
	bool authentic;

	if (env->algorithm == ENVELOPE_UNSEALED)
	{
		plain = palloc(env->body_len + 1);
		memcpy(plain, env->body, env->body_len);
		*len = env->body_len;
		return plain;
	}
	plain = value_open_sealed(buf, env, org, 0, len, &authentic);
	if (!authentic)
		value_refuse_corrupt();
	return plain;
}

struct varlena *
value_open_varlena(const uint8 *buf, const Envelope *env, const pg_uuid_t *org)
{
	struct varlena *result;
	bool authentic;
	size_t len;

	if (env->algorithm == ENVELOPE_UNSEALED)
	{
		result = palloc(VARHDRSZ + env->body_len);
		memcpy(VARDATA(result), env->body, env->body_len);
		len = env->body_len;
	}
	else
	{
		result = (struct varlena *) value_open_sealed(buf, env, org, VARHDRSZ, &len, &authentic);
		if (!authentic)
			value_refuse_corrupt();
		if (result == NULL)
			return NULL;
	}
	SET_VARSIZE(result, VARHDRSZ + len);
	return result;
}

uint8 *
value_try_open(const uint8 *buf, const Envelope *env, const pg_uuid_t *org, size_t *len)
{
	bool authentic;

	return value_open_sealed(buf, env, org, 0, len, &authentic);
}

struct varlena *
value_unsealed(uint8 type, const uint8 *plain, size_t len)
{
	struct varlena *result = palloc(VARHDRSZ + ENVELOPE_HEADER_BYTES + len);
	uint8 *out = (uint8 *) VARDATA(result);
	size_t at = envelope_write_prefix(ENVELOPE_UNSEALED, type, 0, 0, 0, NULL, out);

	memcpy(out + at, plain, len);
	SET_VARSIZE(result, VARHDRSZ + at + len);
	return result;
}
