/*
 * Planner support of the operators' functions: puts a probe in the place of
 * what a column is compared with, so that indexes serve it.  Refuses what the
 * declarations cannot do.
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"

#include "search/declaration.h"

PG_FUNCTION_INFO_V1(enc_support);
/* internal → internal: SupportRequestSimplify only. ERROR IQ030 at planning. */
Datum
enc_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestSimplify *simplify;
	const CatalogOperator *oper;
	Node *left;
	Node *right;
	OpExpr *result;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	simplify = (SupportRequestSimplify *) request;
	oper = catalog_operator(simplify->fcall->funcid);
	if (oper == NULL || list_length(simplify->fcall->args) != 2)
		PG_RETURN_POINTER(NULL);
	left = linitial(simplify->fcall->args);
	right = lsecond(simplify->fcall->args);
	if (oper->kind == CATALOG_SEARCH)
		PG_RETURN_POINTER(
			declaration_bind_search(oper, left, right, false, false,
									simplify->root != NULL ? simplify->root->parse->rtable : NIL));
	if (!declaration_bind(oper, &left, &right, false, false,
						  simplify->root != NULL ? simplify->root->parse->rtable : NIL))
		PG_RETURN_POINTER(NULL);
	result = (OpExpr *) make_opclause(oper->kind == CATALOG_EQUAL ? oper->type->equal
																  : oper->type->differ,
									  simplify->fcall->funcresulttype, false, (Expr *) left,
									  (Expr *) right, InvalidOid, InvalidOid);
	result->opfuncid =
		oper->kind == CATALOG_EQUAL ? oper->type->equal_function : oper->type->differ_function;
	PG_RETURN_POINTER(result);
}
