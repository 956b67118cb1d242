/*
 * Operators of the hidden base types and what their index access methods call.
 * (base, base) are pure byte functions that never raise on stored data and so
 * are leakproof in truth; with a plain value on one side, the planner has put a
 * probe in its place wherever the column is declared, and what stands here is
 * the slow way for the rest.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/sortsupport.h"

#include "base/base.h"
#include "search/probe.h"

/* ERROR for what was never bound to a column: stored data is never like this. */
static void
operators_refuse_unsealed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_SEALED),
			 errmsg(
				 "a sealed column was compared with a value that the planner could not turn into a probe"),
			 errhint(
				 "Cast the value to text, or compare it in a plain WHERE clause or join condition.")));
}

/* Reads a value to compare: true when it has a tag, false when only its bytes count. */
static inline bool
operators_read(Datum value, uint8 prefix[VALUE_PREFIX_BYTES], Envelope *env)
{
	if (!value_read_prefix(value, prefix, env))
		return false;
	if (env->algorithm == ENVELOPE_UNSEALED)
		operators_refuse_unsealed();
	return env->tag != NULL;
}

/* Type, domain and kind of tag as one number, to order tags that are equal by chance. */
static inline uint32
operators_declaration(const Envelope *env)
{
	return (uint32) env->type << 24 | (uint32) (env->flags & ENVELOPE_FOLD) << 16 | env->domain;
}

/* Total order of values without a tag: by length, then by bytes. */
static int
operators_compare_bytes(Datum a, Datum b)
{
	struct varlena *x = PG_DETOAST_DATUM_PACKED(a);
	struct varlena *y = PG_DETOAST_DATUM_PACKED(b);
	size_t x_len = VARSIZE_ANY_EXHDR(x);
	size_t y_len = VARSIZE_ANY_EXHDR(y);
	int result;

	if (x_len != y_len)
		result = x_len < y_len ? -1 : 1;
	else
		result = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), x_len);
	if ((Pointer) x != DatumGetPointer(a))
		pfree(x);
	if ((Pointer) y != DatumGetPointer(b))
		pfree(y);
	return result;
}

/* Total order: values with a tag by tag and declaration, then all others by their bytes. */
static int
operators_compare(Datum a, Datum b)
{
	uint8 a_prefix[VALUE_PREFIX_BYTES];
	uint8 b_prefix[VALUE_PREFIX_BYTES];
	Envelope x;
	Envelope y;
	bool a_tagged = operators_read(a, a_prefix, &x);
	bool b_tagged = operators_read(b, b_prefix, &y);
	int result;

	if (a_tagged != b_tagged)
		return a_tagged ? -1 : 1;
	if (!a_tagged)
		return operators_compare_bytes(a, b);
	result = memcmp(x.tag, y.tag, ENVELOPE_TAG_BYTES);
	if (result == 0)
	{
		uint32 x_declaration = operators_declaration(&x);
		uint32 y_declaration = operators_declaration(&y);

		result = x_declaration < y_declaration ? -1 : x_declaration > y_declaration;
	}
	return result;
}

/*
 * Equality where one side was never bound to a column: what the planner could
 * not turn into a probe, such as a list in a trigger's WHEN.  By the tag of the
 * other side, whose declaration stands in its header.  ERROR IQ011 when nobody
 * is active, IQ030 when the other side has no tag.
 */
static bool
operators_equal_unsealed(Datum unsealed, const Envelope *other)
{
	Envelope env;
	size_t len;
	uint8 tag[ENVELOPE_TAG_BYTES];

	if (other->tag == NULL)
		operators_refuse_unsealed();
	(void) value_read(unsealed, &len, &env);
	if (env.type != other->type)
		return false;
	search_make_tag(probe_org(), other->type, other->domain, other->flags, env.body, env.body_len,
					tag);
	return memcmp(tag, other->tag, ENVELOPE_TAG_BYTES) == 0;
}

/* True when the other value begins with the same header and tag as this sealed one; of values without tokens nothing else counts. */
static inline bool
operators_same_prefix(const Envelope *env, Datum other)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(other);
	const size_t len = ENVELOPE_HEADER_BYTES + ENVELOPE_TAG_BYTES;

	return env->algorithm == ENVELOPE_SEALED && env->tag != NULL && env->tokens.kinds == 0 &&
		   !VARATT_IS_EXTERNAL(v) && !VARATT_IS_COMPRESSED(v) && VARSIZE_ANY_EXHDR(v) >= len &&
		   memcmp(env->tag - ENVELOPE_HEADER_BYTES, VARDATA_ANY(v), len) == 0;
}

