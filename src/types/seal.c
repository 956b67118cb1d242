/*
 * Sealing values of enc types.  Trusts context/ for the organisation; refuses
 * values that are another organisation's, and to seal for nobody.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "context/context.h"
#include "keyring/keyring.h"
#include "search/search.h"
#include "stat/stat.h"
#include "types/seal.h"

/* Seals canonical plaintext under an organisation's current keys. */
static struct varlena *
seal_bytes(const PlainType *plain, const pg_uuid_t *org, uint8 flags, uint8 kinds, uint16 domain,
		   const uint8 *bytes, size_t len)
{
	uint8 tag[ENVELOPE_TAG_BYTES];
	CryptoXaes *key;
	uint32 key_id;
	EnvelopeTokens tokens = {0, 0, NULL};
	size_t size;
	struct varlena *result;

	if ((flags & ENVELOPE_TOKENS) != 0)
		search_make_tokens(org, plain->code, domain, kinds, bytes, len, &tokens);
	size = envelope_sealed_size(flags, tokens.count, len);
	if (!AllocSizeIsValid(VARHDRSZ + size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("value is too long to be sealed")));
	if ((flags & ENVELOPE_TAG) != 0)
		search_make_tag(org, plain->code, domain, flags, bytes, len, tag);
	key = keyring_seal_key(org, plain->code, domain, &key_id);
	result = palloc(VARHDRSZ + size);
	if (!envelope_seal(key, plain->code, flags, domain, key_id, tag, &tokens, bytes, len,
					   (uint8 *) VARDATA(result)))
		elog(ERROR, "could not seal a value");
	stat_add(STAT_SEALED, 1);
	SET_VARSIZE(result, VARHDRSZ + size);
	if (tokens.list != NULL)
		pfree(unconstify(uint8 *, tokens.list));
	return result;
}

struct varlena *
seal_plain(const PlainType *plain, const uint8 *bytes, size_t len, int32 typmod)
{
	const ContextIdentity *identity;

	/* The functions that seal can be called with any number. */
	if (!search_typmod_valid(typmod, plain->words))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("not a modifier of type %s", plain->type_name)));
	base_require_preload();
	identity = context_current();
	if (identity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_NO_IDENTITY),
				 errmsg("nobody is active in this transaction, so nothing can be sealed"),
				 errhint(
					 "Set immiiq.token in this transaction first, with set_config('immiiq.token', $1, true) or immiiq.authenticate.")));
	return seal_bytes(plain, &identity->org, SearchTypmodFlags(typmod), SearchTypmodKinds(typmod),
					  SearchTypmodDomain(typmod), bytes, len);
}

struct varlena *
seal_again(Datum value, const pg_uuid_t *org)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	const uint8 *buf = (const uint8 *) VARDATA_ANY(v);
	size_t len = VARSIZE_ANY_EXHDR(v);
	struct varlena *result;
	CryptoXaes *key;
	uint8 *bytes;
	Envelope env;

	if (!envelope_parse(buf, len, &env) || env.algorithm != ENVELOPE_SEALED)
		return NULL;
	key = keyring_open_key(org, env.key_id, env.type, env.domain);
	if (key == NULL)
		return NULL;
	len = envelope_plain_size(&env);
	bytes = palloc_extended(len + 1, MCXT_ALLOC_HUGE);
	if (!envelope_open(key, buf, &env, bytes))
	{
		pfree(bytes);
		return NULL;
	}
	result =
		seal_bytes(plain_type(env.type), org, env.flags, env.tokens.kinds, env.domain, bytes, len);
	crypto_wipe(bytes, len);
	pfree(bytes);
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return result;
}

bool
seal_fits(const PlainType *plain, const Envelope *env, int32 typmod)
{
	return env->algorithm == ENVELOPE_SEALED && env->type == plain->code &&
		   env->domain == SearchTypmodDomain(typmod) && env->flags == SearchTypmodFlags(typmod) &&
		   env->tokens.kinds == SearchTypmodKinds(typmod);
}

/* ERROR IQ032 for a value that may not go where it is meant to. */
static void
seal_refuse_foreign(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_BINDING),
			 errmsg("value was sealed for another organisation, type or column domain"),
			 errhint("Read and write it in a transaction of the organisation that owns it.")));
}

struct varlena *
seal_value(const PlainType *plain, Datum value, int32 typmod)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(PointerGetDatum(v), &len, &env);
	const ContextIdentity *identity = context_current();
	uint8 *bytes;
	struct varlena *result;

	if (env.type != plain->code || env.algorithm == ENVELOPE_PROBE)
		seal_refuse_foreign();
	if (env.algorithm == ENVELOPE_UNSEALED)
		return seal_plain(plain, env.body, env.body_len, typmod);

	if (seal_fits(plain, &env, typmod))
	{
		/* Without anybody active it can only be moved, as pg_restore and ALTER TABLE do. */
		if (identity != NULL && !value_belongs(&env, &identity->org))
			seal_refuse_foreign();
		return v;
	}
	bytes = identity != NULL ? value_open(buf, &env, &identity->org, &len) : NULL;
	if (bytes == NULL)
		seal_refuse_foreign();
	result = seal_plain(plain, bytes, len, typmod);
	crypto_wipe(bytes, len);
	pfree(bytes);
	return result;
}

struct varlena *
seal_from_armour(const PlainType *plain, const char *text, size_t len, int32 typmod)
{
	struct varlena *result = palloc(VARHDRSZ + envelope_dearmour_size(len));
	uint8 *out = (uint8 *) VARDATA(result);
	size_t n = 0;
	Envelope env;

	if (!envelope_dearmour(text, len, out, &n) || !envelope_parse(out, n, &env))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("armoured value is malformed")));
	SET_VARSIZE(result, VARHDRSZ + n);
	if (env.type != plain->code || (typmod >= 0 && !seal_fits(plain, &env, typmod)))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_BINDING),
				 errmsg("armoured value was sealed for another type, column domain or search word")));
	return result;
}

char *
seal_to_armour(const uint8 *buf, size_t len)
{
	size_t n = envelope_armour_size(len);
	char *text;

	if (!AllocSizeIsValid(n + 1))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("sealed value is too long for text")));
	text = palloc(n + 1);
	envelope_armour(buf, len, text);
	text[n] = '\0';
	return text;
}
