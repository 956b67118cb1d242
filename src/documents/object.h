/*
 * Names and types of stored objects.  No postgres.h: unit tests link this
 * alone.  Trusts that text is UTF-8; refuses keys that a server, a proxy or a
 * browser would take for another one.
 */
#ifndef IMMIIQ_OBJECT_H
#define IMMIIQ_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#define OBJECT_KEY_MAX 1024 /* bytes: S3's own limit */

/* False for the empty key, one too long, a leading '/', an empty or dot segment, control characters. */
extern bool object_key_is_valid(const char *key);
/* False unless type/subtype with at most parameters of plain characters, in lower case before them. */
extern bool object_type_is_valid(const char *type);
/* True for the few types that a browser shows without running anything of the file's. */
extern bool object_type_is_safe(const char *type);
/* Bytes that object_disposition writes at most, with the terminator. */
extern size_t object_disposition_size(const char *filename);
/*
 * Content-Disposition (RFC 6266) for a file name, NULL for none: a fallback in
 * ASCII and, where that differs, the name itself by RFC 8187.  Controls,
 * separators of paths and characters that turn the reading direction become '_'.
 */
extern void object_disposition(bool shown, const char *filename, char *out);

#endif /* IMMIIQ_OBJECT_H */