static bool
operators_equal(Datum a, Datum b)
{
	uint8 a_prefix[VALUE_PREFIX_BYTES];
	uint8 b_prefix[VALUE_PREFIX_BYTES];
	Envelope x;
	Envelope y;
	bool a_valid = value_read_prefix(a, a_prefix, &x);
	bool b_valid;
	bool a_unsealed;
	bool b_unsealed;
	bool a_tagged;
	bool b_tagged;

	if (a_valid && operators_same_prefix(&x, b))
		return true;
	b_valid = value_read_prefix(b, b_prefix, &y);
	a_unsealed = a_valid && x.algorithm == ENVELOPE_UNSEALED;
	b_unsealed = b_valid && y.algorithm == ENVELOPE_UNSEALED;
	a_tagged = a_valid && x.tag != NULL;
	b_tagged = b_valid && y.tag != NULL;
	if (a_unsealed != b_unsealed && a_valid && b_valid)
		return a_unsealed ? operators_equal_unsealed(a, &y) : operators_equal_unsealed(b, &x);
	if (a_tagged != b_tagged)
		return false;
	if (!a_tagged)
		return operators_compare_bytes(a, b) == 0;
	return memcmp(x.tag, y.tag, ENVELOPE_TAG_BYTES) == 0 &&
		   operators_declaration(&x) == operators_declaration(&y);
}

PG_FUNCTION_INFO_V1(enc_eq);
/* (base, base) → bool: on stored data and probes a pure function of bytes that never raises; else as operators_equal_unsealed. */
Datum
enc_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(operators_equal(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

PG_FUNCTION_INFO_V1(enc_ne);
/* (base, base) → bool: NOT enc_eq. */
Datum
enc_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!operators_equal(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

#define OPERATORS_COMPARE(name, test)                                                              \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		PG_RETURN_BOOL(operators_compare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) test 0);          \
	}                                                                                              \
	extern int no_such_symbol

/* (base, base) → bool, the order of indexes: IQ030 when a value was never bound to a column; nothing else. */
PG_FUNCTION_INFO_V1(enc_lt);
OPERATORS_COMPARE(enc_lt, <);
PG_FUNCTION_INFO_V1(enc_le);
OPERATORS_COMPARE(enc_le, <=);
PG_FUNCTION_INFO_V1(enc_gt);
OPERATORS_COMPARE(enc_gt, >);
PG_FUNCTION_INFO_V1(enc_ge);
OPERATORS_COMPARE(enc_ge, >=);

PG_FUNCTION_INFO_V1(enc_cmp);
/* B-tree support 1: (base, base) → int4. */
Datum
enc_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(operators_compare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

static int
operators_sort_full(Datum a, Datum b, SortSupport ssup)
{
	return operators_compare(a, b);
}

/* The first eight bytes of the tag; what has none sorts last. */
static Datum
operators_abbreviate(Datum original, SortSupport ssup)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	Envelope env;
	uint64 word;

	if (!operators_read(original, prefix, &env))
		return (Datum) PG_UINT64_MAX;
	memcpy(&word, env.tag, sizeof(word));
	return (Datum) pg_ntoh64(word);
}

/* Tags are uniform: the first bytes tell apart whatever differs. */
static bool
operators_abort(int memtupcount, SortSupport ssup)
{
	return false;
}

PG_FUNCTION_INFO_V1(enc_sortsupport);
/* B-tree support 2: comparison without fmgr, and abbreviated keys where a Datum holds eight bytes. */
Datum
enc_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = operators_sort_full;
#if SIZEOF_DATUM == 8
	if (ssup->abbreviate)
	{
		ssup->comparator = ssup_datum_unsigned_cmp;
		ssup->abbrev_converter = operators_abbreviate;
		ssup->abbrev_abort = operators_abort;
		ssup->abbrev_full_comparator = operators_sort_full;
	}
#endif
	PG_RETURN_VOID();
}

/* Hash of what operators_compare finds equal: the first bytes of the tag, which are uniform, or the bytes of what has none. */
static uint64
operators_hash(Datum value, uint64 seed)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	Envelope env;
	struct varlena *v;
	uint64 result;

	if (operators_read(value, prefix, &env))
	{
		memcpy(&result, env.tag, sizeof(result));
		result = pg_ntoh64(result);
		return seed == 0 ? result : hash_combine64(result, seed);
	}
	v = PG_DETOAST_DATUM_PACKED(value);
	result = hash_bytes_extended((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), seed);
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return result;
}

