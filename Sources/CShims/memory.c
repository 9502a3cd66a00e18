#include "k3s_memory.h"

#include <malloc.h>

void k3s_tune_malloc(void) {
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
}

void k3s_trim_malloc(void) { malloc_trim(64 << 10); }
