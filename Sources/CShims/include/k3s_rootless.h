// `k3s server --rootless`: the process that stays outside of the namespaces (the parent), and the first process inside.
//
//     parent (host) ──clone──▶ init, PID 1 of its namespace ──fork, exec──▶ k3s server
//        ▲                                                                      │
//        └───────────── requests for sockets of the host's network ─────────────┘
//
// The parent gives sockets of the host's network namespace away on request, passes signals on, and ends with the exit
// code of what is inside. When it goes, the kernel ends all that is inside.
#ifndef K3S_ROOTLESS_H
#define K3S_ROOTLESS_H

#include <stdint.h>

/// Says which process this is: "parent" for `k3s_rootless_main`, "inside" for the server.
#define K3S_ROOTLESS_ROLE "_K3S_ROOTLESS"
/// For the parent: triples "inside outside count ..." as newuidmap(1) takes them.
#define K3S_ROOTLESS_UIDS "_K3S_ROOTLESS_UIDS"
#define K3S_ROOTLESS_GIDS "_K3S_ROOTLESS_GIDS"
/// For the parent: the programs that may map more than one id; without them the kernel is asked directly.
#define K3S_ROOTLESS_NEWUIDMAP "_K3S_ROOTLESS_NEWUIDMAP"
#define K3S_ROOTLESS_NEWGIDMAP "_K3S_ROOTLESS_NEWGIDMAP"
/// For the parent: cgroup directory (version 2) that the namespaces get as their root; without: none.
#define K3S_ROOTLESS_CGROUP "_K3S_ROOTLESS_CGROUP"

enum {
    /// The server's end of the socket to the parent.
    K3S_ROOTLESS_SOCKET = 3,
};

/// One packet (SOCK_SEQPACKET), answered in order.
struct k3s_rootless_request {
    int32_t domain; // AF_INET or AF_INET6
    int32_t type;   // SOCK_STREAM or SOCK_DGRAM
};
/// With the socket (close-on-exec, non-blocking) as SCM_RIGHTS when `error` is 0.
struct k3s_rootless_reply {
    int32_t error;
};

/// The parent's whole life. Returns the exit code.
int k3s_rootless_main(char *const argv[]);

/// Original destination of a connection that was redirected (SO_ORIGINAL_DST), in network byte order; 0 or -errno.
int k3s_original_destination(int fd, uint32_t *address, uint16_t *port);

#endif
