// Thin wrappers: one syscall each, -errno on failure.
#include "CShims.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define RESULT(call) ({ long r_ = (call); r_ < 0 ? -errno : (int)r_; })

// Layout of struct mount_attr, re-declared because <sys/mount.h> and <linux/mount.h> cannot both be included.
struct k3s_mount_attr { uint64_t attr_set, attr_clr, propagation, userns_fd; };
_Static_assert(sizeof(struct k3s_mount_attr) == 32, "struct mount_attr has four 64 bit fields");

int k3s_pidfd_open(pid_t pid) { return RESULT(syscall(SYS_pidfd_open, pid, 0)); }
int k3s_pidfd_send_signal(int pidfd, int signal) {
    return RESULT(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int k3s_pidfd_reap(int pidfd, int *status, struct rusage *usage) {
    // The libc wrapper has no rusage; the syscall takes it as fifth argument.
    siginfo_t info;
    memset(&info, 0, sizeof info);
    struct rusage discard;
    if (syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, usage ? usage : &discard) < 0) return -errno;
    if (info.si_pid == 0) return 0;
    *status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : (info.si_status & 0x7f);
    return 1;
}

int k3s_setns(int fd, int nstype) { return RESULT(setns(fd, nstype)); }
int k3s_unshare(uint64_t flags) { return RESULT(syscall(SYS_unshare, (unsigned long)flags)); }
int k3s_pivot_root(const char *new_root, const char *put_old) {
    return RESULT(syscall(SYS_pivot_root, new_root, put_old));
}
int k3s_close_range(unsigned first, unsigned last, unsigned flags) {
    return RESULT(syscall(SYS_close_range, first, last, flags));
}
int k3s_gettid(void) { return (int)syscall(SYS_gettid); }

int k3s_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    // RESOLVE_IN_ROOT answers EAGAIN when a rename raced with a ".." of the walk; the kernel's advice is to try again.
    for (int attempt = 0;; attempt++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0) return (int)fd;
        if ((errno != EAGAIN && errno != EINTR) || attempt >= 64) return -errno;
    }
}

int k3s_open_tree(int dirfd, const char *path, unsigned flags) {
    return RESULT(syscall(SYS_open_tree, dirfd, path, flags | O_CLOEXEC));
}
int k3s_move_mount(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    return RESULT(syscall(SYS_move_mount, from_dirfd, from, to_dirfd, to, flags));
}
int k3s_fsopen(const char *fstype) { return RESULT(syscall(SYS_fsopen, fstype, 1 /* FSOPEN_CLOEXEC */)); }
int k3s_fsconfig(int fd, unsigned command, const char *key, const char *value, int aux) {
    return RESULT(syscall(SYS_fsconfig, fd, command, key, value, aux));
}
int k3s_fsmount(int fd, unsigned attr_flags) {
    return RESULT(syscall(SYS_fsmount, fd, 1 /* FSMOUNT_CLOEXEC */, attr_flags));
}
int k3s_mount_setattr(int dirfd, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation) {
    struct k3s_mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
    return RESULT(syscall(SYS_mount_setattr, dirfd, path, flags, &attr, sizeof attr));
}
int k3s_mount_idmap(int tree, int recursive, int userns_fd) {
    struct k3s_mount_attr attr = {.attr_set = 0x00100000 /* MOUNT_ATTR_IDMAP */, .userns_fd = (uint64_t)userns_fd};
    return RESULT(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? 0x8000 /* AT_RECURSIVE */ : 0),
                          &attr, sizeof attr));
}
void k3s_fs_message(int fd, char *buffer, size_t size) {
    ssize_t count = size > 1 ? read(fd, buffer, size - 1) : 0;
    if (size > 0) buffer[count > 0 ? count : 0] = 0;
}

int k3s_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    if (syscall(SYS_capget, &header, data) < 0) return -errno;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}
int k3s_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)effective, .permitted = (uint32_t)permitted, .inheritable = (uint32_t)inheritable},
        {.effective = (uint32_t)(effective >> 32),
         .permitted = (uint32_t)(permitted >> 32),
         .inheritable = (uint32_t)(inheritable >> 32)},
    };
    return RESULT(syscall(SYS_capset, &header, data));
}

