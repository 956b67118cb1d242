#include "postgres.h"
#include "keyring/keyring.h"
void keyring_init(void) {}
void keyring_shmem_request(void) {}
void keyring_shmem_startup(void) {}
void keyring_reload(void) {}
