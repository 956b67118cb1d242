/*
 * What an expression of an enc type was declared for.  Trusts type modifiers;
 * refuses comparisons that could only ever be false.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "search/declaration.h"
#include "search/search.h"

/* What binds two values of which neither is declared: equality of the whole value, in no column's domain. */
#define DECLARATION_NEUTRAL SEARCH_EQUALITY

/* The longest list that is bound element by element; longer ones are remembered as a whole. */
#define DECLARATION_LIST 8

Declaration
declaration_of_type(Oid type, int32 typmod)
{
	Declaration result = {DECLARATION_NONE, NULL, -1};
	Oid base = type;

	result.type = catalog_type(type);
	if (result.type == NULL)
	{
		base = getBaseTypeAndTypmod(type, &typmod);
		result.type = base != type ? catalog_type(base) : NULL;
	}
	if (result.type == NULL)
		return result;
	result.typmod = typmod;
	result.kind = typmod < 0						? DECLARATION_UNKNOWN
				  : (typmod & SEARCH_EQUALITY) != 0 ? DECLARATION_EQUALITY
													: DECLARATION_SEALED;
	return result;
}

/* The modifier that a probe function was called with, -1 when expr is no probe. */
static int32
declaration_of_probe(Node *expr)
{
	FuncExpr *call = (FuncExpr *) expr;
	Const *typmod;

	if (!IsA(expr, FuncExpr) || list_length(call->args) != 2 || !IsA(lsecond(call->args), Const) ||
		catalog_probe(call->funcid) == NULL)
		return -1;
	typmod = lsecond_node(Const, call->args);
	return typmod->constisnull ? -1 : DatumGetInt32(typmod->constvalue);
}

/* Looks through what only renames the type. */
static Node *
declaration_strip(Node *expr)
{
	while (expr != NULL)
	{
		if (IsA(expr, RelabelType))
			expr = (Node *) ((RelabelType *) expr)->arg;
		else if (IsA(expr, ArrayCoerceExpr) &&
				 catalog_array_type(((ArrayCoerceExpr *) expr)->resulttype) != NULL &&
				 IsA(((ArrayCoerceExpr *) expr)->elemexpr, RelabelType))
			expr = (Node *) ((ArrayCoerceExpr *) expr)->arg;
		else
			break;
	}
	return expr;
}

Declaration
declaration_of(Node *expr)
{
	int32 typmod;

	expr = declaration_strip(expr);
	typmod = declaration_of_probe(expr);
	return declaration_of_type(exprType(expr), typmod >= 0 ? typmod : exprTypmod(expr));
}

/* Of the elements of a list: what all of them are declared as, unknown when they differ. */
static Declaration
declaration_of_list(List *elements)
{
	Declaration result = {DECLARATION_NONE, NULL, -1};
	ListCell *lc;

	foreach (lc, elements)
	{
		Declaration element = declaration_of(lfirst(lc));

		if (lc == list_head(elements))
			result = element;
		else if (element.kind != result.kind || element.typmod != result.typmod)
		{
			result.kind = result.type != NULL ? DECLARATION_UNKNOWN : DECLARATION_NONE;
			result.typmod = -1;
			break;
		}
	}
	return result;
}

Declaration
declaration_of_array(Node *expr)
{
	Declaration none = {DECLARATION_NONE, NULL, -1};
	int32 typmod;
	Oid element;

	expr = declaration_strip(expr);
	if (IsA(expr, ArrayExpr) && !((ArrayExpr *) expr)->multidims)
		return declaration_of_list(((ArrayExpr *) expr)->elements);
	typmod = declaration_of_probe(expr);
	element = get_base_element_type(exprType(expr));
	if (!OidIsValid(element))
		return none;
	return declaration_of_type(element, typmod >= 0 ? typmod : exprTypmod(expr));
}

char *
declaration_describe(Node *expr, List *rtable)
{
	Declaration declaration;
	const char *name = NULL;
	char *type;

	expr = declaration_strip(expr);
	declaration = declaration_of(expr);
	if (IsA(expr, Var))
	{
		Var *var = (Var *) expr;

		if (var->varlevelsup == 0 && var->varno > 0 && var->varno <= list_length(rtable) &&
			var->varattno > 0)
		{
			RangeTblEntry *rte = rt_fetch(var->varno, rtable);

			if (rte->eref != NULL && var->varattno <= list_length(rte->eref->colnames))
				name = strVal(list_nth(rte->eref->colnames, var->varattno - 1));
		}
	}
	if (declaration.type == NULL)
		type = format_type_be(exprType(expr));
	else
		type = format_type_with_typemod(declaration.type->type, declaration.typmod);
	if (name != NULL)
		return psprintf("column \"%s\" (%s)", name, type);
	return psprintf("an expression of type %s", type);
}

