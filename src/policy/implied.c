/*
 * What policies ask of a query, in fewer questions before it is planned.  Row
 * security asks a write for the read policy, too: who may write a row may read
 * it, so that question is dropped where both are asked of the same columns.
 * Tables that are joined ask for a module each: each of them asks for all.
 * Trusts visible(), whose answer for a write includes the read's, and for several
 * modules that for each; leaves alone whatever else is asked, other people's
 * policies least of all.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"

#include "policy/policy.h"
#include "policy/visible.h"

/* The columns that a call is about begin here, behind module and command. */
#define IMPLIED_COLUMNS 2

static bool
implied_is_call(Node *node, Oid visible)
{
	FuncExpr *call = (FuncExpr *) node;
	Const *command;

	if (!IsA(node, FuncExpr) || call->funcid != visible)
		return false;
	command = lsecond(call->args);
	return IsA(command, Const) && !command->constisnull;
}

static bool
implied_reads(FuncExpr *call)
{
	Const *command = lsecond(call->args);

	return visible_command_reads(DatumGetTextPP(command->constvalue));
}

/* Adds to calls those for a read, or for a write, among what a qual joins by AND. */
static List *
implied_collect(Node *qual, Oid visible, bool reads, List *calls)
{
	ListCell *lc;

	if (is_andclause(qual))
	{
		foreach (lc, ((BoolExpr *) qual)->args)
			calls = implied_collect(lfirst(lc), visible, reads, calls);
	}
	else if (implied_is_call(qual, visible) && implied_reads((FuncExpr *) qual) == reads)
		calls = lappend(calls, qual);
	return calls;
}

/* True when one of these writes asks the same of the same columns. */
static bool
implied_is_covered(FuncExpr *read, List *writes)
{
	ListCell *lc;

	foreach (lc, writes)
	{
		FuncExpr *write = lfirst_node(FuncExpr, lc);
		bool same = equal(linitial(read->args), linitial(write->args));

		for (int i = IMPLIED_COLUMNS; same && i < list_length(read->args); i++)
			same = equal(list_nth(read->args, i), list_nth(write->args, i));
		if (same)
			return true;
	}
	return false;
}

/* What is left of a qual without the reads that these writes cover; NULL when nothing is. */
static Node *
implied_strip(Node *qual, Oid visible, List *writes)
{
	BoolExpr *both;
	List *kept = NIL;
	ListCell *lc;

	if (implied_is_call(qual, visible) && implied_reads((FuncExpr *) qual))
		return implied_is_covered((FuncExpr *) qual, writes) ? NULL : qual;
	if (!is_andclause(qual))
		return qual;
	both = (BoolExpr *) qual;
	foreach (lc, both->args)
	{
		Node *arm = implied_strip(lfirst(lc), visible, writes);

		if (arm != NULL)
			kept = lappend(kept, arm);
	}
	if (list_length(kept) == list_length(both->args))
		return qual;
	if (kept == NIL || list_length(kept) == 1)
		return kept == NIL ? NULL : linitial(kept);
	both->args = kept;
	return qual;
}

static List *
implied_strip_quals(List *quals, Oid visible)
{
	List *writes = NIL;
	List *kept = NIL;
	ListCell *lc;

	foreach (lc, quals)
		writes = implied_collect(lfirst(lc), visible, false, writes);
	if (writes == NIL)
		return quals;
	foreach (lc, quals)
	{
		Node *qual = implied_strip(lfirst(lc), visible, writes);

		if (qual != NULL)
			kept = lappend(kept, qual);
	}
	return kept;
}

/* The same of what is checked of new rows, each kind of check of each table by itself. */
static List *
implied_strip_checks(List *checks, Oid visible)
{
	List *kept = NIL;
	ListCell *lc;

	foreach (lc, checks)
	{
		WithCheckOption *check = lfirst_node(WithCheckOption, lc);
		List *writes = NIL;
		ListCell *other;

		foreach (other, checks)
		{
			WithCheckOption *beside = lfirst_node(WithCheckOption, other);

			if (beside->kind == check->kind && beside->qual != NULL &&
				strcmp(beside->relname, check->relname) == 0)
				writes = implied_collect(beside->qual, visible, false, writes);
		}
		if (writes != NIL && check->qual != NULL)
		{
			check->qual = implied_strip(check->qual, visible, writes);
			if (check->qual == NULL)
				continue;
		}
		kept = lappend(kept, check);
	}
	return kept;
}

