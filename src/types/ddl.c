/*
 * What DDL may not do with sealed types: columns without a declaration, indexes
 * on what cannot be compared, conditions that a restore without keys could not
 * check.  Trusts the catalog rows just written; runs inside the statement, so
 * that nothing of it is left.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/base.h"
#include "search/declaration.h"
#include "search/search.h"
#include "search/value.h"
#include "types/types.h"

/* One row of a catalog by one or two keys, as this statement has written it; a copy, or NULL. */
static HeapTuple
ddl_fetch(Oid catalog, Oid index, AttrNumber key, Oid oid, AttrNumber key2, int16 number,
		  TupleDesc *desc)
{
	Relation rel = table_open(catalog, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], key, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	if (key2 != 0)
		ScanKeyInit(&keys[1], key2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(number));
	scan = systable_beginscan(rel, index, true, SnapshotSelf, key2 != 0 ? 2 : 1, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	if (desc != NULL)
		*desc = CreateTupleDescCopy(RelationGetDescr(rel));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tuple;
}

/* The declaration of a column's type, through domains and arrays. */
static Declaration
ddl_declaration(Oid type, int32 typmod)
{
	Declaration declaration = declaration_of_type(type, typmod);
	Oid element;

	if (declaration.kind != DECLARATION_NONE)
		return declaration;
	type = getBaseTypeAndTypmod(type, &typmod);
	element = get_element_type(type);
	return OidIsValid(element) ? declaration_of_type(element, typmod) : declaration;
}

/* The expression in one column of a catalog row, NULL when there is none. */
static Node *
ddl_expression(HeapTuple tuple, TupleDesc desc, AttrNumber attribute)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attribute, desc, &isnull);

	return isnull ? NULL : stringToNode(TextDatumGetCString(value));
}

/* ---- columns and indexes ---- */

/* True for a type that holds sealed values, as it is or in an element or attribute. */
static bool
ddl_holds_sealed(Oid type, int32 typmod)
{
	Oid element = get_base_element_type(type);
	bool result = false;
	TupleDesc desc;

	if (ddl_declaration(type, typmod).kind != DECLARATION_NONE)
		return true;
	type = getBaseType(OidIsValid(element) ? element : type);
	if (!OidIsValid(get_typ_typrelid(type)))
		return false;
	desc = lookup_rowtype_tupdesc_noerror(type, -1, true);
	if (desc == NULL)
		return false;
	check_stack_depth();
	for (int i = 0; i < desc->natts && !result; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		result = !att->attisdropped && ddl_holds_sealed(att->atttypid, att->atttypmod);
	}
	ReleaseTupleDesc(desc);
	return result;
}

static void
ddl_column(Form_pg_attribute att, char relkind)
{
	Declaration declaration = ddl_declaration(att->atttypid, att->atttypmod);

	/* It would send plaintext and seal armour once more, by whoever is active on this side alone. */
	if (relkind == RELKIND_FOREIGN_TABLE && ddl_holds_sealed(att->atttypid, att->atttypmod))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("column \"%s\" of a foreign table cannot be sealed", NameStr(att->attname)),
				 errhint(
					 "Declare it as text, which carries the armour, and seal what is read from it in a local table.")));

	if (att->atttypid == catalog_query_type() ||
		get_element_type(att->atttypid) == catalog_query_type())
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("column \"%s\" cannot be of type enc_query, which lives in memory only",
						NameStr(att->attname))));
	if (declaration.kind != DECLARATION_UNKNOWN)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_SEALED),
			 errmsg("column \"%s\" of type %s needs a declaration", NameStr(att->attname),
					declaration.type->plain->type_name),
			 errhint("Write %s(equality) for a column that is searched, %s(sealed) for one that is not; in a query, cast the expression to that.",
					 declaration.type->plain->type_name, declaration.type->plain->type_name)));
}

