#include "envelope/envelope.h"
size_t envelope_plain_size(const Envelope *env) { return env->body_len; }
