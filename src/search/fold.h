/*
 * fold v1: text without case, accents, spaces and punctuation (docs/search.md).
 * No postgres.h.  The result is frozen: stored tags depend on every byte of it.
 */
#ifndef IMMIIQ_FOLD_H
#define IMMIIQ_FOLD_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that folding n bytes can give at most. */
extern size_t fold_size(size_t n);
/* Folds n bytes of UTF-8 into out (fold_size(n) bytes) and returns the length. Text of which nothing stays gives 0xFF and its own bytes. */
extern size_t fold_text(const uint8_t *in, size_t n, uint8_t *out);

/*
 * The same, code point by code point and with nothing put in the place of
 * nothing: what it makes of a part of a text is part of what it makes of the
 * text. Bytes that are no UTF-8 end it.
 */
extern size_t fold_parts(const uint8_t *in, size_t n, uint8_t *out);

#endif /* IMMIIQ_FOLD_H */
