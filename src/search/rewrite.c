/*
 * What the planner has no support request for: IN and = ANY become arrays of
 * probes, and sorting, grouping and set operations on what was not declared
 * for them are refused.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/base.h"
#include "search/declaration.h"
#include "search/search.h"

/* Operators that pg_operator.h has no names for. */
#define OID_RECORD_NE_OP 2989
#define OID_RECORD_LE_OP 2992
#define OID_RECORD_GE_OP 2993
#define OID_ARRAY_NE_OP	 1071
#define OID_ARRAY_LE_OP	 1074
#define OID_ARRAY_GE_OP	 1075

/* ---- what is refused ---- */

/* The type whose equality operator this is, NULL when it is none of ours. */
static const CatalogType *
rewrite_equality_type(Oid oper)
{
	const CatalogOperator *found = OidIsValid(oper) ? catalog_operator(get_opcode(oper)) : NULL;

	return found != NULL && found->left == CATALOG_BASE && found->right == CATALOG_BASE ? found->type
																						: NULL;
}

static void
rewrite_refuse_order(Node *expr, List *rtable)
{
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_SEALED),
			 errmsg("ORDER BY cannot be used on %s", declaration_describe(expr, rtable)),
			 errhint(
				 "Cast it to the plain type, such as ORDER BY name::text: every value that is visible is then opened and sorted.")));
}

/* ---- rows and arrays, which are compared by what they consist of ---- */

/* True for a declaration that this comparison cannot do: an order never, equality without a tag. */
static bool
rewrite_part_refused(Declaration declaration, bool order)
{
	return declaration.kind == DECLARATION_SEALED || declaration.kind == DECLARATION_UNKNOWN ||
		   (order && declaration.kind == DECLARATION_EQUALITY);
}

/* What of a type cannot be compared, in words; NULL when all of it can. */
static char *
rewrite_type_part(Oid type, int32 typmod, bool order)
{
	Declaration declaration = declaration_of_type(type, typmod);
	char *found = NULL;
	TupleDesc desc;
	Oid element;

	if (declaration.type != NULL)
		return rewrite_part_refused(declaration, order)
				   ? format_type_with_typemod(declaration.type->type, declaration.typmod)
				   : NULL;
	type = getBaseTypeAndTypmod(type, &typmod);
	element = get_element_type(type);
	if (OidIsValid(element))
		return rewrite_type_part(element, typmod, order);
	if (!OidIsValid(get_typ_typrelid(type)))
		return NULL;
	desc = lookup_rowtype_tupdesc_noerror(type, -1, true);
	if (desc == NULL)
		return NULL;
	check_stack_depth();
	for (int i = 0; i < desc->natts && found == NULL; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		char *part;

		if (att->attisdropped)
			continue;
		part = rewrite_type_part(att->atttypid, att->atttypmod, order);
		if (part != NULL)
			found = psprintf("column \"%s\" (%s)", NameStr(att->attname), part);
	}
	ReleaseTupleDesc(desc);
	return found;
}

