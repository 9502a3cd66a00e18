#include "k3s_version.h"

// `make build` writes this header; it is not kept in git.
#if __has_include("k3s_commit.h")
#include "k3s_commit.h"
#else
#define K3S_COMMIT "unknown"
#endif

const char *k3s_commit(void) { return K3S_COMMIT; }
