/*
 * What the majors of PostgreSQL call differently.  The code is written for
 * the newest; what is older is brought to it here, and only here.
 */
#ifndef IMMIIQ_COMPAT_H
#define IMMIIQ_COMPAT_H

#include "access/attmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "commands/vacuum.h"
#include "common/base64.h"
#include "executor/executor.h"
#include "parser/parse_relation.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc_tables.h"
#include "utils/rel.h"

#if PG_VERSION_NUM >= 160000
#include "utils/relfilenumbermap.h"
#include "varatt.h"
#endif

/* ---- 18 ---- */

/* The last argument that the hook of a run of the executor has had before 18. */
#if PG_VERSION_NUM >= 180000
#define EXECUTE_ONCE_PARAMETER
#define EXECUTE_ONCE
#else
#define EXECUTE_ONCE_PARAMETER , bool execute_once
#define EXECUTE_ONCE		   , execute_once
#endif

#if PG_VERSION_NUM >= 180000
#define PARALLEL_SCAN_RELID(scan)                                                                  \
	RelidByRelfilenumber((scan)->phs_locator.spcOid, (scan)->phs_locator.relNumber)
#else
#define PARALLEL_SCAN_RELID(scan) ((scan)->phs_relid)
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#define index_beginscan(heap, index, snapshot, instrument, keys, orders)                           \
	index_beginscan(heap, index, snapshot, keys, orders)
#define ExecutorRun(query, direction, count) ExecutorRun(query, direction, count, false)
#define pg_b64_encode(source, length, target, size)                                                \
	pg_b64_encode((const char *) (source), length, target, size)
#define pg_b64_decode(source, length, target, size)                                                \
	pg_b64_decode(source, length, (char *) (target), size)
#define heap_form_minimal_tuple(desc, values, isnull, extra)                                       \
	heap_form_minimal_tuple(desc, values, isnull)
#define RelationGetPrimaryKeyIndex(rel, deferrable_ok) RelationGetPrimaryKeyIndex(rel)
#if PG_VERSION_NUM >= 160000
#define ExecInitRangeTable(estate, range_table, permissions, unpruned)                             \
	ExecInitRangeTable(estate, range_table, permissions)
#endif
#define vacuum_delay_point(is_analyze) vacuum_delay_point()
#endif

/* ---- 17 ---- */

#if PG_VERSION_NUM < 170000
#define ginFindLeafPage(btree, search, conflict) ginFindLeafPage(btree, search, conflict, NULL)
#define ginScanBeginPostingTree(btree, index, root)                                                \
	ginScanBeginPostingTree(btree, index, root, NULL)
#endif

#if PG_VERSION_NUM >= 170000
#define PGPROC_LXID(proc)	  ((proc)->vxid.lxid)
#define VACATTR_TARGET(stats) ((stats)->attstattarget)
#else
#define PGPROC_LXID(proc)		  ((proc)->lxid)
#define VACATTR_TARGET(stats)	  ((stats)->attr->attstattarget)
#define GetNumberFromPGProc(proc) ((proc)->pgprocno)
#define LogLogicalMessage(prefix, message, size, transactional, flush)                             \
	LogLogicalMessage(prefix, message, size, transactional)
#endif

/* ---- 16 ---- */

/* The list of permissions that the hook on them has since 16. */
#if PG_VERSION_NUM >= 160000
#define PERMISSIONS_PARAMETER	 , List *permissions
#define PERMISSIONS				 , permissions
#define rte_has_permissions(rte) ((rte)->perminfoindex != 0)
#else
#define PERMISSIONS_PARAMETER
#define PERMISSIONS
#define rte_has_permissions(rte) true
#endif

#if PG_VERSION_NUM < 160000
#define TU_UpdateIndexes bool
#define TU_Summarizing	 false
#define ExecInsertIndexTuples(result, slot, estate, update, no_error, conflict, arbiters,          \
							  summarizing)                                                         \
	ExecInsertIndexTuples(result, slot, estate, update, no_error, conflict, arbiters)
#define build_attrmap_by_name(in, out, missing_ok) build_attrmap_by_name(in, out)
#define object_ownercheck(classid, object, role)                                                   \
	((classid) == ExtensionRelationId ? pg_extension_ownercheck(object, role)                      \
									  : pg_database_ownercheck(object, role))
#define object_aclcheck(classid, object, role, mode)                                               \
	(AssertMacro((classid) == ProcedureRelationId), pg_proc_aclcheck(object, role, mode))

#define ExecInitRangeTable(estate, range_table, permissions, unpruned)                             \
	ExecInitRangeTable(estate, range_table)

/* What a check hook hands to its setting. */
#define guc_malloc(level, size) malloc(size)

/* Whose rights a relation is read with, and which columns: 16 moved them out of the range table. */
typedef RangeTblEntry RTEPermissionInfo;
#define getRTEPermissionInfo(permissions, rte) (rte)
#define addRTEPermissionInfo(permissions, rte) ((void) (permissions), rte)

static inline struct config_generic **
compat_guc_variables(int *count)
{
	*count = GetNumConfigOptions();
	return get_guc_variables();
}
#define get_guc_variables compat_guc_variables
#endif

#endif
