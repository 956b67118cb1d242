#include "postgres.h"
#include "context/context.h"
void context_init(void) {}
void context_shmem_request(void) {}
void context_shmem_startup(void) {}
const ContextIdentity *context_current(void) { return NULL; }
void context_utility_before(PlannedStmt *pstmt, const char *query_string) {}
bool context_log_is_secret(const char *statement) { return false; }
bool context_function_is_denied(Oid funcid) { return false; }