static bool
ddl_is_gin(Oid index)
{
	HeapTuple tuple =
		ddl_fetch(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, index, 0, 0, NULL);

	return HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relam == GIN_AM_OID;
}

/* ERROR unless every key of an index can be compared; looks at the table, since an index may store something else. */
static void
ddl_index(Oid oid)
{
	TupleDesc desc;
	HeapTuple tuple =
		ddl_fetch(IndexRelationId, IndexRelidIndexId, Anum_pg_index_indexrelid, oid, 0, 0, &desc);
	Form_pg_index index;
	List *expressions;
	bool isnull;
	int2vector *keys;
	int next = 0;
	bool gin;

	if (!HeapTupleIsValid(tuple))
		return;
	index = (Form_pg_index) GETSTRUCT(tuple);
	gin = ddl_is_gin(oid);
	keys = (int2vector *) DatumGetPointer(heap_getattr(tuple, Anum_pg_index_indkey, desc, &isnull));
	expressions = (List *) ddl_expression(tuple, desc, Anum_pg_index_indexprs);
	for (int i = 0; i < index->indnkeyatts; i++)
	{
		Declaration declaration;

		if (keys->values[i] == 0)
			declaration = declaration_of(list_nth(expressions, next++));
		else
		{
			Oid type;
			int32 typmod;
			Oid collation;

			if (keys->values[i] < 0)
				continue;
			get_atttypetypmodcoll(index->indrelid, keys->values[i], &type, &typmod, &collation);
			declaration = declaration_of_type(type, typmod);
		}
		if (gin)
		{
			if (declaration.kind == DECLARATION_NONE ||
				(declaration.typmod >= 0 && SearchTypmodKinds(declaration.typmod) != 0))
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_IMMIIQ_SEALED),
					 errmsg("a column or expression of type %s cannot be indexed by gin",
							format_type_with_typemod(declaration.type->type, declaration.typmod)),
					 errhint(
						 "Declare the column with one of the words prefix, match, range and contains, as its type has them; for the word equality use btree.")));
		}
		if (declaration.kind != DECLARATION_SEALED && declaration.kind != DECLARATION_UNKNOWN)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("a column or expression of type %s cannot be indexed",
						format_type_with_typemod(declaration.type->type, declaration.typmod)),
				 errhint("Declare the column with the word equality, and index the column itself.")));
	}
}

static void
ddl_relation(Oid relid, int only)
{
	HeapTuple tuple =
		ddl_fetch(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, relid, 0, 0, NULL);
	char relkind;
	Relation rel;
	ScanKeyData key;
	SysScanDesc scan;

	if (!HeapTupleIsValid(tuple))
		return;
	relkind = ((Form_pg_class) GETSTRUCT(tuple))->relkind;
	heap_freetuple(tuple);
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
		case RELKIND_MATVIEW:
		case RELKIND_COMPOSITE_TYPE:
			break;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			ddl_index(relid);
			return;
		default:
			return;
	}

	rel = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, AttributeRelidNumIndexId, true, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		if (att->attnum <= 0 || att->attisdropped || (only != 0 && att->attnum != only))
			continue;
		ddl_column(att, relkind);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* ---- stored expressions ---- */

static bool
ddl_is_sealed_expression(Node *node)
{
	return node != NULL && types_is_sealed(exprType(node));
}

/* True for a constant that is sealed, and so for one organisation only. */
static bool
ddl_bound_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Const))
	{
		Const *constant = (Const *) node;
		uint8 prefix[VALUE_PREFIX_BYTES];
		Envelope env;

		return !constant->constisnull &&
			   declaration_of_type(constant->consttype, -1).kind != DECLARATION_NONE &&
			   value_read_prefix(constant->constvalue, prefix, &env) &&
			   env.algorithm != ENVELOPE_UNSEALED;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, ddl_bound_walker, context, 0);
	return expression_tree_walker(node, ddl_bound_walker, context);
}

