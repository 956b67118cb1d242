/*
 * What the files of this capability share; nobody else includes it.
 */
#ifndef IMMIIQ_DOCUMENTS_INTERNAL_H
#define IMMIIQ_DOCUMENTS_INTERNAL_H

#include "utils/uuid.h"

/* Plaintext of an enc_text that was sealed under a key of org, palloc'd and terminated; ERROR IQ032 otherwise. The caller wipes it. */
extern char *documents_open(Datum value, const pg_uuid_t *org);
/* Wipes a text and frees it; NULL passes. */
extern void documents_wipe(char *text);

#endif /* IMMIIQ_DOCUMENTS_INTERNAL_H */
