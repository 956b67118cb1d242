/*
 * How many rows a search will find.  Nothing is stored of the values: what is
 * looked for is counted in the indexes, at planning, by the tags and tokens of
 * the organisation that asks.  Trusts the planner for locks; gives the planner
 * numbers and raises nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/gin.h"
#include "access/gin_private.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "context/context.h"
#include "search/catalog.h"
#include "search/query_internal.h"
#include "search/search.h"
#include "search/value.h"

#define ESTIMATE_TAG_MAX	10000 /* a tag that is more frequent is counted no further */
#define ESTIMATE_TOKENS_MAX 8	  /* of a pattern or document, so many tokens are looked up */
#define ESTIMATE_STEPS_MAX	32	  /* and of a range, so many intervals */
#define ESTIMATE_COARSE                                                                            \
	0.25 /* an interval that is cut is looked into while it is more than this part of the rest */

/* ---- the organisation's part of a table ---- */

/* The column of rel that a condition compares with the active organisation, 0 where it does not. */
static AttrNumber
estimate_org_column(PlannerInfo *root, RelOptInfo *rel, Node *clause, const pg_uuid_t *org)
{
	OpExpr *op = (OpExpr *) clause;

	if (!IsA(clause, OpExpr) || op->opfuncid != F_UUID_EQ || list_length(op->args) != 2)
		return 0;
	for (int side = 0; side < 2; side++)
	{
		Var *var = list_nth(op->args, side);
		Const *value;

		if (!IsA(var, Var) || var->varno != rel->relid || var->varattno <= 0)
			continue;
		value = (Const *) estimate_expression_value(root, list_nth(op->args, 1 - side));
		if (IsA(value, Const) && !value->constisnull &&
			base_uuid_equal(DatumGetUUIDP(value->constvalue), org))
			return var->varattno;
	}
	return 0;
}

/*
 * What part of the rows are the active organisation's, as the conditions say;
 * *column is what they compare (0: nothing).  Tags and tokens imply the
 * organisation, so what they find is among these rows: without this, the
 * planner would multiply by the part twice.
 */
static double
estimate_org_share(PlannerInfo *root, RelOptInfo *rel, AttrNumber *column)
{
	const ContextIdentity *identity = context_current();
	double share = 1.0;
	ListCell *lc;

	*column = 0;
	if (identity == NULL || rel == NULL || rel->rtekind != RTE_RELATION)
		return share;
	foreach (lc, rel->baserestrictinfo)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, lc);
		AttrNumber found = estimate_org_column(root, rel, (Node *) info->clause, &identity->org);

		if (found == 0)
			continue;
		*column = found;
		/* A guess would do more harm than good. */
		if (!SearchSysCacheExists3(STATRELATTINH,
								   ObjectIdGetDatum(planner_rt_fetch(rel->relid, root)->relid),
								   Int16GetDatum(found),
								   BoolGetDatum(planner_rt_fetch(rel->relid, root)->inh)))
			continue;
		share = Min(share, clause_selectivity(root, (Node *) info, 0, JOIN_INNER, NULL));
	}
	return Max(share, 1.0 / Max(rel->tuples, 1.0));
}

/* ---- indexes ---- */

/* The column of an index that holds an attribute, -1 where none does. */
static int
estimate_index_column(IndexOptInfo *index, AttrNumber attno)
{
	for (int i = 0; i < index->nkeycolumns; i++)
	{
		if (index->indexkeys[i] == attno)
			return i;
	}
	return -1;
}

/*
 * The index that can count what a column is searched for; NULL without one.
 * *column tells where in it.  B-trees have the column first, or after that of
 * the organisation.
 */
static IndexOptInfo *
estimate_find_index(const VariableStatData *variable, Oid am, AttrNumber org, int *column)
{
	Var *var = (Var *) variable->var;
	RelOptInfo *rel = variable->rel;
	const CatalogType *type;
	ListCell *lc;

	if (var == NULL || !IsA(var, Var) || rel == NULL || rel->rtekind != RTE_RELATION ||
		rel->tuples < 1)
		return NULL;
	type = catalog_type(getBaseType(var->vartype));
	if (type == NULL)
		return NULL;
	foreach (lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, lc);

		*column = estimate_index_column(index, var->varattno);
		if (index->relam != am || index->hypothetical || index->indpred != NIL || *column < 0 ||
			index->opcintype[*column] != type->base)
			continue;
		if (am == GIN_AM_OID || *column == 0)
			return index;
		if (*column == 1 && org != 0 && index->indexkeys[0] == org && index->opcintype[0] == UUIDOID)
			return index;
	}
	return NULL;
}

