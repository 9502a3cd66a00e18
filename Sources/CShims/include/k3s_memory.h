// glibc's allocator, set for a server that should give memory back.
#ifndef K3S_MEMORY_H
#define K3S_MEMORY_H
#include <stddef.h>
/// Few arenas (few threads allocate), large blocks by mmap, the top of the heap returned early. Call before threads start.
void k3s_tune_malloc(void);
/// Returns free pages of all arenas to the system; costs a walk over the heap.
void k3s_trim_malloc(void);
/// Gives the free blocks that the allocator keeps for the calling thread back to the heap.
void k3s_release_thread_cache(void);
/// Bytes of all blocks that are not free, those that threads keep for themselves among them.
size_t k3s_malloc_in_use(void);
#endif
