/*
 * Sealing and opening values of enc types for who is active.
 */
#ifndef IMMIIQ_SEAL_H
#define IMMIIQ_SEAL_H

#include "search/plain.h"
#include "search/value.h"

/* Seals canonical plaintext for a column of this modifier, under the active organisation's key. ERROR IQ011, IQ002, IQ003. */
extern struct varlena *seal_plain(const PlainType *plain, const uint8 *bytes, size_t len,
								  int32 typmod);
/*
 * What of a value may go into a column of this modifier: sealed if it is not,
 * as it is where it fits, opened and sealed anew where the active organisation
 * owns it. ERROR IQ032 otherwise.
 */
extern struct varlena *seal_value(const PlainType *plain, Datum value, int32 typmod);
/*
 * The same plaintext, with the same search words, under the organisation's
 * current keys, whoever is active; NULL for what does not open under a key of
 * the organisation.
 */
extern struct varlena *seal_again(Datum value, const pg_uuid_t *org);
/* True when a sealed value's header is what a column of this modifier holds. */
extern bool seal_fits(const PlainType *plain, const Envelope *env, int32 typmod);
/* Armour → the sealed bytes, of this type and fitting typmod where that is given. ERROR IQ031, IQ032. */
extern struct varlena *seal_from_armour(const PlainType *plain, const char *text, size_t len,
										int32 typmod);
/* The armour of sealed bytes, palloc'd and terminated. */
extern char *seal_to_armour(const uint8 *buf, size_t len);

#endif /* IMMIIQ_SEAL_H */