int k3s_memfd_create(const char *name, int sealable) {
    return RESULT(syscall(SYS_memfd_create, name, 1u /* MFD_CLOEXEC */ | (sealable ? 2u : 0u)));
}
int k3s_memfd_seal(int fd) {
    return RESULT(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
}

#define MAX_PASSED_FDS 8

int64_t k3s_send_fds(int socket, const void *bytes, size_t count, const int *fds, int nfds, int flags) {
    if (nfds < 0 || nfds > MAX_PASSED_FDS) return -EINVAL;
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = count};
    union { char bytes[CMSG_SPACE(sizeof(int) * MAX_PASSED_FDS)]; struct cmsghdr align; } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)nfds);
    }
    ssize_t sent;
    do sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int64_t k3s_recv_fds(int socket, void *bytes, size_t size, int *fds, int *nfds, int flags) {
    struct iovec iov = {.iov_base = bytes, .iov_len = size};
    union { char bytes[CMSG_SPACE(sizeof(int) * MAX_PASSED_FDS)]; struct cmsghdr align; } control;
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t received;
    do received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    int capacity = *nfds, got = 0, lost = 0;
    *nfds = 0;
    if (received < 0) return -errno;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        int passed[MAX_PASSED_FDS];
        int n = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (n > MAX_PASSED_FDS) n = MAX_PASSED_FDS;
        memcpy(passed, CMSG_DATA(header), sizeof(int) * (size_t)n);
        for (int i = 0; i < n; i++) {
            if (got < capacity) fds[got++] = passed[i];
            else { close(passed[i]); lost = 1; }
        }
    }
    if (lost || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (int i = 0; i < got; i++) close(fds[i]);
        return -EMSGSIZE;
    }
    *nfds = got;
    return received;
}

int k3s_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

static int64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
int64_t k3s_wall_nanoseconds(void) { return nanoseconds(CLOCK_REALTIME); }
int64_t k3s_monotonic_nanoseconds(void) { return nanoseconds(CLOCK_MONOTONIC); }
int64_t k3s_boot_nanoseconds(void) { return nanoseconds(CLOCK_BOOTTIME); }

int k3s_wifexited(int status) { return WIFEXITED(status); }
int k3s_wexitstatus(int status) { return WEXITSTATUS(status); }
int k3s_wifsignaled(int status) { return WIFSIGNALED(status); }
int k3s_wtermsig(int status) { return WTERMSIG(status); }
uint64_t k3s_makedev(unsigned major, unsigned minor) { return makedev(major, minor); }
unsigned k3s_major(uint64_t device) { return major(device); }
unsigned k3s_minor(uint64_t device) { return minor(device); }

int k3s_set_window_size(int fd, uint16_t columns, uint16_t rows) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return RESULT(ioctl(fd, TIOCSWINSZ, &size));
}

int k3s_interface_up(const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int result = RESULT(ioctl(fd, SIOCGIFFLAGS, &request));
    if (result >= 0) {
        request.ifr_flags |= IFF_UP | IFF_RUNNING;
        result = RESULT(ioctl(fd, SIOCSIFFLAGS, &request));
    }
    close(fd);
    return result < 0 ? result : 0;
}

int k3s_accept(int listener) { return RESULT(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }
int k3s_pipe(int ends[2], int flags) { return RESULT(pipe2(ends, flags)); }
int k3s_prctl(int option, unsigned long a, unsigned long b) { return RESULT(prctl(option, a, b, 0ul, 0ul)); }
int k3s_fcntl(int fd, int command, int argument) { return RESULT(fcntl(fd, command, argument)); }
int k3s_openat(int dirfd, const char *path, int flags, unsigned mode) {
    int fd;
    do fd = openat(dirfd, path, flags, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}
int k3s_ioctl_int(int fd, unsigned long request, unsigned long argument) {
    return RESULT(ioctl(fd, request, argument));
}
int k3s_ioctl_ptr(int fd, unsigned long request, void *argument) { return RESULT(ioctl(fd, request, argument)); }

static int set_disposition(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    return RESULT(sigaction(number, &action, NULL));
}
int k3s_ignore_signal(int number) { return set_disposition(number, SIG_IGN); }
int k3s_default_signal(int number) { return set_disposition(number, SIG_DFL); }

int k3s_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int result = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (result) return -result;
    return RESULT(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}
int k3s_signalfd_read(int fd) {
    struct signalfd_siginfo info;
    ssize_t count = read(fd, &info, sizeof info);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return count == sizeof info ? (int)info.ssi_signo : 0;
}
void k3s_block_signals(void) {
    sigset_t set;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void k3s_set_thread_name(const char *name) { pthread_setname_np(pthread_self(), name); }
const char *k3s_strerror(int code, char *buffer, size_t size) { return strerror_r(code, buffer, size); }

int k3s_bpf_attach_device_filter(int cgroup_fd, const void *instructions, unsigned count) {
    static const char license[] = "Apache-2.0";
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)instructions;
    attr.insn_cnt = count;
    attr.license = (uint64_t)(uintptr_t)license;
    long program = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (program < 0) return -errno;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    // Without ALLOW_MULTI the attachment is exclusive: attaching again replaces the program.
    int result = RESULT(syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr));
    close((int)program);
    return result;
}
