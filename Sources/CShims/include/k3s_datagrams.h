// Many datagrams in one system call (recvmmsg(2), sendmmsg(2)), for sockets that do not block.
#ifndef K3S_DATAGRAMS_H
#define K3S_DATAGRAMS_H
#include <stdint.h>
#include <sys/socket.h>

enum { K3S_DATAGRAMS = 16 };

/// Where one datagram lies, and who is at its other end (no length: whom the socket is connected to).
struct k3s_datagram {
    void *bytes;
    uint32_t length;
    struct sockaddr_storage address;
    socklen_t address_length;
};

/// Up to K3S_DATAGRAMS that are there; `length` is in the room there is, out the real length, also of one that was cut.
/// Their number, or -errno.
int k3s_receive_datagrams(int fd, struct k3s_datagram *datagrams, int count);
/// Those that the kernel does not take are lost, as datagrams are.
void k3s_send_datagrams(int fd, const struct k3s_datagram *datagrams, int count);
/// SO_RCVTIMEO: the option's number depends on the width of time_t, which Swift's importer cannot tell. 0, or -1 and errno.
int k3s_set_receive_timeout(int fd, int seconds);
#endif
