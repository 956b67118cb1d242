/*
 * Settings that say how long something is kept: an interval of a day at least,
 * or nothing at all for ever.
 */
#ifndef IMMIIQ_KEEP_H
#define IMMIIQ_KEEP_H

#include "datatype/timestamp.h"
#include "utils/guc.h"

/* Check hook of such a setting; never raises, as the postmaster checks settings, too. */
extern bool keep_check(char **newval, void **extra, GucSource source);
/* What the setting says; false when everything is kept. */
extern bool keep_read(const char *setting, Interval *keep);
/* Raises 22023 for less than a day. */
extern void keep_require_day(const Interval *keep);

#endif /* IMMIIQ_KEEP_H */
