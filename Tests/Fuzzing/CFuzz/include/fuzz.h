// What the fuzz program needs in C: the input that is being tried, written to a file by a signal handler when the process
// dies of it, and libFuzzer where it is linked in.
#ifndef K3S_FUZZ_H
#define K3S_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef int (*fuzz_callback)(const uint8_t *data, size_t size);

/// Says what is being tried. `file`: where it goes when the process dies; both must live until the next call.
void fuzz_trying(const char *file, const uint8_t *data, size_t size);
/// From now on a fatal signal, and an input that takes longer than `seconds`, write the input to its file.
void fuzz_watch(unsigned seconds);
/// libFuzzer's driver, -1 where the program is not linked with it.
int fuzz_guided(int argc, char **argv, fuzz_callback callback);

#endif
