// The commit a binary was built from.
#ifndef K3S_VERSION_H
#define K3S_VERSION_H
/// Eight hex digits, or "unknown" outside of `make build`.
const char *k3s_commit(void);
#endif
