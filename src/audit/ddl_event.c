/*
 * DDL on protected tables and on immiiq's own objects, as events of the
 * installation's log: the command's tag, which objects, who.  Trusts the object
 * access hook for what was touched; never records a statement's text, which may
 * hold values.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"
#include "keyring/keyring.h"
#include "policy/policy.h"

/* One object that a command touched. */
typedef struct DdlObject
{
	ObjectAccessType access;
	ObjectAddress address;
	int level;		/* of subtransactions */
	char *identity; /* NULL until the command has ended: what it made is not visible before */
	char *type;		/* as the server describes it */
	Oid relid;		/* the table to which it belongs */
	char *relation; /* its name, NULL when it is none's */
} DdlObject;

/* What the command at work has touched; in TopTransactionContext. */
static List *ddl_objects = NIL;
static const char *ddl_command = NULL;
static bool ddl_busy = false;

/* ---- which objects count ---- */

/* One column of the catalog row of an object as this command has left it, an OID; InvalidOid when it is not there. */
static Oid
ddl_parent(Oid catalog, Oid index, AttrNumber key, Oid object, AttrNumber column)
{
	Relation rel = table_open(catalog, AccessShareLock);
	ScanKeyData keys[1];
	SysScanDesc scan;
	HeapTuple tuple;
	Oid parent = InvalidOid;

	ScanKeyInit(&keys[0], key, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 1, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);

		if (!isnull)
			parent = DatumGetObjectId(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parent;
}

/* The table, index or view to which an object belongs. */
static Oid
ddl_relation(Oid class_id, Oid object_id)
{
	Oid relid;

	switch (class_id)
	{
		case RelationRelationId:
			relid = ddl_parent(IndexRelationId, IndexRelidIndexId, Anum_pg_index_indexrelid,
							   object_id, Anum_pg_index_indrelid);
			return OidIsValid(relid) ? relid : object_id;
		case TriggerRelationId:
			return ddl_parent(class_id, TriggerOidIndexId, Anum_pg_trigger_oid, object_id,
							  Anum_pg_trigger_tgrelid);
		case PolicyRelationId:
			return ddl_parent(class_id, PolicyOidIndexId, Anum_pg_policy_oid, object_id,
							  Anum_pg_policy_polrelid);
		case ConstraintRelationId:
			return ddl_parent(class_id, ConstraintOidIndexId, Anum_pg_constraint_oid, object_id,
							  Anum_pg_constraint_conrelid);
		case RewriteRelationId:
			return ddl_parent(class_id, RewriteOidIndexId, Anum_pg_rewrite_oid, object_id,
							  Anum_pg_rewrite_ev_class);
		case AttrDefaultRelationId:
			return ddl_parent(class_id, AttrDefaultOidIndexId, Anum_pg_attrdef_oid, object_id,
							  Anum_pg_attrdef_adrelid);
		default:
			return InvalidOid;
	}
}

/* The schema of an object that has one and is no relation. */
static Oid
ddl_schema(Oid class_id, Oid object_id)
{
	switch (class_id)
	{
		case ProcedureRelationId:
			return ddl_parent(class_id, ProcedureOidIndexId, Anum_pg_proc_oid, object_id,
							  Anum_pg_proc_pronamespace);
		case TypeRelationId:
			return ddl_parent(class_id, TypeOidIndexId, Anum_pg_type_oid, object_id,
							  Anum_pg_type_typnamespace);
		case NamespaceRelationId:
			return object_id;
		default:
			return InvalidOid;
	}
}

/* True for tables that immiiq protects or captures, and for its own. */
static bool
ddl_relation_counts(Oid relid)
{
	Relation rel;
	bool counts;
	ListCell *lc;

	/* a table is dropped after its triggers and policies */
	foreach (lc, ddl_objects)
	{
		DdlObject *known = lfirst(lc);

		if (known->relid == relid && known->identity != NULL)
			return true;
	}
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return false;
	counts = RelationGetNamespace(rel) == base_schema() ||
			 ((rel->rd_rel->relkind == RELKIND_RELATION ||
			   rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
			  policy_table(rel) != NULL);
	for (int i = 0; !counts && rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		counts = get_func_namespace(rel->trigdesc->triggers[i].tgfoid) == base_schema();
	relation_close(rel, NoLock);
	return counts;
}

static bool
ddl_counts(Oid class_id, Oid object_id, Oid relid)
{
	if (OidIsValid(relid))
		return ddl_relation_counts(relid);
	if (class_id == ExtensionRelationId || class_id == EventTriggerRelationId)
	{
		Oid extension = get_extension_oid("immiiq", true);

		return OidIsValid(extension) &&
			   (class_id == ExtensionRelationId
					? object_id
					: getExtensionOfObject(class_id, object_id)) == extension;
	}
	return ddl_schema(class_id, object_id) == base_schema();
}

/* True for triggers that a foreign key brings along. */
static bool
ddl_is_internal(const ObjectAddress *address)
{
	Relation rel;
	ScanKeyData keys[1];
	SysScanDesc scan;
	HeapTuple tuple;
	bool internal = false;

	if (address->classId != TriggerRelationId)
		return false;
	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(address->objectId));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, SnapshotSelf, 1, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		internal = ((Form_pg_trigger) GETSTRUCT(tuple))->tgisinternal;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return internal;
}

/* ---- gathering ---- */

/* Says what an object is, when it counts; false when it does not, or is not there. */
static bool
ddl_describe(DdlObject *object)
{
	Oid relid = ddl_relation(object->address.classId, object->address.objectId);
	char *identity;
	MemoryContext old;

	if (!ddl_counts(object->address.classId, object->address.objectId, relid) ||
		ddl_is_internal(&object->address))
		return false;
	identity = getObjectIdentity(&object->address, true);
	if (identity == NULL)
		return false;
	old = MemoryContextSwitchTo(TopTransactionContext);
	object->identity = pstrdup(identity);
	object->type = getObjectTypeDescription(&object->address, true);
	object->relid = relid;
	if (OidIsValid(relid) && get_rel_name(relid) != NULL)
		object->relation = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													  get_rel_name(relid));
	MemoryContextSwitchTo(old);
	return true;
}

/* Notes that the command touches an object; what is made is described once the command has ended. */
static void
ddl_note(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id)
{
	MemoryContext old;
	DdlObject *object;
	ListCell *lc;

	foreach (lc, ddl_objects)
	{
		DdlObject *known = lfirst(lc);

		if (known->access == access && known->address.classId == class_id &&
			known->address.objectId == object_id && known->address.objectSubId == sub_id)
			return;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	object = palloc0(sizeof(DdlObject));
	MemoryContextSwitchTo(old);
	object->access = access;
	object->level = GetCurrentTransactionNestLevel();
	ObjectAddressSubSet(object->address, class_id, object_id, sub_id);
	if (access != OAT_POST_CREATE && !ddl_describe(object) && access == OAT_DROP)
	{
		pfree(object);
		return;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	ddl_objects = lappend(ddl_objects, object);
	MemoryContextSwitchTo(old);
}

void
audit_object_changed(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id)
{
	if (!base_preloaded || ddl_busy || creating_extension || IsBinaryUpgrade ||
		!IsTransactionState() || !OidIsValid(base_schema()))
		return;
	switch (class_id)
	{
		case RelationRelationId:
		case TriggerRelationId:
		case PolicyRelationId:
		case ConstraintRelationId:
		case RewriteRelationId:
		case AttrDefaultRelationId:
		case ProcedureRelationId:
		case TypeRelationId:
		case NamespaceRelationId:
		case ExtensionRelationId:
		case EventTriggerRelationId:
			break;
		default:
			return;
	}
	ddl_busy = true;
	PG_TRY();
	{
		ddl_note(access, class_id, object_id, sub_id);
	}
	PG_FINALLY();
	{
		ddl_busy = false;
	}
	PG_END_TRY();
}

/* ---- recording ---- */

static const char *
ddl_access_name(ObjectAccessType access)
{
	switch (access)
	{
		case OAT_POST_CREATE:
			return "create";
		case OAT_DROP:
			return "drop";
		default:
			return "alter";
	}
}

/* Records one object of a command in the installation's log. */
static void
ddl_record(const char *command, const char *access, const char *identity, const char *type,
		   const char *relation, const char *details)
{
	AuditField fields[6];
	AuditEvent event;
	char *user = GetUserNameFromId(GetOuterUserId(), true);

	memset(&event, 0, sizeof(event));
	memset(fields, 0, sizeof(fields));
#define DDL_FIELD(n, v)                                                                            \
	if ((v) != NULL)                                                                               \
	{                                                                                              \
		fields[event.nfields].name = (n);                                                          \
		fields[event.nfields++].value = (v);                                                       \
	}
	DDL_FIELD("command", command);
	DDL_FIELD("access", access);
	DDL_FIELD("type", type);
	DDL_FIELD("relation", relation);
	DDL_FIELD("details", details);
	DDL_FIELD("user_name", user);
#undef DDL_FIELD
	event.kind = AUDIT_DDL_KIND;
	event.object = identity;
	event.fields = fields;
	audit_event(&event);
}

/* True when the installation's log can be written: a database without organisations has no key for it, and a restore may have no root key. */
static bool
ddl_can_record(void)
{
	if (RecoveryInProgress() || !OidIsValid(base_relation_or_invalid("entry")))
		return false;
	return keyring_can_log(&keyring_installation_org);
}

/* True when the object goes because its table does. */
static bool
ddl_goes_with_table(const DdlObject *object, List *objects)
{
	ListCell *lc;

	if (object->access != OAT_DROP ||
		(object->address.objectId == object->relid && object->address.objectSubId == 0))
		return false;
	foreach (lc, objects)
	{
		DdlObject *other = lfirst(lc);

		if (other->access == OAT_DROP && other->address.classId == RelationRelationId &&
			other->address.objectId == object->relid && other->address.objectSubId == 0)
			return true;
	}
	return false;
}

/* Records what the command has touched; details belong to each of its objects. */
static void
ddl_flush(const char *command, const char *details)
{
	List *objects = ddl_objects;
	ListCell *lc;

	if (objects == NIL)
		return;
	if (!ddl_can_record())
	{
		ddl_objects = NIL;
		return;
	}
	ddl_busy = true;
	PG_TRY();
	{
		CommandCounterIncrement();
		foreach (lc, objects)
		{
			DdlObject *object = lfirst(lc);

			if ((object->identity == NULL && !ddl_describe(object)) ||
				ddl_goes_with_table(object, objects))
				continue;
			ddl_record(command, ddl_access_name(object->access), object->identity, object->type,
					   object->relation, details);
		}
	}
	PG_FINALLY();
	{
		ddl_busy = false;
		ddl_objects = NIL;
	}
	PG_END_TRY();
}

/* What GRANT and REVOKE say of whom, without the objects. */
static char *
ddl_grant_details(const GrantStmt *stmt)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	if (stmt->privileges == NIL)
		appendStringInfoString(&text, "all");
	foreach (lc, stmt->privileges)
	{
		AccessPriv *privilege = lfirst(lc);
		ListCell *column;

		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "",
						 privilege->priv_name != NULL ? privilege->priv_name : "all");
		foreach (column, privilege->cols)
			appendStringInfo(&text, "%s%s%s", column == list_head(privilege->cols) ? " (" : ", ",
							 strVal(lfirst(column)),
							 lnext(privilege->cols, column) == NULL ? ")" : "");
	}
	appendStringInfoString(&text, stmt->is_grant ? " to " : " from ");
	foreach (lc, stmt->grantees)
	{
		RoleSpec *role = lfirst(lc);

		appendStringInfo(&text, "%s%s", lc == list_head(stmt->grantees) ? "" : ", ",
						 role->roletype == ROLESPEC_CSTRING ? role->rolename
						 : role->roletype == ROLESPEC_PUBLIC
							 ? "public"
							 : GetUserNameFromId(GetUserId(), false));
	}
	if (stmt->grant_option)
		appendStringInfoString(&text,
							   stmt->is_grant ? " with grant option" : ", grant option alone");
	return text.data;
}

/* Tables of a schema that count. */
static List *
ddl_tables_of(Oid schema)
{
	Relation rel = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData keys[1];
	HeapTuple tuple;
	List *found = NIL;

	ScanKeyInit(&keys[0], Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if ((form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE) &&
			ddl_relation_counts(form->oid))
			found = lappend_oid(found, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Notes the objects of GRANT and REVOKE, which no hook tells of. */
static void
ddl_note_grant(const GrantStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->objects)
	{
		Oid oid = InvalidOid;
		Oid class_id = RelationRelationId;

		if (stmt->targtype == ACL_TARGET_ALL_IN_SCHEMA)
		{
			Oid schema = get_namespace_oid(strVal(lfirst(lc)), true);
			ListCell *table;

			if (stmt->objtype == OBJECT_TABLE)
			{
				foreach (table, ddl_tables_of(schema))
					ddl_note(OAT_POST_ALTER, RelationRelationId, lfirst_oid(table), 0);
				continue;
			}
			oid = schema;
			class_id = NamespaceRelationId;
		}
		else if (stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE)
			oid = RangeVarGetRelid((RangeVar *) lfirst(lc), NoLock, true);
		else if (stmt->objtype == OBJECT_SCHEMA)
		{
			class_id = NamespaceRelationId;
			oid = get_namespace_oid(strVal(lfirst(lc)), true);
		}
		else if (stmt->objtype == OBJECT_FUNCTION || stmt->objtype == OBJECT_PROCEDURE ||
				 stmt->objtype == OBJECT_ROUTINE)
		{
			class_id = ProcedureRelationId;
			oid = LookupFuncWithArgs(stmt->objtype, (ObjectWithArgs *) lfirst(lc), true);
		}
		if (OidIsValid(oid))
			ddl_note(OAT_POST_ALTER, class_id, oid, 0);
	}
}

/* What an ALTER TABLE does that says more than its object does. */
static const char *
ddl_alter_name(AlterTableType type)
{
	switch (type)
	{
		case AT_AddColumn:
			return "add column";
		case AT_DropColumn:
			return "drop column";
		case AT_AlterColumnType:
			return "alter type of column";
		case AT_ColumnDefault:
			return "alter default of column";
		case AT_DropNotNull:
			return "drop not null of column";
		case AT_SetNotNull:
			return "set not null of column";
		case AT_AddConstraint:
			return "add constraint";
		case AT_DropConstraint:
			return "drop constraint";
		case AT_EnableTrig:
			return "enable trigger";
		case AT_EnableAlwaysTrig:
			return "enable always trigger";
		case AT_EnableReplicaTrig:
			return "enable replica trigger";
		case AT_DisableTrig:
			return "disable trigger";
		case AT_EnableTrigAll:
			return "enable trigger all";
		case AT_DisableTrigAll:
			return "disable trigger all";
		case AT_EnableTrigUser:
			return "enable trigger user";
		case AT_DisableTrigUser:
			return "disable trigger user";
		case AT_EnableRowSecurity:
			return "enable row security";
		case AT_DisableRowSecurity:
			return "disable row security";
		case AT_ForceRowSecurity:
			return "force row security";
		case AT_NoForceRowSecurity:
			return "no force row security";
		case AT_ChangeOwner:
			return "change owner";
		case AT_SetUnLogged:
			return "set unlogged";
		case AT_AttachPartition:
			return "attach partition";
		case AT_DetachPartition:
			return "detach partition";
		default:
			return "other";
	}
}

static char *
ddl_alter_details(const AlterTableStmt *stmt)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);
		const char *name = cmd->name;

		if (cmd->subtype == AT_AddColumn && cmd->def != NULL)
			name = ((ColumnDef *) cmd->def)->colname;
		appendStringInfo(&text, "%s%s%s%s", lc == list_head(stmt->cmds) ? "" : ", ",
						 ddl_alter_name(cmd->subtype), name != NULL ? " " : "",
						 name != NULL ? name : "");
	}
	return text.data;
}

