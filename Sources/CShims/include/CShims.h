// Syscalls and macros that Swift cannot see, and the launch-plan interpreter. Every symbol starts with k3s_;
// every function that can fail returns -errno.
#ifndef K3S_CSHIMS_H
#define K3S_CSHIMS_H
#endif
