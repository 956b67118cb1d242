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
/* True when it reads, and the portal may do so, too. */
extern bool visible_command_admits_portal(const text *command);
/* Adds the modules that an argument of visible() names; false when that is not certain, or one of them is unknown. */
extern bool visible_add_modules(Node *argument, uint32 *modules);
/* These modules as an argument of visible(). */
extern Node *visible_modules_const(uint32 modules);
extern Node *visible_text_const(const char *value);
/* Asks context/ to be told of changes: cached plans of another shape go. */
extern void visible_init(void);

#endif /* IMMIIQ_VISIBLE_H */