void
declaration_refuse(const char *operation, Node *expr, List *rtable, DeclarationKind kind)
{
	const char *description = declaration_describe(expr, rtable);

	if (kind == DECLARATION_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("%s cannot be used on %s, which has no declaration", operation, description),
				 errhint(
					 "Cast it to the declaration of its column, such as enc_text(7,equality), or to the plain type, such as text.")));
	if ((declaration_of(expr).type->plain->words & SEARCH_EQUALITY) == 0)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SEALED),
						errmsg("%s cannot be used on %s", operation, description),
						errhint("Cast it to the plain type, such as jsonb.")));
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_SEALED),
			 errmsg("%s cannot be used on %s", operation, description),
			 errhint(
				 "Declare the column with the word equality, or cast it to the plain type, such as text.")));
}

/* probe(expr, typmod) for one side of a comparison. */
static Node *
declaration_probe(const CatalogType *type, CatalogSide side, Node *expr, int32 typmod)
{
	Const *modifier =
		makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(typmod), false, true);

	return (Node *) makeFuncExpr(type->probe[side], type->base, list_make2(expr, modifier),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* The type that the probe functions take on one side. */
static Oid
declaration_side_type(const CatalogType *type, CatalogSide side)
{
	return side == CATALOG_BASE	  ? type->base
		   : side == CATALOG_TEXT ? TEXTOID
								  : type->plain->plain_type;
}

/*
 * An array of probes.  A short list is bound element by element, so that each is
 * estimated and leak-checked as a comparison with = would be; any other array
 * goes through the function on arrays.  Casts of arrays that only rename the
 * element type become plain relabelling: the planner takes the others for leaky.
 */
static Node *
declaration_probe_array(const CatalogType *type, CatalogSide side, Node *expr, int32 typmod)
{
	Oid side_type = declaration_side_type(type, side);
	Oid side_array = side == CATALOG_BASE ? type->base_array : get_array_type(side_type);
	bool renamed = false;
	Const *modifier;

	while (IsA(expr, ArrayCoerceExpr) && IsA(((ArrayCoerceExpr *) expr)->elemexpr, RelabelType) &&
		   IsA(((RelabelType *) ((ArrayCoerceExpr *) expr)->elemexpr)->arg, CaseTestExpr))
	{
		expr = (Node *) ((ArrayCoerceExpr *) expr)->arg;
		renamed = true;
	}
	if (IsA(expr, ArrayExpr) && !((ArrayExpr *) expr)->multidims)
	{
		ArrayExpr *list = makeNode(ArrayExpr);
		bool together = list_length(((ArrayExpr *) expr)->elements) > DECLARATION_LIST;
		ListCell *lc;

		*list = *(ArrayExpr *) expr;
		list->array_typeid = together ? side_array : type->base_array;
		list->array_collid = get_typcollation(list->array_typeid);
		list->element_typeid = together ? side_type : type->base;
		list->elements = NIL;
		foreach (lc, ((ArrayExpr *) expr)->elements)
		{
			Node *element = lfirst(lc);

			if (exprType(element) != side_type)
				element =
					(Node *) makeRelabelType((Expr *) element, side_type, -1,
											 get_typcollation(side_type), COERCE_IMPLICIT_CAST);
			list->elements =
				lappend(list->elements,
						together ? element : declaration_probe(type, side, element, typmod));
		}
		if (!together)
			return (Node *) list;
		expr = (Node *) list;
	}
	else if (renamed)
		expr = (Node *) makeRelabelType((Expr *) expr, side_array, -1, get_typcollation(side_array),
										COERCE_IMPLICIT_CAST);
	modifier = makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(typmod), false, true);
	return (Node *) makeFuncExpr(type->probe_array[side], type->base_array,
								 list_make2(expr, modifier), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* Either of the two. */
static Node *
declaration_probe_side(const CatalogType *type, CatalogSide side, bool is_array, Node *expr,
					   int32 typmod)
{
	return is_array ? declaration_probe_array(type, side, expr, typmod)
					: declaration_probe(type, side, expr, typmod);
}

bool
declaration_bind(const CatalogOperator *oper, Node **left, Node **right, bool scalar_array,
				 bool keep_left, List *rtable)
{
	const char *name = oper->kind == CATALOG_EQUAL	  ? "="
					   : oper->kind == CATALOG_DIFFER ? "<>"
													  : "<";
	Declaration l;
	Declaration r;
	bool changed = false;

	if (oper->kind == CATALOG_ORDER)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("sealed values have no order that can be compared"),
				 errdetail("The left side is %s.", declaration_describe(*left, rtable)),
				 errhint(
					 "Cast it to the plain type, such as text or date: every value that is visible is then opened.")));

	if (oper->left != CATALOG_BASE || oper->right != CATALOG_BASE)
	{
		/* A plain value on one side. */
		bool sealed_left = oper->left == CATALOG_BASE;
		Node *sealed = sealed_left ? *left : *right;
		Declaration declaration =
			!sealed_left && scalar_array ? declaration_of_array(sealed) : declaration_of(sealed);

		if (declaration.kind == DECLARATION_SEALED)
			declaration_refuse(name, sealed, rtable, declaration.kind);
		if (declaration.kind != DECLARATION_EQUALITY || (keep_left && !sealed_left))
			return false; /* the operator's own function works it out for each value */
		if (sealed_left)
			*right = declaration_probe_side(declaration.type, oper->right, scalar_array, *right,
											declaration.typmod);
		else
			*left = declaration_probe(declaration.type, oper->left, *left, declaration.typmod);
		return true;
	}

	l = declaration_of(*left);
	r = scalar_array ? declaration_of_array(*right) : declaration_of(*right);
	if (l.kind == DECLARATION_SEALED)
		declaration_refuse(name, *left, rtable, l.kind);
	if (r.kind == DECLARATION_SEALED)
		declaration_refuse(name, *right, rtable, r.kind);
	if (l.kind == DECLARATION_EQUALITY && r.kind == DECLARATION_EQUALITY)
	{
		if (l.typmod != r.typmod)
			ereport(ERROR,
					(errcode(ERRCODE_IMMIIQ_SEALED),
					 errmsg("%s cannot compare sealed values of different declarations", name),
					 errdetail("The left side is %s, the right side is %s.",
							   declaration_describe(*left, rtable),
							   declaration_describe(*right, rtable)),
					 errhint(
						 "Declare both columns with the same domain and words, or cast both to the plain type.")));
		return false;
	}
	if (l.kind == DECLARATION_EQUALITY)
	{
		*right = declaration_probe_side(l.type, CATALOG_BASE, scalar_array, *right, l.typmod);
		return true;
	}
	if (keep_left)
		return false;
	if (r.kind != DECLARATION_EQUALITY)
	{
		*right = declaration_probe_side(oper->type, CATALOG_BASE, scalar_array, *right,
										DECLARATION_NEUTRAL);
		changed = true;
	}
	*left = declaration_probe(oper->type, CATALOG_BASE, *left,
							  changed ? DECLARATION_NEUTRAL : r.typmod);
	return true;
}

