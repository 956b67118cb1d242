/*
 * OIDs of the enc types, their operators and probe functions, found by name in
 * pg_catalog and forgotten when the catalog changes.
 */
#ifndef IMMIIQ_CATALOG_H
#define IMMIIQ_CATALOG_H

#include "search/plain.h"
#include "search/query.h"

/* What stands on one side of an operator. */
typedef enum CatalogSide
{
	CATALOG_BASE, /* the hidden type */
	CATALOG_TEXT,
	CATALOG_PLAIN /* the plain type, where that is not text */
} CatalogSide;

typedef enum CatalogKind
{
	CATALOG_EQUAL,
	CATALOG_DIFFER,
	CATALOG_ORDER, /* <, <=, >=, > on two sealed values: for indexes and sorting only */
	CATALOG_SEARCH /* whatever becomes @~ */
} CatalogKind;

typedef struct CatalogType
{
	const PlainType *plain;
	Oid type; /* enc_text */
	Oid base; /* enc_text_base */
	Oid type_array;
	Oid base_array;
	Oid equal; /* operators on (base, base) */
	Oid differ;
	Oid equal_function;
	Oid differ_function;
	Oid probe[3]; /* by CatalogSide; 0 where there is none */
	Oid probe_array[3];
	Oid matches; /* (base) @~ enc_query; 0 where the type has no tokens */
	Oid matches_function;
	Oid query[3]; /* constructors of enc_query, by CatalogSide; 0 where there is none */
} CatalogType;

typedef struct CatalogOperator
{
	Oid function;
	CatalogKind kind;
	CatalogSide left;
	CatalogSide right;
	const CatalogType *type;
	const char *name;
	QueryOp query; /* CATALOG_SEARCH: what is looked for */
	bool commuted; /* in the value on the right */
	bool negated;
	int32 words; /* CATALOG_SEARCH: SEARCH_…, of which the column needs one */
} CatalogOperator;

extern void catalog_init(void);
/* False while the extension is not in this database. */
extern bool catalog_present(void);
/* By OID of an enc type or its base type; NULL for any other. Domains and arrays are not looked through. */
extern const CatalogType *catalog_type(Oid type);
/* By OID of an array type over one of them. */
extern const CatalogType *catalog_array_type(Oid type);
extern const CatalogType *catalog_type_by_code(uint8 code);
/* What an operator's function does, NULL when it is not ours. */
extern const CatalogOperator *catalog_operator(Oid function);
/* The type enc_query, the constructor of one from a list of patterns, and enc_query_and. */
extern Oid catalog_query_type(void);
extern Oid catalog_query_list(void);
extern Oid catalog_query_and(void);
/* The type whose probe function this is, NULL when it is none. */
extern const CatalogType *catalog_probe(Oid function);

#endif /* IMMIIQ_CATALOG_H */