/* The same of an expression that may be a row or an array; NULL for scalars. */
static char *
rewrite_row_part(Node *expr, bool order, List *rtable)
{
	Oid type;
	List *parts = NIL;
	ListCell *lc;

	while (expr != NULL && IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	if (expr == NULL)
		return NULL;
	type = exprType(expr);
	if (IsA(expr, RowExpr))
		parts = ((RowExpr *) expr)->args;
	else if (IsA(expr, ArrayExpr))
		parts = ((ArrayExpr *) expr)->elements;
	else if (IsA(expr, Var) && ((Var *) expr)->varattno == InvalidAttrNumber &&
			 ((Var *) expr)->varlevelsup == 0 && ((Var *) expr)->varno <= list_length(rtable) &&
			 rt_fetch(((Var *) expr)->varno, rtable)->rtekind == RTE_SUBQUERY)
	{
		foreach (lc, rt_fetch(((Var *) expr)->varno, rtable)->subquery->targetList)
		{
			if (!lfirst_node(TargetEntry, lc)->resjunk)
				parts = lappend(parts, lfirst_node(TargetEntry, lc)->expr);
		}
		rtable = rt_fetch(((Var *) expr)->varno, rtable)->subquery->rtable;
	}
	else if (type_is_rowtype(type) || OidIsValid(get_base_element_type(type)))
		return rewrite_type_part(type, exprTypmod(expr), order);
	foreach (lc, parts)
	{
		char *found = rewrite_row_part(lfirst(lc), order, rtable);

		if (found == NULL && rewrite_part_refused(declaration_of(lfirst(lc)), order))
			found = declaration_describe(lfirst(lc), rtable);
		if (found != NULL)
			return found;
	}
	return NULL;
}

/* ERROR for a row or array with a part that cannot be compared. */
static void
rewrite_check_row(Node *expr, bool order, List *rtable, const char *what)
{
	char *part = rewrite_row_part(expr, order, rtable);

	if (part != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("%s cannot be used on a row or array with %s", what, part),
				 errhint(
					 "Name the columns that are meant, and cast sealed ones to the plain type.")));
}

/* The operators on rows and arrays as wholes: 0 for others, 1 for equality, 2 for order. */
static int
rewrite_row_operator(Oid oper)
{
	switch (oper)
	{
		case RECORD_EQ_OP:
		case OID_RECORD_NE_OP:
		case ARRAY_EQ_OP:
		case OID_ARRAY_NE_OP:
		case OID_ARRAY_OVERLAP_OP:
		case OID_ARRAY_CONTAINS_OP:
		case OID_ARRAY_CONTAINED_OP:
			return 1;
		case RECORD_LT_OP:
		case RECORD_GT_OP:
		case OID_RECORD_LE_OP:
		case OID_RECORD_GE_OP:
		case ARRAY_LT_OP:
		case ARRAY_GT_OP:
		case OID_ARRAY_LE_OP:
		case OID_ARRAY_GE_OP:
			return 2;
		default:
			return 0;
	}
}

/* Clauses that need equality of the values. */
static void
rewrite_check_grouping(List *clauses, List *targets, List *rtable, const char *what)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Node *expr;
		Declaration declaration;

		expr = get_sortgroupclause_expr(clause, targets);
		if (rewrite_row_operator(clause->eqop) != 0)
			rewrite_check_row(expr, false, rtable, what);
		if (rewrite_equality_type(clause->eqop) == NULL)
			continue;
		declaration = declaration_of(expr);
		if (declaration.kind == DECLARATION_SEALED || declaration.kind == DECLARATION_UNKNOWN)
			declaration_refuse(what, expr, rtable, declaration.kind);
	}
}

/* Clauses that need an order; what another clause groups by may stand here too. */
static void
rewrite_check_order(List *clauses, List *targets, List *also, List *rtable)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		ListCell *other;
		bool needed = false;

		if (rewrite_equality_type(clause->eqop) == NULL && rewrite_row_operator(clause->eqop) == 0)
			continue;
		foreach (other, also)
			needed |=
				lfirst_node(SortGroupClause, other)->tleSortGroupRef == clause->tleSortGroupRef;
		if (rewrite_equality_type(clause->eqop) == NULL)
			rewrite_check_row(get_sortgroupclause_expr(clause, targets), !needed, rtable,
							  "ORDER BY");
		else if (!needed)
			rewrite_refuse_order(get_sortgroupclause_expr(clause, targets), rtable);
	}
}

