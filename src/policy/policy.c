#include "postgres.h"
#include "policy/policy.h"
void policy_init(void) {}
const PolicyTable *policy_table(Relation rel) { return NULL; }
bool policy_role_owns_protected(Oid roleid) { return false; }