/* Entries of a B-tree with a tag, and no more than ESTIMATE_TAG_MAX. */
static double
estimate_count_tag(PlannerInfo *root, const VariableStatData *variable, IndexOptInfo *info,
				   int column, const CatalogType *type, Datum probe, const pg_uuid_t *org)
{
	/* The planner has locked both. */
	Relation heap = table_open(planner_rt_fetch(variable->rel->relid, root)->relid, NoLock);
	Relation index = index_open(info->indexoid, NoLock);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	int n = 0;

	if (column == 1)
		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&keys[column], column + 1, BTEqualStrategyNumber, type->equal_function, probe);
	scan = index_beginscan(heap, index, SnapshotAny, NULL, column + 1, 0);
	index_rescan(scan, keys, column + 1, NULL, 0);
	while (n < ESTIMATE_TAG_MAX && index_getnext_tid(scan, ForwardScanDirection) != NULL)
		n++;
	index_endscan(scan);
	index_close(index, NoLock);
	table_close(heap, NoLock);
	return n;
}

/* A GIN index while its tokens are being counted. */
typedef struct EstimateTokens
{
	Relation index;
	GinState state;
	OffsetNumber attnum;
	int steps;
} EstimateTokens;

/* Items of a leaf of a posting tree: as dense as those in its first segment. */
static double
estimate_leaf_items(Page page)
{
	GinPostingList *segment = GinDataLeafPageGetPostingList(page);
	Size size = GinDataLeafPageGetPostingListSize(page);
	ItemPointer items;
	int n;

	if (!GinPageIsCompressed(page))
		return GinPageGetOpaque(page)->maxoff; /* as before PostgreSQL 9.4 */
	if (size == 0)
		return 0;
	items = ginPostingListDecode(segment, &n);
	pfree(items);
	return (double) n * size / SizeOfGinPostingList(segment);
}

/* Rows that an index has for a token, as GIN itself predicts it for its scans. */
static double
estimate_count_token(EstimateTokens *tokens, uint32 token)
{
	GinBtreeData entries;
	GinBtreeStack *stack;
	double result = 0;

	tokens->steps++;
	ginPrepareEntryScan(&entries, tokens->attnum, Int32GetDatum((int32) token), GIN_CAT_NORM_KEY,
						&tokens->state);
	stack = ginFindLeafPage(&entries, true, false);
	if (!entries.findItem(&entries, stack))
	{
		LockBuffer(stack->buffer, GIN_UNLOCK);
		freeGinBtreeStack(stack);
		return 0;
	}
	{
		Page page = BufferGetPage(stack->buffer);
		IndexTuple tuple = (IndexTuple) PageGetItem(page, PageGetItemId(page, stack->off));
		bool tree = GinIsPostingTree(tuple);
		BlockNumber root = tree ? GinGetPostingTree(tuple) : InvalidBlockNumber;

		if (!tree)
			result = GinGetNPosting(tuple);
		LockBuffer(stack->buffer, GIN_UNLOCK);
		freeGinBtreeStack(stack);
		if (tree)
		{
			GinBtreeData postings;

			stack = ginScanBeginPostingTree(&postings, tokens->index, root);
			result = stack->predictNumber * estimate_leaf_items(BufferGetPage(stack->buffer));
			LockBuffer(stack->buffer, GIN_UNLOCK);
			freeGinBtreeStack(stack);
		}
	}
	return result;
}

/* ---- ranges ---- */

/* One range on its line, while it is being looked into. */
typedef struct EstimateRange
{
	EstimateTokens *tokens;
	const SearchQuery *query;
	uint32 low;
	uint32 high;
	double found; /* rows in what was counted whole so far */
} EstimateRange;

static double
estimate_count_interval(EstimateRange *range, int level, uint32 index)
{
	TokenList list;

	tokens_start(&list, &range->query->org, range->query->type,
				 SearchTypmodDomain(range->query->typmod));
	tokens_add_one(&list, level, index);
	return estimate_count_token(range->tokens, list.values[0]);
}

/*
 * Adds what of an interval is in the range.  One that the range cuts is looked
 * into, quarter by quarter, while what is in it matters; else it is taken for
 * even.
 */
static void
estimate_add_interval(EstimateRange *range, int level, uint32 index, double inside)
{
	uint64 width = UINT64CONST(1) << (2 * level);
	uint64 first = (uint64) index * width;
	uint64 last = first + width - 1;
	uint64 from = Max(first, range->low);
	uint64 to = Min(last, range->high);
	double rows = inside >= 0 ? inside : estimate_count_interval(range, level, index);

	if ((from == first && to == last) || rows == 0)
	{
		range->found += rows;
		return;
	}
	if (level == 0 || rows <= ESTIMATE_COARSE * range->found || rows < 2 ||
		range->tokens->steps >= ESTIMATE_STEPS_MAX)
	{
		range->found += rows * (double) (to - from + 1) / (double) width;
		return;
	}
	/* Whole quarters first: against what they hold, the quarter that is cut may not matter. */
	for (int cut = 0; cut < 2; cut++)
	{
		for (int i = 0; i < 4; i++)
		{
			uint32 quarter = index * 4 + i;
			uint64 start = (uint64) quarter * (width / 4);
			uint64 end = start + width / 4 - 1;

			if (end < range->low || start > range->high ||
				(start < range->low || end > range->high) != (cut == 1))
				continue;
			estimate_add_interval(range, level - 1, quarter, -1);
		}
	}
}