static void
rewrite_check_set_operation(Node *node, List *rtable)
{
	SetOperationStmt *set = (SetOperationStmt *) node;
	ListCell *type;
	ListCell *typmod;
	ListCell *clause;

	if (node == NULL || !IsA(node, SetOperationStmt))
		return;
	if (set->groupClauses != NIL)
	{
		forthree(type, set->colTypes, typmod, set->colTypmods, clause, set->groupClauses)
		{
			Declaration declaration = declaration_of_type(lfirst_oid(type), lfirst_int(typmod));

			if (rewrite_row_operator(lfirst_node(SortGroupClause, clause)->eqop) != 0)
			{
				char *part = rewrite_type_part(lfirst_oid(type), lfirst_int(typmod), false);

				if (part != NULL)
					ereport(ERROR,
							(errcode(ERRCODE_IMMIIQ_SEALED),
							 errmsg("UNION, INTERSECT and EXCEPT cannot be used on a row or array with %s",
									part),
							 errhint("Name the columns that are meant, or use UNION ALL.")));
			}
			if (rewrite_equality_type(lfirst_node(SortGroupClause, clause)->eqop) == NULL)
				continue;
			if (declaration.kind == DECLARATION_SEALED || declaration.kind == DECLARATION_UNKNOWN)
				ereport(ERROR,
						(errcode(ERRCODE_IMMIIQ_SEALED),
						 errmsg("%s cannot be used on sealed columns of different declarations, or not declared for equality",
								set->op == SETOP_UNION		 ? "UNION"
								: set->op == SETOP_INTERSECT ? "INTERSECT"
															 : "EXCEPT"),
						 errhint(
							 "Cast the columns to the plain type, such as text, or use UNION ALL.")));
		}
	}
	rewrite_check_set_operation(set->larg, rtable);
	rewrite_check_set_operation(set->rarg, rtable);
}

static void
rewrite_check_query(Query *query)
{
	ListCell *lc;

	rewrite_check_grouping(query->groupClause, query->targetList, query->rtable, "GROUP BY");
	rewrite_check_grouping(query->distinctClause, query->targetList, query->rtable, "DISTINCT");
	rewrite_check_order(query->sortClause, query->targetList,
						query->hasDistinctOn ? query->distinctClause : NIL, query->rtable);
	foreach (lc, query->windowClause)
	{
		WindowClause *window = lfirst_node(WindowClause, lc);

		rewrite_check_grouping(window->partitionClause, query->targetList, query->rtable,
							   "PARTITION BY");
		rewrite_check_order(window->orderClause, query->targetList, NIL, query->rtable);
	}
	rewrite_check_set_operation(query->setOperations, query->rtable);
}

typedef struct RewriteSearch
{
	List *rtable;
	bool found; /* something has to be rewritten */
} RewriteSearch;

/* Refuses what no rewriting helps, and finds out whether there is anything to rewrite. */
static bool
rewrite_check_walker(Node *node, void *context)
{
	RewriteSearch *search = context;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Query:
		{
			RewriteSearch inner = {((Query *) node)->rtable, false};

			rewrite_check_query((Query *) node);
			(void) query_tree_walker((Query *) node, rewrite_check_walker, &inner, 0);
			search->found |= inner.found;
			return false;
		}
		case T_ScalarArrayOpExpr:
			search->found |= catalog_operator(((ScalarArrayOpExpr *) node)->opfuncid) != NULL;
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		{
			OpExpr *op = (OpExpr *) node;
			int row = rewrite_row_operator(op->opno);

			if (row != 0)
			{
				rewrite_check_row(linitial(op->args), row == 2, search->rtable, "comparison");
				rewrite_check_row(lsecond(op->args), row == 2, search->rtable, "comparison");
			}
			if (!IsA(node, OpExpr))
				search->found |= catalog_operator(op->opfuncid) != NULL;
			break;
		}
		case T_Aggref:
		{
			Aggref *agg = (Aggref *) node;

			rewrite_check_grouping(agg->aggdistinct, agg->args, search->rtable, "DISTINCT");
			rewrite_check_order(agg->aggorder, agg->args, agg->aggdistinct, search->rtable);
			break;
		}
		case T_MinMaxExpr:
			if (catalog_type(getBaseType(exprType(node))) != NULL)
				rewrite_refuse_order(linitial(((MinMaxExpr *) node)->args), search->rtable);
			break;
		case T_RowCompareExpr:
		{
			RowCompareExpr *row = (RowCompareExpr *) node;
			ListCell *oper;
			ListCell *left;

			forboth (oper, row->opnos, left, row->largs)
			{
				if (rewrite_equality_type(lfirst_oid(oper)) != NULL)
					rewrite_refuse_order(lfirst(left), search->rtable);
			}
			break;
		}
		default:
			break;
	}
	return expression_tree_walker(node, rewrite_check_walker, search);
}

