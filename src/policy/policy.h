/*
 * protect(), visible() and what the planner makes of it.
 */
#ifndef IMMIIQ_POLICY_H
#define IMMIIQ_POLICY_H

#include "nodes/parsenodes.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

/*
 * What a table's own policies say of it (immiiq.protected_table shows the same).
 * For a partition relid is its protected root, while attribute numbers are the
 * partition's own; 0 where absent. Valid until the next invalidation.
 */
typedef struct PolicyTable
{
	Oid relid;
	AttrNumber org;
	AttrNumber client;
	AttrNumber team;
	AttrNumber assignee;
	AttrNumber office;
	uint32 module; /* ContextModule bit, 0 for none */
} PolicyTable;

/* What the planner needs to know of a scope: plans of one shape hold for every identity of that shape. */
typedef enum PolicyShape
{
	POLICY_SHAPE_ALL = 1,
	POLICY_SHAPE_TEAM,	/* at most one team: an equality */
	POLICY_SHAPE_TEAMS, /* any number of teams: = ANY */
	POLICY_SHAPE_ASSIGNED,
	POLICY_SHAPE_PORTAL, /* one client's rows */
	POLICY_SHAPE_EVERY	 /* operate_all(): every organisation's */
} PolicyShape;

/* Added to the shape of plans on tables with an office. */
#define POLICY_SHAPE_OFFICES  0x10 /* keeps to the offices of who is asking */
#define POLICY_SHAPE_CROSSING 0x20 /* sees every office */

/* A permission's name has up to so many bytes. */
#define POLICY_PERMISSION_MAX 63

extern void policy_init(void);
/* NULL when the table is not protected. A partition answers for its protected root. */
extern const PolicyTable *policy_table(Relation rel);
/* True when roleid owns (or is member of the owner of) a protected table. */
extern bool policy_role_owns_protected(Oid roleid);

/* Makes fewer questions of what the policies of a query ask, to the same answer. */
extern void policy_before_planning(Query *query);

/* True when who is active has the permission reveal. */
extern bool permission_reveals(void);

#endif /* IMMIIQ_POLICY_H */