static void
implied_drop(Query *query)
{
	Oid visible = InvalidOid;
	ListCell *lc;

	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (list_length(rte->securityQuals) < 2)
			continue;
		if (!OidIsValid(visible) && !OidIsValid(visible = visible_function_oid()))
			return;
		rte->securityQuals = implied_strip_quals(rte->securityQuals, visible);
	}
	if (list_length(query->withCheckOptions) > 1 &&
		(OidIsValid(visible) || OidIsValid(visible = visible_function_oid())))
		query->withCheckOptions = implied_strip_checks(query->withCheckOptions, visible);
	if (!query->hasModifyingCTE)
		return;
	foreach (lc, query->cteList)
		implied_drop(castNode(Query, lfirst_node(CommonTableExpr, lc)->ctequery));
}

/* Adds to tables those without a row of which the result has none: not the ones that an outer join may leave out. */
static List *
implied_required(Node *from, List *tables)
{
	ListCell *lc;

	if (IsA(from, RangeTblRef))
		return lappend_int(tables, ((RangeTblRef *) from)->rtindex);
	if (IsA(from, FromExpr))
	{
		foreach (lc, ((FromExpr *) from)->fromlist)
			tables = implied_required(lfirst(lc), tables);
	}
	else if (IsA(from, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) from;

		if (join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT)
			tables = implied_required(join->larg, tables);
		if (join->jointype == JOIN_INNER || join->jointype == JOIN_RIGHT)
			tables = implied_required(join->rarg, tables);
	}
	return tables;
}

/*
 * An inner join has no row when one of its tables shows none, so that each may
 * ask for what all of them ask: the organisation's key is one expression then,
 * not one for each module, which the planner would compare in the plan.
 */
static void
implied_join(Query *query)
{
	Oid visible = InvalidOid;
	List *calls = NIL;
	uint32 modules = 0;
	bool differ = false;
	bool portal = true;
	ListCell *lc;

	if (query->jointree == NULL || query->commandType == CMD_MERGE || list_length(query->rtable) < 2)
		return;
	foreach (lc, implied_required((Node *) query->jointree, NIL))
	{
		RangeTblEntry *rte = rt_fetch(lfirst_int(lc), query->rtable);
		ListCell *qual;

		if (rte->securityQuals == NIL)
			continue;
		if (!OidIsValid(visible) && !OidIsValid(visible = visible_function_oid()))
			return;
		foreach (qual, rte->securityQuals)
			calls = implied_collect(lfirst(qual), visible, true, calls);
	}
	foreach (lc, calls)
	{
		FuncExpr *call = lfirst(lc);
		FuncExpr *first = linitial(calls);
		Const *command = lsecond(call->args);

		if (!visible_add_modules(linitial(call->args), &modules))
			return;
		differ = differ || !equal(linitial(call->args), linitial(first->args)) ||
				 !equal(command, lsecond(first->args));
		portal = portal && visible_command_admits_portal(DatumGetTextPP(command->constvalue));
	}
	if (!differ)
		return;
	foreach (lc, calls)
	{
		FuncExpr *call = lfirst(lc);

		linitial(call->args) = visible_modules_const(modules);
		lsecond(call->args) = visible_text_const(portal ? "select portal" : "select");
	}
}

/* The same of every query in it, walking through expressions only where there is one in them. */
static bool
implied_walk(Node *node, void *context)
{
	Query *query = (Query *) node;
	ListCell *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, implied_walk, context);
	implied_join(query);
	foreach (lc, query->rtable)
		implied_walk((Node *) lfirst_node(RangeTblEntry, lc)->subquery, context);
	foreach (lc, query->cteList)
		implied_walk(lfirst_node(CommonTableExpr, lc)->ctequery, context);
	if (query->hasSubLinks)
		query_tree_walker(query, implied_walk, context,
						  QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES);
	return false;
}

void
policy_before_planning(Query *query)
{
	implied_drop(query);
	implied_walk((Node *) query, NULL);
}
