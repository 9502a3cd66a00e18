// Syscalls and macros that Swift cannot see, and the launch-plan interpreter. Every symbol starts with k3s_;
// every function that can fail returns -errno (never "-1 and errno": errno does not survive the next call).
#ifndef K3S_CSHIMS_H
#define K3S_CSHIMS_H

// _GNU_SOURCE is defined for the C files (Package.swift), not here: Swift's Glibc module is built without it, and the
// same declarations under two feature sets would clash.

// Headers that Swift's Glibc module map leaves out.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/xattr.h>

// openat2(2) resolve flags, mount attributes and the rest are given as constants of our own: glibc 2.36 and the kernel
// headers define the same macros twice, and some are expressions that the importer drops.
enum {
    K3S_RESOLVE_NO_MAGICLINKS = 0x02,
    K3S_RESOLVE_NO_SYMLINKS = 0x04,
    K3S_RESOLVE_BENEATH = 0x08,
    K3S_RESOLVE_IN_ROOT = 0x10,
    K3S_RESOLVE_NO_XDEV = 0x01,

    K3S_MOUNT_ATTR_RDONLY = 0x00000001,
    K3S_MOUNT_ATTR_NOSUID = 0x00000002,
    K3S_MOUNT_ATTR_NODEV = 0x00000004,
    K3S_MOUNT_ATTR_NOEXEC = 0x00000008,
    K3S_MOUNT_ATTR_RELATIME = 0x00000000,
    K3S_MOUNT_ATTR_NOATIME = 0x00000010,

    K3S_OPEN_TREE_CLONE = 1,
    K3S_AT_RECURSIVE = 0x8000,
    K3S_AT_EMPTY_PATH = 0x1000,
    K3S_AT_SYMLINK_NOFOLLOW = 0x100,
    K3S_MOVE_MOUNT_F_EMPTY_PATH = 0x4,
    K3S_MOVE_MOUNT_T_EMPTY_PATH = 0x40,

    K3S_FSCONFIG_SET_FLAG = 0,
    K3S_FSCONFIG_SET_STRING = 1,
    K3S_FSCONFIG_CMD_CREATE = 6,

    K3S_CLOSE_RANGE_CLOEXEC = 4,
};

// Namespace and clone flags as 64 bit values (CLONE_NEWTIME and CLONE_INTO_CGROUP do not fit an int).
static const uint64_t K3S_CLONE_NEWNS = 0x00020000ull;
static const uint64_t K3S_CLONE_NEWCGROUP = 0x02000000ull;
static const uint64_t K3S_CLONE_NEWUTS = 0x04000000ull;
static const uint64_t K3S_CLONE_NEWIPC = 0x08000000ull;
static const uint64_t K3S_CLONE_NEWUSER = 0x10000000ull;
static const uint64_t K3S_CLONE_NEWPID = 0x20000000ull;
static const uint64_t K3S_CLONE_NEWNET = 0x40000000ull;
static const uint64_t K3S_CLONE_INTO_CGROUP = 0x200000000ull;

// Process and namespace syscalls without (portable) libc wrappers.
int k3s_pidfd_open(pid_t pid);
int k3s_pidfd_send_signal(int pidfd, int signal);
/// Waits for the child behind `pidfd` without blocking. 1: exited, *status as from waitpid, *usage filled; 0: still running.
int k3s_pidfd_reap(int pidfd, int *status, struct rusage *usage);
int k3s_setns(int fd, int nstype);
int k3s_unshare(uint64_t flags);
int k3s_pivot_root(const char *new_root, const char *put_old);
int k3s_close_range(unsigned first, unsigned last, unsigned flags);
int k3s_gettid(void);

// Path resolution confined to a directory.
int k3s_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);

// The mount API of Linux 5.2 (5.12 for mount_setattr).
int k3s_open_tree(int dirfd, const char *path, unsigned flags);
int k3s_move_mount(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);
int k3s_fsopen(const char *fstype);
int k3s_fsconfig(int fd, unsigned command, const char *key, const char *value, int aux);
int k3s_fsmount(int fd, unsigned attr_flags);
int k3s_mount_setattr(int dirfd, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation);
/// The kernel's explanation of the last failed fsconfig ("e overlay: ..."), NUL terminated; empty when there is none.
void k3s_fs_message(int fd, char *buffer, size_t size);

/// capget/capset of the calling thread as 64 bit sets.
int k3s_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
int k3s_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable);