/* Rows of a range, from the intervals that are about as wide. */
static double
estimate_range(EstimateTokens *tokens, const SearchQuery *query)
{
	EstimateRange range = {tokens, query, 0, 0, 0};
	int levels = tokens_levels(query->type);
	size_t at = sizeof(SearchQuery);
	size_t len;
	const uint8 *bytes;
	uint32 last = (uint32) ((UINT64CONST(1) << (2 * levels)) - 1);
	int level = 0;
	uint32 first_index;
	uint32 last_index;

	bytes = query_part(query, &at, &len);
	range.low = (query->flags & QUERY_HAS_LOW) != 0 ? tokens_point(query->type, bytes, len) : 0;
	bytes = query_part(query, &at, &len);
	range.high = (query->flags & QUERY_HAS_HIGH) != 0 ? tokens_point(query->type, bytes, len) : last;
	if (range.low > range.high)
		return 0;
	while (level < levels - 1 && (range.high >> (2 * level)) - (range.low >> (2 * level)) > 3)
		level++;
	first_index = range.low >> (2 * level);
	last_index = range.high >> (2 * level);
	for (uint64 index = (uint64) first_index + 1; index < last_index; index++)
		estimate_add_interval(&range, level, (uint32) index, -1);
	estimate_add_interval(&range, level, first_index, -1);
	if (last_index != first_index)
		estimate_add_interval(&range, level, last_index, -1);
	return range.found;
}

/* ---- patterns and documents ---- */

/* Characters of a pattern that are no wildcards. */
static int
estimate_literal_characters(const uint8 *pattern, size_t len)
{
	int n = 0;

	for (size_t i = 0; i < len; i++)
		n += pattern[i] != '%' && pattern[i] != '_' && (pattern[i] & 0xC0) != 0x80;
	return n;
}

/* What part of rows matches one pattern or document; tokens NULL where nothing can be counted. */
static double
estimate_part(EstimateTokens *tokens, const SearchQuery *query, Datum part, double rows)
{
	double result = 1.0;
	TokenList list;
	int looked_up;

	if (tokens == NULL)
	{
		/* A letter or two stand in many texts. */
		return query->op != QUERY_CONTAINS &&
					   estimate_literal_characters((const uint8 *) VARDATA(DatumGetPointer(part)),
												   VARSIZE(DatumGetPointer(part)) - VARHDRSZ) < 3
				   ? 0.1
				   : DEFAULT_MATCHING_SEL / 2;
	}
	query_part_tokens(&list, query, part);
	if (list.count == 0)
		return query->op == QUERY_CONTAINS ? 1.0 : 0.1;
	looked_up = Min(list.count, ESTIMATE_TOKENS_MAX);
	for (int i = 0; i < looked_up; i++)
	{
		/* Spread over the list, which is in no order that means anything. */
		uint32 token = list.values[(int64) i * list.count / looked_up];
		double one = Min(estimate_count_token(tokens, token) / rows, 1.0);

		/* The letters of a word come together, the entries of a document by themselves. */
		result = query->op == QUERY_CONTAINS ? result * one : Min(result, one);
	}
	return result;
}

/* What part of rows a query finds. */
static double
estimate_query(EstimateTokens *tokens, const SearchQuery *query, double rows)
{
	size_t at = sizeof(SearchQuery);
	double none = 1.0;
	double all = 1.0;

	if (query->op == QUERY_GE)
	{
		if (tokens != NULL)
			return estimate_range(tokens, query) / rows;
		return (query->flags & QUERY_HAS_LOW) != 0 && (query->flags & QUERY_HAS_HIGH) != 0
				   ? DEFAULT_RANGE_INEQ_SEL
				   : DEFAULT_INEQ_SEL;
	}
	for (int i = 0; i < query->parts; i++)
	{
		double one = estimate_part(tokens, query, query_datum(query, &at), rows);

		none *= 1.0 - one;
		all = Min(all, one);
	}
	return (query->flags & QUERY_ONE) != 0 ? 1.0 - none : all;
}

