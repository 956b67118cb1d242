#include "postgres.h"
#include "worker/worker.h"
void worker_init(void) {}