/* The words that an operator needs one of, as a hint names them. */
static const char *
declaration_words(int32 words)
{
	return (words & SEARCH_RANGE) != 0		? "range"
		   : (words & SEARCH_CONTAINS) != 0 ? "contains"
											: "match (or prefix, where patterns begin with text)";
}

Node *
declaration_bind_search(const CatalogOperator *oper, Node *left, Node *right, bool scalar_array,
						bool any, List *rtable)
{
	bool sealed_left = !oper->commuted;
	Node *sealed = sealed_left ? left : right;
	Node *other = sealed_left ? right : left;
	CatalogSide side = sealed_left ? oper->right : oper->left;
	Declaration declaration =
		!sealed_left && scalar_array ? declaration_of_array(sealed) : declaration_of(sealed);
	const CatalogType *type = oper->type;
	int32 what = QueryWhat(oper->query, type->plain->code);
	Oid constructor = type->query[side];
	List *args;
	Node *result;

	if (declaration.typmod >= 0 && (declaration.typmod & oper->words) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("operator %s cannot be used on %s", oper->name,
						declaration_describe(sealed, rtable)),
				 errhint("Declare the column with the word %s, or cast it to the plain type, %s.",
						 declaration_words(oper->words), format_type_be(type->plain->plain_type))));
	if (scalar_array)
	{
		/* Lists are for patterns; other lists are gone through one by one. */
		if (!sealed_left || side != CATALOG_TEXT || type->plain->plain_type != TEXTOID)
			return NULL;
		constructor = catalog_query_list();
		/* NOT LIKE ALL is NOT (LIKE ANY), and NOT LIKE ANY is NOT (LIKE ALL). */
		what |= any != oper->negated ? QUERY_ANY : QUERY_ALL;
	}
	args = list_make3(other,
					  makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
								Int32GetDatum(declaration.typmod), false, true),
					  makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(what), false,
								true));
	result = (Node *) makeFuncExpr(constructor, catalog_query_type(), args, InvalidOid,
								   DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
	result = (Node *) make_opclause(type->matches, BOOLOID, false, (Expr *) sealed, (Expr *) result,
									InvalidOid, InvalidOid);
	((OpExpr *) result)->opfuncid = type->matches_function;
	return oper->negated ? (Node *) make_notclause((Expr *) result) : result;
}
