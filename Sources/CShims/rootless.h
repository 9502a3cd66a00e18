// Shared by the two processes of rootless.
#ifndef K3S_ROOTLESS_INTERNAL_H
#define K3S_ROOTLESS_INTERNAL_H

/// One line on stderr: what failed and, unless 0, the errno's text.
__attribute__((format(printf, 2, 3))) void rootless_complain(int error, const char *format, ...);

/// The first process inside: waits for its ids on `go`, makes the file systems that its namespaces need, starts
/// `argv` with `control` as its descriptor 3, reaps. Returns the exit code.
int rootless_init(int go, int control, char *const argv[]);

#endif