int k3s_memfd_create(const char *name, int sealable);
/// Forbids every later change of the memfd.
int k3s_memfd_seal(int fd);

/// One message with up to 8 descriptors over a unix socket. `flags` as for sendmsg (MSG_NOSIGNAL is added).
int64_t k3s_send_fds(int socket, const void *bytes, size_t count, const int *fds, int nfds, int flags);
/// Receives one message; descriptors arrive close-on-exec. *nfds: in capacity (at most 8), out received.
/// -EMSGSIZE when the message was longer than `size` (SOCK_SEQPACKET) or carried more descriptors.
int64_t k3s_recv_fds(int socket, void *bytes, size_t size, int *fds, int *nfds, int flags);
/// Credentials of the process at the other end of a unix socket.
int k3s_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid);

int64_t k3s_wall_nanoseconds(void);
int64_t k3s_monotonic_nanoseconds(void);
/// Boot time clock: goes on while the machine sleeps.
int64_t k3s_boot_nanoseconds(void);

/// A process that does nothing until the other end of `*release` is closed, by this process or by its end; for the
/// caller to wait for.
pid_t k3s_placeholder(int *release);

// Macros of <sys/wait.h>, <sys/stat.h> and <sys/sysmacros.h>.
int k3s_wifexited(int status);
int k3s_wexitstatus(int status);
int k3s_wifsignaled(int status);
int k3s_wtermsig(int status);
uint64_t k3s_makedev(unsigned major, unsigned minor);
unsigned k3s_major(uint64_t device);
unsigned k3s_minor(uint64_t device);

/// ioctl with a window size (TIOCSWINSZ); 0 or -errno.
int k3s_set_window_size(int fd, uint16_t columns, uint16_t rows);
/// Brings interface `name` up in the calling thread's network namespace; 0 or -errno.
int k3s_interface_up(const char *name);
/// accept4(2): non-blocking, close-on-exec.
int k3s_accept(int listener);
/// pipe2(2)
int k3s_pipe(int ends[2], int flags);
/// prctl with integer arguments (the C function is variadic, which Swift cannot call).
int k3s_prctl(int option, unsigned long a, unsigned long b);
/// fcntl(2) with an int argument.
int k3s_fcntl(int fd, int command, int argument);
/// open(2)/openat(2) with a mode (variadic in C).
int k3s_openat(int dirfd, const char *path, int flags, unsigned mode);
/// ioctl(2) with an integer or pointer argument.
int k3s_ioctl_int(int fd, unsigned long request, unsigned long argument);
int k3s_ioctl_ptr(int fd, unsigned long request, void *argument);
/// sigaction(SIG_IGN) / SIG_DFL; 0 or -errno.
int k3s_ignore_signal(int signal);
int k3s_default_signal(int signal);
/// Blocks the signals in all threads made later, and returns a close-on-exec signalfd for them, or -errno.
int k3s_signalfd(const int *signals, int count);
/// Reads one signal number from a signalfd; 0 when there is none, or -errno.
int k3s_signalfd_read(int fd);
/// Blocks every signal in the calling thread.
void k3s_block_signals(void);
/// Names the calling thread (15 bytes at most).
void k3s_set_thread_name(const char *name);
/// Text of an errno, thread safe, never NULL.
const char *k3s_strerror(int code, char *buffer, size_t size);

/// Starts `argv` in a child that shares memory until exec (no page tables are copied, however big the caller is) and
/// returns its pid, with *pidfd set. stdio: three descriptors, or -1 for /dev/null. Signals are reset in the child.
/// `program`: a descriptor to execute instead of the file argv[0], or -1. A failed exec is reaped and returned as -errno.
int k3s_spawn(char *const argv[], char *const envp[], const int stdio[3], int new_session, int program, int *pidfd);
/// Opens a program through a read-only mount of its own. A process executed from it cannot be used to write to the
/// file by way of /proc/PID/exe, which is how containers have attacked their runtimes (CVE-2019-5736).
int k3s_open_program(const char *path);

/// Shifts the owners of a detached mount's files into a user namespace (mount_setattr, MOUNT_ATTR_IDMAP).
int k3s_mount_idmap(int tree, int recursive, int userns_fd);

/// Loads a device filter into the cgroup directory behind `cgroup_fd` (v2). `instructions` are struct bpf_insn.
int k3s_bpf_attach_device_filter(int cgroup_fd, const void *instructions, unsigned count);

#endif
