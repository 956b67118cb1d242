/*
 * Row security asks a write for the read policy, too.  Who may write a row may
 * read it, so that question is dropped before planning where both are asked of
 * the same columns.  Trusts visible(), whose answer for a write includes the
 * read's; refuses to drop anything else, other people's policies least of all.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
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

/* Collects the calls for a write among what a qual joins by AND. */
static List *
implied_collect(Node *qual, Oid visible, List *writes)
{
	ListCell *lc;

	if (is_andclause(qual))
	{
		foreach (lc, ((BoolExpr *) qual)->args)
			writes = implied_collect(lfirst(lc), visible, writes);
	}
	else if (implied_is_call(qual, visible) && !implied_reads((FuncExpr *) qual))
		writes = lappend(writes, qual);
	return writes;
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
		writes = implied_collect(lfirst(lc), visible, writes);
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
				writes = implied_collect(beside->qual, visible, writes);
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

void
policy_drop_implied(Query *query)
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
		policy_drop_implied(castNode(Query, lfirst_node(CommonTableExpr, lc)->ctequery));
}