/* True for whatever does more with a sealed value than ask whether it is NULL. */
static bool
ddl_use_walker(Node *node, void *context)
{
	List *args = NIL;
	ListCell *lc;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			if (((FuncExpr *) node)->funcid != F_NUM_NONNULLS &&
				((FuncExpr *) node)->funcid != F_NUM_NULLS)
				args = ((FuncExpr *) node)->args;
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			args = ((OpExpr *) node)->args;
			break;
		case T_ScalarArrayOpExpr:
			args = ((ScalarArrayOpExpr *) node)->args;
			break;
		case T_RowCompareExpr:
			args = ((RowCompareExpr *) node)->largs;
			break;
		case T_MinMaxExpr:
			args = ((MinMaxExpr *) node)->args;
			break;
		case T_CoerceViaIO:
			args = list_make1(((CoerceViaIO *) node)->arg);
			break;
		default:
			break;
	}
	foreach (lc, args)
	{
		if (ddl_is_sealed_expression(lfirst(lc)))
			return true;
	}
	return expression_tree_walker(node, ddl_use_walker, context);
}

static void
ddl_bound(Node *expr, const char *where)
{
	if (ddl_bound_walker(expr, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("%s cannot hold a sealed value, which is of one organisation only", where),
				 errhint(
					 "Write the plain literal, which is sealed for the organisation that uses it.")));
}

/* True for whatever makes a sealed value, or does more with one than copy it. */
static bool
ddl_generated_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if ((IsA(node, FuncExpr) || IsA(node, CoerceViaIO)) && ddl_is_sealed_expression(node))
		return true;
	return expression_tree_walker(node, ddl_generated_walker, context);
}

/* A default may not hold a sealed value; a generated column, which a restore computes again, may only copy. */
static void
ddl_default(Oid relid, int attnum)
{
	TupleDesc desc;
	HeapTuple tuple = ddl_fetch(AttrDefaultRelationId, AttrDefaultIndexId, Anum_pg_attrdef_adrelid,
								relid, Anum_pg_attrdef_adnum, attnum, &desc);
	HeapTuple column;
	Node *expr;

	if (!HeapTupleIsValid(tuple))
		return;
	expr = ddl_expression(tuple, desc, Anum_pg_attrdef_adbin);
	ddl_bound(expr, "a default");
	column = ddl_fetch(AttributeRelationId, AttributeRelidNumIndexId, Anum_pg_attribute_attrelid,
					   relid, Anum_pg_attribute_attnum, attnum, NULL);
	if (HeapTupleIsValid(column) && ((Form_pg_attribute) GETSTRUCT(column))->attgenerated != '\0' &&
		(ddl_use_walker(expr, NULL) || ddl_generated_walker(expr, NULL)))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("generated column \"%s\" does more with a sealed value than copy it",
						NameStr(((Form_pg_attribute) GETSTRUCT(column))->attname)),
				 errdetail("A dump could not be restored without the keys."),
				 errhint(
					 "Set the column in a BEFORE trigger, or give it the declaration of the column that it copies.")));
}

