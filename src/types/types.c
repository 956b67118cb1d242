#include "postgres.h"
#include "types/types.h"
void types_init(void) {}