PG_FUNCTION_INFO_V1(enc_hash);
/* Hash support 1: base → int4, the low half of the extended hash under seed 0. */
Datum
enc_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) operators_hash(PG_GETARG_DATUM(0), 0));
}

PG_FUNCTION_INFO_V1(enc_hash_extended);
/* Hash support 2: (base, int8) → int8. */
Datum
enc_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_UINT64(operators_hash(PG_GETARG_DATUM(0), (uint64) PG_GETARG_INT64(1)));
}

/* ---- a plain value on one side, where the planner knew no declaration ---- */

/*
 * A value as it is against canonical plaintext: by tag where it has one, by
 * plaintext where it can be opened. ERROR IQ011 when nobody is active, IQ032
 * when the value is another organisation's and has no tag.
 */
static bool
operators_same_plain(Datum value, Datum plain, bool is_text)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(value, &len, &env);
	const PlainType *type = plain_type(env.type);
	uint8 *mine;
	size_t mine_len;
	const uint8 *theirs;
	size_t theirs_len;
	bool result;

	if (is_text)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(plain);

		theirs = type->from_text(VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), &theirs_len);
	}
	else
		theirs = type->from_datum(plain, &theirs_len);

	if (env.tag != NULL)
	{
		uint8 tag[ENVELOPE_TAG_BYTES];

		search_make_tag(probe_org(), env.type, env.domain, env.flags, theirs, theirs_len, tag);
		return memcmp(tag, env.tag, ENVELOPE_TAG_BYTES) == 0;
	}
	if (env.algorithm == ENVELOPE_UNSEALED)
		return env.body_len == theirs_len && memcmp(env.body, theirs, theirs_len) == 0;
	mine = value_open(buf, &env, probe_org(), &mine_len);
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_BINDING),
				 errmsg("value was sealed for another organisation, so it cannot be compared")));
	result = mine_len == theirs_len && memcmp(mine, theirs, mine_len) == 0;
	crypto_wipe(mine, mine_len);
	pfree(mine);
	return result;
}

#define OPERATORS_PLAIN(name, value, plain, is_text, test)                                         \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		PG_RETURN_BOOL(operators_same_plain(PG_GETARG_DATUM(value), PG_GETARG_DATUM(plain),        \
											is_text) == (test));                                   \
	}                                                                                              \
	extern int no_such_symbol

/* (base, text), (text, base), (base, plain), (plain, base) → bool: IQ011, IQ032 as above. */
PG_FUNCTION_INFO_V1(enc_eq_text_right);
OPERATORS_PLAIN(enc_eq_text_right, 0, 1, true, true);
PG_FUNCTION_INFO_V1(enc_ne_text_right);
OPERATORS_PLAIN(enc_ne_text_right, 0, 1, true, false);
PG_FUNCTION_INFO_V1(enc_eq_text_left);
OPERATORS_PLAIN(enc_eq_text_left, 1, 0, true, true);
PG_FUNCTION_INFO_V1(enc_ne_text_left);
OPERATORS_PLAIN(enc_ne_text_left, 1, 0, true, false);
PG_FUNCTION_INFO_V1(enc_eq_plain_right);
OPERATORS_PLAIN(enc_eq_plain_right, 0, 1, false, true);
PG_FUNCTION_INFO_V1(enc_ne_plain_right);
OPERATORS_PLAIN(enc_ne_plain_right, 0, 1, false, false);
PG_FUNCTION_INFO_V1(enc_eq_plain_left);
OPERATORS_PLAIN(enc_eq_plain_left, 1, 0, false, true);
PG_FUNCTION_INFO_V1(enc_ne_plain_left);
OPERATORS_PLAIN(enc_ne_plain_left, 1, 0, false, false);
