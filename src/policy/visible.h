/*
 * immiiq.visible() and its support: private to policy/.
 */
#ifndef IMMIIQ_VISIBLE_H
#define IMMIIQ_VISIBLE_H

#include "nodes/primnodes.h"

/* OIDs in schema immiiq, InvalidOid while the extension is absent. */
extern Oid visible_function(const char *name, int nargs, const Oid *types);
extern Oid visible_function_oid(void);
/* True when a policy's command only reads. */
extern bool visible_command_reads(const text *command);
/* Asks context/ to be told of changes: cached plans of another shape go. */
extern void visible_init(void);

#endif /* IMMIIQ_VISIBLE_H */
