/*
 * Reading values of enc types: what stands in front without detoasting the
 * rest, and the plaintext for whom it belongs to.
 */
#ifndef IMMIIQ_VALUE_H
#define IMMIIQ_VALUE_H

#include "envelope/envelope.h"
#include "utils/uuid.h"

/* Bytes that tell header, tag and how many tokens there are. */
#define VALUE_PREFIX_BYTES (ENVELOPE_HEADER_BYTES + ENVELOPE_TAG_BYTES + ENVELOPE_TOKENS_HEAD_BYTES)

/*
 * Parses header and tag; env points into the value, or into prefix when the
 * value is toasted or compressed. False for malformed bytes. Never raises.
 */
extern bool value_read_prefix(Datum value, uint8 prefix[VALUE_PREFIX_BYTES], Envelope *env);
/*
 * The value's list of tokens, detoasting no more than it needs: palloc'd or in
 * place. False for malformed bytes and for values without tokens. Never raises.
 */
extern bool value_read_tokens(Datum value, EnvelopeTokens *tokens);
/* Detoasts and parses a whole value. ERROR IQ031 when it is malformed. */
extern const uint8 *value_read(Datum value, size_t *len, Envelope *env);
/* True when the value was sealed under a key of org. */
extern bool value_belongs(const Envelope *env, const pg_uuid_t *org);
/*
 * Canonical plaintext of a value from value_read, palloc'd: what is unsealed as
 * it is; what is sealed only when it belongs to org, else NULL. ERROR IQ031 when
 * it does not authenticate.
 */
extern uint8 *value_open(const uint8 *buf, const Envelope *env, const pg_uuid_t *org, size_t *len);
/* The same as a varlena, for types whose canonical bytes are what the plain type holds: text and bytea. */
extern struct varlena *value_open_varlena(const uint8 *buf, const Envelope *env,
										  const pg_uuid_t *org);
/* As value_open, and NULL instead of an error for what does not authenticate. */
extern uint8 *value_try_open(const uint8 *buf, const Envelope *env, const pg_uuid_t *org,
							 size_t *len);
/* A varlena of algorithm ENVELOPE_UNSEALED around canonical plaintext. */
extern struct varlena *value_unsealed(uint8 type, const uint8 *plain, size_t len);

#endif /* IMMIIQ_VALUE_H */