static void
ddl_foreign_key(HeapTuple tuple, TupleDesc desc)
{
	Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);
	bool isnull;
	ArrayType *mine =
		DatumGetArrayTypeP(heap_getattr(tuple, Anum_pg_constraint_conkey, desc, &isnull));
	ArrayType *theirs =
		DatumGetArrayTypeP(heap_getattr(tuple, Anum_pg_constraint_confkey, desc, &isnull));
	int n = ARR_DIMS(mine)[0];

	for (int i = 0; i < n; i++)
	{
		AttrNumber a = ((int16 *) ARR_DATA_PTR(mine))[i];
		AttrNumber b = ((int16 *) ARR_DATA_PTR(theirs))[i];
		Oid a_type;
		Oid b_type;
		int32 a_typmod;
		int32 b_typmod;
		Oid collation;
		Declaration x;
		Declaration y;

		get_atttypetypmodcoll(constraint->conrelid, a, &a_type, &a_typmod, &collation);
		get_atttypetypmodcoll(constraint->confrelid, b, &b_type, &b_typmod, &collation);
		x = declaration_of_type(a_type, a_typmod);
		y = declaration_of_type(b_type, b_typmod);
		if (x.type == NULL || y.type == NULL || x.typmod == y.typmod)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("foreign key \"%s\" would compare sealed columns of different declarations",
						NameStr(constraint->conname)),
				 errdetail("Column \"%s\" is %s, the referenced column \"%s\" is %s.",
						   get_attname(constraint->conrelid, a, false),
						   format_type_with_typemod(x.type->type, x.typmod),
						   get_attname(constraint->confrelid, b, false),
						   format_type_with_typemod(y.type->type, y.typmod)),
				 errhint("Declare both columns with the same domain and words.")));
	}
}

static void
ddl_constraint(Oid oid)
{
	TupleDesc desc;
	HeapTuple tuple = ddl_fetch(ConstraintRelationId, ConstraintOidIndexId, Anum_pg_constraint_oid,
								oid, 0, 0, &desc);
	Form_pg_constraint constraint;

	if (!HeapTupleIsValid(tuple))
		return;
	constraint = (Form_pg_constraint) GETSTRUCT(tuple);
	if (constraint->contype == CONSTRAINT_FOREIGN)
		ddl_foreign_key(tuple, desc);
	else if (constraint->contype == CONSTRAINT_CHECK &&
			 ddl_use_walker(ddl_expression(tuple, desc, Anum_pg_constraint_conbin), NULL))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("check constraint \"%s\" does more with a sealed value than ask whether it is NULL",
						NameStr(constraint->conname)),
				 errdetail("A dump could not be restored without the keys."),
				 errhint("Check the value in a BEFORE trigger, as NEW.column::text.")));
}

static void
ddl_domain(Oid oid)
{
	HeapTuple tuple = ddl_fetch(TypeRelationId, TypeOidIndexId, Anum_pg_type_oid, oid, 0, 0, NULL);
	Form_pg_type type;
	Declaration declaration;

	if (!HeapTupleIsValid(tuple))
		return;
	type = (Form_pg_type) GETSTRUCT(tuple);
	if (type->typtype != TYPTYPE_DOMAIN)
		return;
	declaration = ddl_declaration(type->typbasetype, type->typtypmod);
	if (declaration.kind == DECLARATION_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED),
				 errmsg("domain \"%s\" over type %s needs a declaration", NameStr(type->typname),
						declaration.type->plain->type_name),
				 errhint("Write %s(equality) or %s(sealed).", declaration.type->plain->type_name,
						 declaration.type->plain->type_name)));
}

/* Lists of common values would be a frequency attack, so extended statistics keep none of sealed columns. */
static void
ddl_statistics(Oid oid)
{
	TupleDesc desc;
	HeapTuple tuple = ddl_fetch(StatisticExtRelationId, StatisticExtOidIndexId,
								Anum_pg_statistic_ext_oid, oid, 0, 0, &desc);
	Form_pg_statistic_ext statistics;
	bool isnull;
	ArrayType *kinds;
	bool common = false;

	if (!HeapTupleIsValid(tuple))
		return;
	statistics = (Form_pg_statistic_ext) GETSTRUCT(tuple);
	kinds = DatumGetArrayTypeP(heap_getattr(tuple, Anum_pg_statistic_ext_stxkind, desc, &isnull));
	for (int i = 0; i < ARR_DIMS(kinds)[0]; i++)
		common |= ARR_DATA_PTR(kinds)[i] == STATS_EXT_MCV;
	for (int i = 0; common && i < statistics->stxkeys.dim1; i++)
	{
		if (types_is_sealed(get_atttype(statistics->stxrelid, statistics->stxkeys.values[i])))
			ereport(ERROR,
					(errcode(ERRCODE_IMMIIQ_SEALED),
					 errmsg("statistics \"%s\" would keep the frequencies of sealed values",
							NameStr(statistics->stxname)),
					 errhint(
						 "Write the kinds without mcv: CREATE STATISTICS name (ndistinct, dependencies) ON ….")));
	}
}