PG_FUNCTION_INFO_V1(enc_matchsel);
/* Restriction selectivity of @~: of a query known at planning, as its tokens are counted in the column's GIN index; else core's defaults. */
Datum
enc_matchsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List *args = (List *) PG_GETARG_POINTER(2);
	int relid = PG_GETARG_INT32(3);
	VariableStatData column;
	Node *other;
	bool on_left;
	double result = DEFAULT_MATCHING_SEL;

	if (!get_restriction_variable(root, args, relid, &column, &other, &on_left))
		PG_RETURN_FLOAT8(result);
	if (IsA(other, Const) && ((Const *) other)->constisnull)
		result = 0.0;
	else if (IsA(other, Const) && on_left)
	{
		/* With the column in the query (constant @> column), the constant is a document. */
		SearchQuery *query = (SearchQuery *) PG_DETOAST_DATUM(((Const *) other)->constvalue);
		AttrNumber org;
		double share = estimate_org_share(root, column.rel, &org);
		int at = 0;
		IndexOptInfo *info =
			query->typmod >= 0 ? estimate_find_index(&column, GIN_AM_OID, org, &at) : NULL;

		if (info != NULL)
		{
			EstimateTokens tokens = {.attnum = at + 1};

			tokens.index = index_open(info->indexoid, NoLock);
			initGinState(&tokens.state, tokens.index);
			result = estimate_query(&tokens, query, column.rel->tuples * share);
			index_close(tokens.index, NoLock);
		}
		else
		{
			result = estimate_query(NULL, query, 1.0);
			if (HeapTupleIsValid(column.statsTuple))
				result *= 1.0 - ((Form_pg_statistic) GETSTRUCT(column.statsTuple))->stanullfrac;
		}
	}
	ReleaseVariableStats(column);
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}

/* ---- equality ---- */

PG_FUNCTION_INFO_V1(enc_eqsel);
/*
 * Restriction selectivity of =: of a tag known at planning, as it is counted in
 * a B-tree on the column or on org_id and the column; else one of the distinct
 * values. Of the rows of an organisation where org_id is compared, too.
 */
Datum
enc_eqsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List *args = (List *) PG_GETARG_POINTER(2);
	int relid = PG_GETARG_INT32(3);
	const ContextIdentity *identity;
	VariableStatData column;
	Node *other;
	bool on_left;
	double result;
	int at = 0;
	IndexOptInfo *index;

	result = DatumGetFloat8(DirectFunctionCall4(eqsel, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
												PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)));
	if (!get_restriction_variable(root, args, relid, &column, &other, &on_left))
		PG_RETURN_FLOAT8(result);
	if (column.rel != NULL)
	{
		AttrNumber org;
		double share = estimate_org_share(root, column.rel, &org);
		uint8 prefix[VALUE_PREFIX_BYTES];
		Envelope env;

		result /= share;
		identity = context_current();
		if (identity != NULL && IsA(other, Const) && !((Const *) other)->constisnull &&
			value_read_prefix(((Const *) other)->constvalue, prefix, &env) &&
			env.algorithm == ENVELOPE_PROBE &&
			(index = estimate_find_index(&column, BTREE_AM_OID, org, &at)) != NULL &&
			!(index->unique && index->nkeycolumns == at + 1))
		{
			double n = estimate_count_tag(root, &column, index, at, catalog_type_by_code(env.type),
										  ((Const *) other)->constvalue, &identity->org);
			double counted = n / (column.rel->tuples * share);

			/* What was not counted to its end is at least that. */
			result = n < ESTIMATE_TAG_MAX ? counted : Max(result, counted);
		}
	}
	ReleaseVariableStats(column);
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}

PG_FUNCTION_INFO_V1(enc_eqjoinsel);
/* Join selectivity of =: as core has it, among the rows of the organisation that both sides are restricted to. */
Datum
enc_eqjoinsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List *args = (List *) PG_GETARG_POINTER(2);
	SpecialJoinInfo *sjinfo = (SpecialJoinInfo *) PG_GETARG_POINTER(4);
	VariableStatData left;
	VariableStatData right;
	AttrNumber org;
	bool reversed;
	double result;

	result = DatumGetFloat8(DirectFunctionCall5(eqjoinsel, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
												PG_GETARG_DATUM(2), PG_GETARG_DATUM(3),
												PG_GETARG_DATUM(4)));
	if (sjinfo->jointype == JOIN_SEMI || sjinfo->jointype == JOIN_ANTI)
		PG_RETURN_FLOAT8(result);
	get_join_variables(root, args, sjinfo, &left, &right, &reversed);
	result /=
		Max(estimate_org_share(root, left.rel, &org), estimate_org_share(root, right.rel, &org));
	ReleaseVariableStats(left);
	ReleaseVariableStats(right);
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}
