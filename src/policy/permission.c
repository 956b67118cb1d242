/*
 * Permissions by name: what a member may do beside scope and modules.  Trusts
 * immiiq.member as the statement's snapshot shows it; refuses everything when
 * nobody is active, and to clients in the portal.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/journal.h"
#include "policy/policy.h"
#include "policy/scope.h"

/* True for what the directory takes as a permission's name (are_permission_names in 70_directory.sql), without '*'. */
static bool
permission_is_name(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > POLICY_PERMISSION_MAX || name[0] < 'a' || name[0] > 'z')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.:-") == len;
}

static bool
permission_holds(const char *name)
{
	const ContextIdentity *who = context_current();

	if (who == NULL || !permission_is_name(name))
		return false;
	switch (who->actor)
	{
		case CONTEXT_OPERATOR:
			return true;
		case CONTEXT_MEMBER:
		case CONTEXT_ASSISTANT:
			return scope_has_permission(who, name);
		case CONTEXT_PORTAL:
			break;
	}
	return false;
}

bool
permission_reveals(void)
{
	return permission_holds("reveal");
}

/*
 * immiiq.has_permission(name text) → bool
 * True when the active member has the permission; operators have every one.
 * False for nobody, in the portal, and for what is no permission's name.
 */
PG_FUNCTION_INFO_V1(immiiq_has_permission);
Datum
immiiq_has_permission(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool holds = permission_holds(name);

	pfree(name);
	PG_RETURN_BOOL(holds);
}

/*
 * immiiq.require_permission(name text) → void
 * Errors: IQ011 nobody is active; 22023 not a permission's name; 42501 the
 * member has it not, which is recorded.
 */
PG_FUNCTION_INFO_V1(immiiq_require_permission);
Datum
immiiq_require_permission(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	(void) context_require();
	if (!permission_is_name(name))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("not a permission's name"),
						errdetail("It has 1 to %d of a-z, 0-9, _ . : - and begins with a letter.",
								  POLICY_PERMISSION_MAX)));
	if (!permission_holds(name))
	{
		journal_record(JOURNAL_DENIAL, "permission", name, "the member has it not",
					   ERRCODE_INSUFFICIENT_PRIVILEGE, NULL);
		(void) journal_flush(true);
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("a permission is missing"),
						errhint("Ask a member who may give it.")));
	}
	PG_RETURN_VOID();
}
