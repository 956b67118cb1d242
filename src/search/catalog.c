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

#define CATALOG_TYPES	  7 /* type codes 1 to 7 */
#define CATALOG_OPERATORS (CATALOG_TYPES * 16)

static bool catalog_valid = false;
static bool catalog_complete = false;
static CatalogType catalog_types[CATALOG_TYPES];
static int catalog_type_count = 0;
static CatalogOperator catalog_operators[CATALOG_OPERATORS];
static int catalog_operator_count = 0;

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

static void
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
		return;
	}
	entry = &catalog_operators[catalog_operator_count++];
	entry->function = get_opcode(oper);
	entry->kind = kind;
	entry->left = left;
	entry->right = right;
	entry->type = type;
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
	return catalog_complete;
}

bool
catalog_present(void)
{
	const PlainType *plain;

	while (!catalog_valid)
	{
		/* A look-up may bring an invalidation: then it is done again. */
		catalog_valid = true;
		catalog_complete = true;
		catalog_type_count = 0;
		catalog_operator_count = 0;
		for (int i = 0; (plain = plain_type_at(i)) != NULL; i++)
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
