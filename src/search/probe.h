/*
 * Probes: what a query compares with, as a tag without ciphertext.
 */
#ifndef IMMIIQ_PROBE_H
#define IMMIIQ_PROBE_H

#include "fmgr.h"
#include "search/plain.h"
#include "search/search.h"
#include "search/value.h"

/* The organisation whose tags are asked for; ERROR IQ011 with a hint when nobody is active. */
extern const pg_uuid_t *probe_org(void);
/* A probe of canonical plaintext for a column of this type, domain and flags. */
extern struct varlena *probe_make(const PlainType *plain, uint16 domain, uint8 flags,
								  const uint8 *bytes, size_t len);
/* The same of a value of an enc type: its own tag where that fits, else what opening it gives. */
extern struct varlena *probe_from_value(const PlainType *plain, uint16 domain, uint8 flags,
										Datum value);

#endif /* IMMIIQ_PROBE_H */
