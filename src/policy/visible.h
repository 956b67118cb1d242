/*
 * immiiq.visible() and its support: private to policy/.
 */
#ifndef IMMIIQ_VISIBLE_H
#define IMMIIQ_VISIBLE_H

#include "nodes/primnodes.h"

/* OIDs in schema immiiq, InvalidOid while the extension is absent. */
extern Oid	visible_function(const char *name, int nargs, const Oid *types);
extern Oid	visible_function_oid(void);
/* Resets cached plans when who is active now has another shape; needs a transaction. */
extern void visible_identity_changed(void);

#endif							/* IMMIIQ_VISIBLE_H */