/* ---- what is rewritten ---- */

static Node *
rewrite_mutator(Node *node, void *context)
{
	List *rtable = context;
	const CatalogOperator *oper;
	Node *left;
	Node *right;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, rewrite_mutator,
										   ((Query *) node)->rtable, 0);

	node = expression_tree_mutator(node, rewrite_mutator, rtable);
	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *saop = (ScalarArrayOpExpr *) node;

		oper = catalog_operator(saop->opfuncid);
		if (oper == NULL)
			return node;
		left = linitial(saop->args);
		right = lsecond(saop->args);
		if (oper->kind == CATALOG_SEARCH)
		{
			Node *bound = declaration_bind_search(oper, left, right, true, saop->useOr, rtable);

			return bound != NULL ? bound : node;
		}
		if (declaration_bind(oper, &left, &right, true, false, rtable))
		{
			saop->opno = oper->kind == CATALOG_EQUAL ? oper->type->equal : oper->type->differ;
			saop->opfuncid = oper->kind == CATALOG_EQUAL ? oper->type->equal_function
														 : oper->type->differ_function;
			saop->hashfuncid = InvalidOid;
			saop->negfuncid = InvalidOid;
			saop->args = list_make2(left, right);
		}
	}
	else if (IsA(node, DistinctExpr) || IsA(node, NullIfExpr))
	{
		OpExpr *op = (OpExpr *) node;

		oper = catalog_operator(op->opfuncid);
		if (oper == NULL)
			return node;
		left = linitial(op->args);
		right = lsecond(op->args);
		if (declaration_bind(oper, &left, &right, false, IsA(node, NullIfExpr), rtable))
		{
			op->opno = oper->type->equal;
			op->opfuncid = oper->type->equal_function;
			op->args = list_make2(left, right);
		}
	}
	return node;
}

Query *
search_rewrite_query(Query *query)
{
	RewriteSearch search = {NIL, false};

	if (query->commandType == CMD_UTILITY || !catalog_present())
		return query;
	(void) rewrite_check_walker((Node *) query, &search);
	if (search.found)
		query = (Query *) rewrite_mutator((Node *) query, NIL);
	return query;
}

/* ---- functions that the planner has inlined ---- */

/* True when rewriting would still change something: IN over a list that is not yet of probes. */
static bool
rewrite_pending_walker(Node *node, void *context)
{
	List *rtable = context;

	if (node == NULL)
		return false;
	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *saop = (ScalarArrayOpExpr *) node;
		const CatalogOperator *oper = catalog_operator(saop->opfuncid);
		Node *left = linitial(saop->args);
		Node *right = lsecond(saop->args);

		if (oper != NULL && oper->kind == CATALOG_SEARCH)
			return declaration_bind_search(oper, left, right, true, saop->useOr, rtable) != NULL;
		if (oper != NULL && declaration_bind(oper, &left, &right, true, false, rtable))
			return true;
	}
	else if (IsA(node, DistinctExpr))
	{
		OpExpr *op = (OpExpr *) node;
		const CatalogOperator *oper = catalog_operator(op->opfuncid);
		Node *left = linitial(op->args);
		Node *right = lsecond(op->args);

		if (oper != NULL && declaration_bind(oper, &left, &right, false, false, rtable))
			return true;
	}
	return expression_tree_walker(node, rewrite_pending_walker, rtable);
}

static Node *
rewrite_pending(Node *expr, List *rtable)
{
	return rewrite_pending_walker(expr, rtable) ? rewrite_mutator(expr, rtable) : expr;
}

/* ---- two halves of a range ---- */

