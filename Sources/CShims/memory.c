#include "k3s_memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

void k3s_tune_malloc(void) {
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
}

void k3s_trim_malloc(void) { malloc_trim(64 << 10); }

// glibc keeps up to 7 free blocks of each of 64 sizes for every thread (malloc/malloc.c, tcache): its limits since 2.26.
enum { CACHED = 7, STEP = 2 * sizeof(size_t), LARGEST = 64 * STEP };

struct block {
    struct block *next;
};

static void *free_all(void *list) {
    for (struct block *block = list, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    return NULL;
}

void k3s_release_thread_cache(void) {
    // There is no call for it. Taking as many blocks of each size as the cache can hold empties it, and a thread that ends
    // gives back what it frees: its own cache goes with it.
    struct block *list = NULL;
    for (size_t size = STEP; size < LARGEST; size += STEP) {
        for (int i = 0; i < CACHED; i++) {
            struct block *block = malloc(size);
            if (!block) break;
            block->next = list;
            list = block;
        }
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_all, list) == 0) {
        pthread_join(thread, NULL);
    } else {
        free_all(list);
    }
}

size_t k3s_malloc_in_use(void) { return mallinfo2().uordblks; }