/* ---- hooks ---- */

void
audit_utility_begin(AuditUtility *frame, Node *statement)
{
	frame->command = ddl_command;
	ddl_command = GetCommandTagName(CreateCommandTag(statement));
}

void
audit_utility_end(AuditUtility *frame, Node *statement)
{
	char *details = NULL;

	if (base_preloaded && IsTransactionState() && OidIsValid(base_schema()) &&
		!creating_extension && !IsBinaryUpgrade && !IsAbortedTransactionBlockState())
	{
		if (IsA(statement, GrantStmt) && !ddl_busy)
		{
			ddl_note_grant((GrantStmt *) statement);
			details = ddl_grant_details((GrantStmt *) statement);
		}
		else if (IsA(statement, AlterTableStmt) && !ddl_busy)
		{
			/* row security is switched without a word to the hook */
			Oid relid = RangeVarGetRelid(((AlterTableStmt *) statement)->relation, NoLock, true);

			if (OidIsValid(relid))
				ddl_note(OAT_POST_ALTER, RelationRelationId, relid, 0);
			details = ddl_alter_details((AlterTableStmt *) statement);
		}
		if (!ddl_busy)
			ddl_flush(ddl_command, details);
	}
	ddl_command = frame->command;
}

void
ddl_before_commit(void)
{
	if (ddl_objects != NIL && OidIsValid(base_schema()) && !creating_extension)
		ddl_flush(ddl_command, NULL);
}

static void
ddl_transaction(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	ddl_objects = NIL;
	ddl_busy = false;
	if (event == XACT_EVENT_ABORT)
		ddl_command = NULL;
}

static void
ddl_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int level = GetCurrentTransactionNestLevel();
	ListCell *lc;

	if (ddl_objects == NIL)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		foreach (lc, ddl_objects)
		{
			DdlObject *object = lfirst(lc);

			if (object->level >= level)
				object->level = level - 1;
		}
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		foreach (lc, ddl_objects)
		{
			DdlObject *object = lfirst(lc);

			if (object->level >= level)
				ddl_objects = foreach_delete_current (ddl_objects, lc);
		}
	}
}

void
ddl_init(void)
{
	if (!base_preloaded)
		return;
	RegisterXactCallback(ddl_transaction, NULL);
	RegisterSubXactCallback(ddl_subtransaction, NULL);
}
