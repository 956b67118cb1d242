#include "crypto/crypto.h"
bool crypto_init(void) { return true; }
