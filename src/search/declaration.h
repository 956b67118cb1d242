/*
 * What an expression of an enc type was declared for, and what the planner
 * puts in the place of a comparison.
 */
#ifndef IMMIIQ_DECLARATION_H
#define IMMIIQ_DECLARATION_H

#include "nodes/primnodes.h"
#include "search/catalog.h"

typedef enum DeclarationKind
{
	DECLARATION_NONE,	 /* no enc type */
	DECLARATION_UNKNOWN, /* an enc type without modifier: a parameter, a function's result, … */
	DECLARATION_SEALED,	 /* declared, but not for equality */
	DECLARATION_EQUALITY
} DeclarationKind;

typedef struct Declaration
{
	DeclarationKind kind;
	const CatalogType *type;
	int32 typmod;
} Declaration;

/* Of a scalar, looking through relabelling, domains and probes; of an array, by its elements. */
extern Declaration declaration_of(Node *expr);
extern Declaration declaration_of_array(Node *expr);
/* Of a type and modifier. */
extern Declaration declaration_of_type(Oid type, int32 typmod);

/* How an error names an expression: column "x" declared enc_text(7,equality). rtable may be NIL. */
extern char *declaration_describe(Node *expr, List *rtable);
/* ERROR IQ030: this operation needs what the expression was not declared for. */
extern void declaration_refuse(const char *operation, Node *expr, List *rtable,
							   DeclarationKind kind);

/*
 * The sides of a comparison so that (base, base) can compare them: true with
 * *left and *right replaced where a probe was needed, and then *base_operator
 * says that the operator on (base, base) is meant; false when nothing is to be
 * done. scalar_array: right is an array. keep_left: left may not become a probe.
 * ERROR IQ030 for what the declarations cannot do.
 */
extern bool declaration_bind(const CatalogOperator *oper, Node **left, Node **right,
							 bool scalar_array, bool keep_left, List *rtable);

/*
 * sealed @~ query, in the place of an operator of CATALOG_SEARCH: NULL when it
 * has to stay what it is. scalar_array: right is an array, of which any or all
 * have to match. ERROR IQ030 for what the column was not declared for.
 */
extern Node *declaration_bind_search(const CatalogOperator *oper, Node *left, Node *right,
									 bool scalar_array, bool any, List *rtable);

#endif /* IMMIIQ_DECLARATION_H */