void
types_object_changed(Oid class_id, Oid object_id, int sub_id)
{
	HeapTuple tuple;
	TupleDesc desc;

	switch (class_id)
	{
		case RelationRelationId:
		case TypeRelationId:
		case AttrDefaultRelationId:
		case ConstraintRelationId:
		case RewriteRelationId:
		case PolicyRelationId:
		case StatisticExtRelationId:
			break;
		default:
			return;
	}
	if (object_id < FirstNormalObjectId || !catalog_present())
		return;
	switch (class_id)
	{
		case RelationRelationId:
			ddl_relation(object_id, sub_id);
			break;
		case TypeRelationId:
			ddl_domain(object_id);
			break;
		case AttrDefaultRelationId:
			ddl_default(object_id, sub_id);
			break;
		case ConstraintRelationId:
			ddl_constraint(object_id);
			break;
		case StatisticExtRelationId:
			ddl_statistics(object_id);
			break;
		case RewriteRelationId:
			tuple = ddl_fetch(RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, object_id,
							  0, 0, &desc);
			if (HeapTupleIsValid(tuple))
			{
				ddl_bound(ddl_expression(tuple, desc, Anum_pg_rewrite_ev_action), "a view or rule");
				ddl_bound(ddl_expression(tuple, desc, Anum_pg_rewrite_ev_qual), "a view or rule");
			}
			break;
		case PolicyRelationId:
			tuple = ddl_fetch(PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid, object_id, 0,
							  0, &desc);
			if (HeapTupleIsValid(tuple))
			{
				ddl_bound(ddl_expression(tuple, desc, Anum_pg_policy_polqual), "a policy");
				ddl_bound(ddl_expression(tuple, desc, Anum_pg_policy_polwithcheck), "a policy");
			}
			break;
	}
}

void
types_utility_before(Node *statement)
{
	DropStmt *drop = (DropStmt *) statement;
	Oid extension = InvalidOid;
	Oid type = BOOLOID;
	Datum cascade;
	ListCell *lc;

	if (!IsA(statement, DropStmt) || drop->removeType != OBJECT_EXTENSION)
		return;
	foreach (lc, drop->objects)
	{
		if (strcmp(strVal(lfirst(lc)), "immiiq") == 0)
			extension = get_extension_oid("immiiq", true);
	}
	/* who may not drop it gets the server's own refusal */
	if (!OidIsValid(extension) || !object_ownercheck(ExtensionRelationId, extension, GetUserId()))
		return;
	cascade = BoolGetDatum(drop->behavior == DROP_CASCADE);
	SPI_connect();
	if (SPI_execute_with_args("SELECT immiiq.before_drop($1)", 1, &type, &cascade, NULL, false,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at what the extension holds");
	SPI_finish();
}

void
types_utility_after(Node *statement)
{
	CreateStmt *create = (CreateStmt *) statement;
	Oid relid;
	Relation rel;
	PartitionKey key;

	if (!IsA(statement, CreateStmt) || create->partspec == NULL || !catalog_present())
		return;
	relid = RangeVarGetRelid(create->relation, NoLock, true);
	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, AccessShareLock);
	key = RelationGetPartitionKey(rel);
	for (int i = 0; key != NULL && i < key->partnatts; i++)
	{
		if (types_is_sealed(key->parttypid[i]))
			ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SEALED),
							errmsg("table \"%s\" cannot be partitioned by a sealed column",
								   RelationGetRelationName(rel)),
							errdetail("Rotating a key would move its rows.")));
	}
	table_close(rel, NoLock);
}