/* The call that makes the query of col @~ query(…, range operator), NULL for anything else. */
static FuncExpr *
rewrite_range_query(Node *qual)
{
	OpExpr *op = (OpExpr *) qual;
	FuncExpr *query;
	const CatalogType *type;
	Const *what;

	if (!IsA(qual, OpExpr) || list_length(op->args) != 2 || !IsA(lsecond(op->args), FuncExpr))
		return NULL;
	query = lsecond_node(FuncExpr, op->args);
	if (query->funcresulttype != catalog_query_type() || list_length(query->args) != 3 ||
		!IsA(lthird(query->args), Const))
		return NULL;
	type = catalog_type(getBaseType(exprType(linitial(op->args))));
	what = lthird_node(Const, query->args);
	if (type == NULL || type->matches != op->opno ||
		(DatumGetInt32(what->constvalue) & 0xFF) > QUERY_GT)
		return NULL;
	return query;
}

/*
 * Makes one condition of two on the same column, so that an index looks for
 * what is between and not for both halves.  At least that many conditions stay.
 */
static void
rewrite_merge(List *quals, int least)
{
	for (int i = 0; i < list_length(quals); i++)
	{
		OpExpr *first = list_nth(quals, i);
		FuncExpr *query = rewrite_range_query((Node *) first);

		for (int k = i + 1; query != NULL && k < list_length(quals); k++)
		{
			OpExpr *second = list_nth(quals, k);
			FuncExpr *other = rewrite_range_query((Node *) second);

			if (other == NULL || !equal(linitial(first->args), linitial(second->args)))
				continue;
			query = makeFuncExpr(catalog_query_and(), catalog_query_type(), list_make2(query, other),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
			lsecond(first->args) = query;
			list_nth_cell(quals, k)->ptr_value = makeBoolConst(true, false);
			break;
		}
	}
	for (int i = list_length(quals) - 1; i >= 0; i--)
	{
		Const *constant = list_nth(quals, i);

		if (IsA(constant, Const) && !constant->constisnull && DatumGetBool(constant->constvalue) &&
			list_length(quals) > least)
			quals = list_delete_nth_cell(quals, i);
	}
}

/* The same wherever conditions are joined by AND. */
static bool
rewrite_merge_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == AND_EXPR)
		rewrite_merge(((BoolExpr *) node)->args, 2); /* AND of one is no expression */
	return expression_tree_walker(node, rewrite_merge_walker, context);
}

static Node *
rewrite_conditions(Node *quals, List *rtable)
{
	quals = rewrite_pending(quals, rtable);
	if (quals != NULL && IsA(quals, List))
		rewrite_merge((List *) quals, 1);
	(void) rewrite_merge_walker(quals, NULL);
	return quals;
}

static void
rewrite_jointree(Node *node, List *rtable)
{
	ListCell *lc;

	if (node == NULL)
		return;
	if (IsA(node, FromExpr))
	{
		FromExpr *from = (FromExpr *) node;

		foreach (lc, from->fromlist)
			rewrite_jointree(lfirst(lc), rtable);
		from->quals = rewrite_conditions(from->quals, rtable);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) node;

		rewrite_jointree(join->larg, rtable);
		rewrite_jointree(join->rarg, rtable);
		join->quals = rewrite_conditions(join->quals, rtable);
	}
}

/*
 * The first moment after functions are inlined and constants folded, and before
 * conditions are handed to the relations: what inlining brought is rewritten here.
 */
void
search_rewrite_inlined(PlannerInfo *root)
{
	ListCell *lc;

	/* Only while the base relations are being built: later, conditions are with the relations. */
	if (root->all_baserels != NULL || !catalog_present())
		return;
	rewrite_jointree((Node *) root->parse->jointree, root->parse->rtable);
	foreach (lc, root->processed_tlist)
	{
		TargetEntry *target = lfirst_node(TargetEntry, lc);

		target->expr = (Expr *) rewrite_pending((Node *) target->expr, root->parse->rtable);
	}
	root->parse->havingQual = rewrite_pending(root->parse->havingQual, root->parse->rtable);
}

void
search_init(void)
{
	catalog_init();
}
