#include "k3s_datagrams.h"
#include <errno.h>
#include <string.h>
#include <sys/time.h>

int k3s_receive_datagrams(int fd, struct k3s_datagram *datagrams, int count) {
    struct mmsghdr messages[K3S_DATAGRAMS];
    struct iovec parts[K3S_DATAGRAMS];
    if (count > K3S_DATAGRAMS) count = K3S_DATAGRAMS;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < count; i++) {
        parts[i].iov_base = datagrams[i].bytes;
        parts[i].iov_len = datagrams[i].length;
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &datagrams[i].address;
        messages[i].msg_hdr.msg_namelen = sizeof datagrams[i].address;
    }
    int received = recvmmsg(fd, messages, count, MSG_TRUNC | MSG_DONTWAIT, 0);
    if (received < 0) return -errno;
    for (int i = 0; i < received; i++) {
        datagrams[i].length = messages[i].msg_len;
        datagrams[i].address_length = messages[i].msg_hdr.msg_namelen;
    }
    return received;
}

void k3s_send_datagrams(int fd, const struct k3s_datagram *datagrams, int count) {
    struct mmsghdr messages[K3S_DATAGRAMS];
    struct iovec parts[K3S_DATAGRAMS];
    if (count > K3S_DATAGRAMS) count = K3S_DATAGRAMS;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < count; i++) {
        parts[i].iov_base = datagrams[i].bytes;
        parts[i].iov_len = datagrams[i].length;
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        if (datagrams[i].address_length == 0) continue;
        messages[i].msg_hdr.msg_name = (void *)&datagrams[i].address;
        messages[i].msg_hdr.msg_namelen = datagrams[i].address_length;
    }
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, messages + done, count - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        // An address that cannot be sent to is reported as that of the first: the others are not its fault.
        done += sent > 0 ? sent : 1;
    }
}

int k3s_set_receive_timeout(int fd, int seconds) {
    struct timeval wait = {.tv_sec = seconds};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}
