/*
 * OIDs of the enc types, their operators and probe functions.  Trusts names in
 * pg_catalog, where only a superuser can make objects.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "search/catalog.h"
#include "search/search.h"

#define CATALOG_TYPES	  7 /* type codes 1 to 7 */
#define CATALOG_OPERATORS (CATALOG_TYPES * 32)

static bool catalog_valid = false;
static bool catalog_complete = false;
static CatalogType catalog_types[CATALOG_TYPES];
static int catalog_type_count = 0;
static CatalogOperator catalog_operators[CATALOG_OPERATORS];
static int catalog_operator_count = 0;
static Oid catalog_query_type_oid;
static Oid catalog_query_list_oid;
static Oid catalog_query_and_oid;

/* The operators that become @~; those with the sealed value on the right are the commuted ones. */
static const struct
{
	const char *name;
	const char *commuted; /* NULL: only with the sealed value on the left, and text on the right */
	QueryOp query;
	bool negated;
	int32 words;
} catalog_searches[] = {
	{"<", ">", QUERY_LT, false, SEARCH_RANGE},
	{"<=", ">=", QUERY_LE, false, SEARCH_RANGE},
	{">=", "<=", QUERY_GE, false, SEARCH_RANGE},
	{">", "<", QUERY_GT, false, SEARCH_RANGE},
	{"~~", NULL, QUERY_LIKE, false, SEARCH_PREFIX | SEARCH_MATCH},
	{"!~~", NULL, QUERY_LIKE, true, SEARCH_PREFIX | SEARCH_MATCH},
	{"~~*", NULL, QUERY_ILIKE, false, SEARCH_PREFIX | SEARCH_MATCH},
	{"!~~*", NULL, QUERY_ILIKE, true, SEARCH_PREFIX | SEARCH_MATCH},
	{"^@", NULL, QUERY_STARTS, false, SEARCH_PREFIX | SEARCH_MATCH},
	{"@>", "<@", QUERY_CONTAINS, false, SEARCH_CONTAINS},
};

static void
catalog_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	catalog_valid = false;
}

void
catalog_init(void)
{
	CacheRegisterSyscacheCallback(TYPEOID, catalog_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, catalog_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, catalog_forget, (Datum) 0);
}

static Oid
catalog_function(const char *name, int nargs, const Oid *args)
{
	oidvector *vector = buildoidvector(args, nargs);
	Oid result = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
								 PointerGetDatum(vector), ObjectIdGetDatum(PG_CATALOG_NAMESPACE));

	pfree(vector);
	return result;
}

