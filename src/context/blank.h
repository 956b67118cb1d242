/*
 * The values in a text of SQL, overwritten in place.  No postgres.h: unit tests
 * and fuzzers link this file alone.  Trusts nothing in the text; refuses nothing:
 * whatever is not closed is overwritten to its end.
 */
#ifndef IMMIIQ_BLANK_H
#define IMMIIQ_BLANK_H

#include <stdbool.h>

/*
 * Overwrites strings with * and numbers with 0, keeping length, quotation marks, names and comments.  code: what stands
 * between the outermost dollar quotes is code, in which the same is done, and not a string.  escapes: a backslash in an
 * ordinary string is an escape, as where standard_conforming_strings is off.
 */
extern void blank_values(char *text, bool code, bool escapes);

#endif /* IMMIIQ_BLANK_H */