static Oid
catalog_find_operator(const char *name, Oid left, Oid right)
{
	return GetSysCacheOid4(OPERNAMENSP, Anum_pg_operator_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(left), ObjectIdGetDatum(right),
						   ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
}

static CatalogOperator *
catalog_add(const CatalogType *type, const char *name, CatalogKind kind, CatalogSide left,
			CatalogSide right)
{
	Oid sides[3];
	Oid oper;
	CatalogOperator *entry;

	sides[CATALOG_BASE] = type->base;
	sides[CATALOG_TEXT] = TEXTOID;
	sides[CATALOG_PLAIN] = type->plain->plain_type;
	oper = catalog_find_operator(name, sides[left], sides[right]);
	if (!OidIsValid(oper))
	{
		catalog_complete = false;
		return NULL;
	}
	entry = &catalog_operators[catalog_operator_count++];
	entry->function = get_opcode(oper);
	entry->kind = kind;
	entry->left = left;
	entry->right = right;
	entry->type = type;
	entry->name = name;
	entry->query = 0;
	entry->commuted = false;
	entry->negated = false;
	entry->words = 0;
	return entry;
}

/* One of catalog_searches against something, and the commuted one where there is one. */
static void
catalog_add_search(const CatalogType *type, int search, CatalogSide other, bool commuted)
{
	const char *name = commuted ? catalog_searches[search].commuted : catalog_searches[search].name;
	CatalogOperator *entry = name == NULL ? NULL
							 : commuted
								 ? catalog_add(type, name, CATALOG_SEARCH, other, CATALOG_BASE)
								 : catalog_add(type, name, CATALOG_SEARCH, CATALOG_BASE, other);

	if (entry == NULL)
		return;
	entry->commuted = commuted;
	entry->query = catalog_searches[search].query;
	entry->negated = catalog_searches[search].negated;
	entry->words = catalog_searches[search].words & type->plain->words;
}

/* What a type has beyond equality. */
static bool
catalog_fill_searches(CatalogType *type)
{
	Oid args[3] = {InvalidOid, INT4OID, INT4OID};
	const Oid sides[] = {type->base, TEXTOID, type->plain->plain_type};
	bool has[] = {(type->plain->words & SEARCH_CONTAINS) != 0, true,
				  type->plain->plain_type != TEXTOID};

	type->matches = catalog_find_operator("@~", type->base, catalog_query_type_oid);
	if (!OidIsValid(type->matches))
		return false;
	type->matches_function = get_opcode(type->matches);
	for (int side = CATALOG_BASE; side <= CATALOG_PLAIN; side++)
	{
		if (!has[side])
			continue;
		args[0] = sides[side];
		type->query[side] = catalog_function("enc_query", 3, args);
		if (!OidIsValid(type->query[side]))
			return false;
		for (int i = 0; i < lengthof(catalog_searches); i++)
		{
			if ((catalog_searches[i].words & type->plain->words) == 0)
				continue;
			catalog_add_search(type, i, side, false);
			catalog_add_search(type, i, side, true);
		}
	}
	return true;
}

/* Fills one type; false when an object of it is not there (yet). */
static bool
catalog_fill(CatalogType *type, const PlainType *plain)
{
	static const char *const order[] = {"<", "<=", ">=", ">"};
	Oid args[2];
	char name[NAMEDATALEN];

	memset(type, 0, sizeof(*type));
	type->plain = plain;
	type->type = base_type(plain->type_name);
	type->base = base_type(plain->base_name);
	if (!OidIsValid(type->type) || !OidIsValid(type->base))
		return false;
	type->type_array = get_array_type(type->type);
	type->base_array = get_array_type(type->base);

	snprintf(name, sizeof(name), "%s_probe", plain->type_name);
	for (int side = CATALOG_BASE; side <= CATALOG_PLAIN; side++)
	{
		Oid element = side == CATALOG_BASE	 ? type->base
					  : side == CATALOG_TEXT ? TEXTOID
											 : plain->plain_type;

		if (side == CATALOG_PLAIN && plain->plain_type == TEXTOID)
			continue;
		args[1] = INT4OID;
		args[0] = element;
		type->probe[side] = catalog_function(name, 2, args);
		args[0] = get_array_type(element);
		type->probe_array[side] = catalog_function(name, 2, args);
		if (!OidIsValid(type->probe[side]) || !OidIsValid(type->probe_array[side]))
			return false;
	}
	type->equal = catalog_find_operator("=", type->base, type->base);
	type->differ = catalog_find_operator("<>", type->base, type->base);
	if (!OidIsValid(type->equal) || !OidIsValid(type->differ))
		return false;
	type->equal_function = get_opcode(type->equal);
	type->differ_function = get_opcode(type->differ);
	for (int i = 0; i < lengthof(order); i++)
		catalog_add(type, order[i], CATALOG_ORDER, CATALOG_BASE, CATALOG_BASE);
	for (int k = CATALOG_EQUAL; k <= CATALOG_DIFFER; k++)
	{
		const char *oper = k == CATALOG_EQUAL ? "=" : "<>";

		catalog_add(type, oper, k, CATALOG_BASE, CATALOG_BASE);
		catalog_add(type, oper, k, CATALOG_BASE, CATALOG_TEXT);
		catalog_add(type, oper, k, CATALOG_TEXT, CATALOG_BASE);
		if (plain->plain_type != TEXTOID)
		{
			catalog_add(type, oper, k, CATALOG_BASE, CATALOG_PLAIN);
			catalog_add(type, oper, k, CATALOG_PLAIN, CATALOG_BASE);
		}
	}
	if ((plain->words & ~(SEARCH_EQUALITY | SEARCH_FOLD)) != 0 && !catalog_fill_searches(type))
		return false;
	return catalog_complete;
}

/* What the types share. */
static bool
catalog_fill_query(void)
{
	Oid args[3] = {TEXTARRAYOID, INT4OID, INT4OID};

	catalog_query_type_oid = base_type("enc_query");
	if (!OidIsValid(catalog_query_type_oid))
		return false;
	catalog_query_list_oid = catalog_function("enc_query", 3, args);
	args[0] = args[1] = catalog_query_type_oid;
	catalog_query_and_oid = catalog_function("enc_query_and", 2, args);
	return OidIsValid(catalog_query_list_oid) && OidIsValid(catalog_query_and_oid);
}

bool
catalog_present(void)
{
	const PlainType *plain;

	while (!catalog_valid)
	{
		/* A look-up may bring an invalidation: then it is done again. */
		catalog_valid = true;
		catalog_complete = catalog_fill_query();
		catalog_type_count = 0;
		catalog_operator_count = 0;
		for (int i = 0; catalog_complete && (plain = plain_type_at(i)) != NULL; i++)
		{
			if (!catalog_fill(&catalog_types[catalog_type_count++], plain))
			{
				catalog_complete = false;
				break;
			}
		}
	}
	return catalog_complete;
}

const CatalogType *
catalog_type(Oid type)
{
	if (!OidIsValid(type) || !catalog_present())
		return NULL;
	for (int i = 0; i < catalog_type_count; i++)
	{
		if (catalog_types[i].type == type || catalog_types[i].base == type)
			return &catalog_types[i];
	}
	return NULL;
}

const CatalogType *
catalog_array_type(Oid type)
{
	if (!OidIsValid(type) || !catalog_present())
		return NULL;
	for (int i = 0; i < catalog_type_count; i++)
	{
		if (catalog_types[i].type_array == type || catalog_types[i].base_array == type)
			return &catalog_types[i];
	}
	return NULL;
}

const CatalogType *
catalog_type_by_code(uint8 code)
{
	if (!catalog_present())
		return NULL;
	for (int i = 0; i < catalog_type_count; i++)
	{
		if (catalog_types[i].plain->code == code)
			return &catalog_types[i];
	}
	return NULL;
}

const CatalogOperator *
catalog_operator(Oid function)
{
	if (!OidIsValid(function) || !catalog_present())
		return NULL;
	for (int i = 0; i < catalog_operator_count; i++)
	{
		if (catalog_operators[i].function == function)
			return &catalog_operators[i];
	}
	return NULL;
}

const CatalogType *
catalog_probe(Oid function)
{
	if (!OidIsValid(function) || !catalog_present())
		return NULL;
	for (int i = 0; i < catalog_type_count; i++)
	{
		for (int side = CATALOG_BASE; side <= CATALOG_PLAIN; side++)
		{
			if (catalog_types[i].probe[side] == function ||
				catalog_types[i].probe_array[side] == function)
				return &catalog_types[i];
		}
	}
	return NULL;
}

Oid
catalog_query_type(void)
{
	return catalog_present() ? catalog_query_type_oid : InvalidOid;
}

Oid
catalog_query_list(void)
{
	return catalog_query_list_oid;
}

Oid
catalog_query_and(void)
{
	return catalog_query_and_oid;
}
