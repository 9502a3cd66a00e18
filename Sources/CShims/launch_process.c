// Interpreter ops that make the process what it is to be: terminal, identity, limits, filters, program.
#include "launch.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int launch_pty(struct launch *l, struct k3s_op *op) {
    int master = l->root < 0 ? k3s_openat(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0)
                             : k3s_openat2(l->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0,
                                           K3S_RESOLVE_IN_ROOT | K3S_RESOLVE_NO_MAGICLINKS);
    if (master < 0) return master;
    int unlock = 0;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return -errno;
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) return -errno;
    if (op->arg) k3s_set_window_size(master, (uint16_t)(op->arg >> 16), (uint16_t)op->arg);
    struct k3s_report report = {.op = -1};
    int64_t sent = k3s_send_fds(l->report, &report, sizeof report, &master, 1, 0);
    if (sent < 0) return (int)sent;
    close(master);
    if (ioctl(slave, TIOCSCTTY, 0) < 0) return -errno;
    if (op->flags & K3S_FLAG_CONSOLE) {
        int tree = k3s_open_tree(slave, "", K3S_OPEN_TREE_CLONE | K3S_AT_EMPTY_PATH);
        if (tree < 0) return tree;
        int target = launch_make(l, "/dev/console", 0, 0600);
        if (target < 0) return target;
        int result = k3s_move_mount(tree, "", target, "",
                                    K3S_MOVE_MOUNT_F_EMPTY_PATH | K3S_MOVE_MOUNT_T_EMPTY_PATH);
        close(tree);
        close(target);
        if (result < 0) return result;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(slave, i) < 0) return -errno;
    close(slave);
    return 0;
}

int launch_open_userns(struct launch *l, struct k3s_op *op) {
    l->userns = k3s_openat(AT_FDCWD, text(l, op->s1), O_RDONLY | O_CLOEXEC, 0);
    return l->userns < 0 ? l->userns : 0;
}

int launch_enter_userns(struct launch *l) {
    // Afterwards it is too late: pipes of an owner whom the namespace does not know cannot be given away inside.
    for (int fd = 0; fd < 3; fd++) {
        struct stat status;
        if (fstat(fd, &status) < 0 || (S_ISCHR(status.st_mode) && major(status.st_rdev) == 1)) continue;
        fchown(fd, l->id_base, S_ISCHR(status.st_mode) ? (gid_t)-1 : l->id_base);
    }
    return k3s_setns(l->userns >= 0 ? l->userns : l->target, CLONE_NEWUSER);
}

int launch_rlimit(struct k3s_op *op) {
    struct rlimit limit = {.rlim_cur = (rlim_t)op->arg, .rlim_max = (rlim_t)op->arg};
    if (setrlimit((int)op->extra, &limit) == 0) return 0;
    int code = errno;
    if (getrlimit((int)op->extra, &limit) < 0) return -errno;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit((int)op->extra, &limit) == 0) return 0;
    }
    return -code;
}

int launch_bounding(uint64_t kept) {
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (kept >> capability & 1) continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0ul, 0ul, 0ul) < 0) {
            if (errno == EINVAL) return 0; // past the last one that this kernel knows
            return -errno;
        }
    }
    return 0;
}

#ifdef SYS_setresuid32 // 32 bit ARM: the plain calls have 16 bit ids
#define SET_GROUPS SYS_setgroups32
#define SET_GID SYS_setresgid32
#define SET_UID SYS_setresuid32
#else
#define SET_GROUPS SYS_setgroups
#define SET_GID SYS_setresgid
#define SET_UID SYS_setresuid
#endif

int launch_ids(struct launch *l, struct k3s_op *op) {
    const uint32_t *table = (const uint32_t *)(l->plan + op->s1);
    uint32_t uid = table[0], gid = table[1], count = table[2];
    // So that /dev/stdout can be opened by the user the container runs as.
    for (int fd = 0; fd < 3; fd++) {
        struct stat status;
        if (fstat(fd, &status) < 0 || status.st_uid == uid) continue;
        if (S_ISCHR(status.st_mode) && major(status.st_rdev) == 1) continue; // /dev/null is not ours to give away
        fchown(fd, uid, (gid_t)-1);
    }
    if (syscall(SYS_prctl, PR_SET_KEEPCAPS, 1ul, 0ul, 0ul, 0ul) < 0) return -errno;
    // In a user namespace of one id only, the kernel lets nobody drop groups (/proc/self/setgroups).
    if (syscall(SET_GROUPS, (long)count, table + 3) < 0 && !(l->nested && errno == EPERM && count == 0)) return -errno;
    if (syscall(SET_GID, gid, gid, gid) < 0) return -errno;
    if (syscall(SET_UID, uid, uid, uid) < 0) return -errno;
    if (syscall(SYS_prctl, PR_SET_KEEPCAPS, 0ul, 0ul, 0ul, 0ul) < 0) return -errno;
    return 0;
}

int launch_capabilities(struct launch *l, struct k3s_op *op) {
    const uint64_t *table = (const uint64_t *)(l->plan + op->s1);
    int result = k3s_capset(op->arg, op->arg, table[0]);
    if (result < 0) return result;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0ul, 0ul, 0ul);
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (!(table[1] >> capability & 1)) continue;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0ul, 0ul) < 0) return -errno;
    }
    return 0;
}

int launch_seccomp(struct launch *l, struct k3s_op *op) {
    struct sock_fprog program = {.len = (unsigned short)op->arg, .filter = (struct sock_filter *)(l->plan + op->s1)};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

/// Turns a table of 64 bit offsets into a NULL-terminated pointer array in place (pointers are never wider).
static char **pointers(struct launch *l, uint32_t table, uint32_t count) {
    char *base = l->plan + table;
    char **result = (char **)base;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset;
        memcpy(&offset, base + (size_t)i * 8, 8);
        result[i] = l->plan + offset;
    }
    result[count] = NULL;
    return result;
}

/// As Go's exec.LookPath judges a file: there, not a directory, some execute bit set and usable by us.
static int executable(struct launch *l, const char *path) {
    struct stat status;
    if (stat(path, &status) < 0) return -errno;
    if (S_ISDIR(status.st_mode)) return -EISDIR;
    if (status.st_dev == l->exe_device && status.st_ino == l->exe_inode) return -EACCES;
    if (syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) == 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return -errno;
    return status.st_mode & 0111 ? 0 : -EACCES;
}

int launch_exec(struct launch *l, struct k3s_op *op) {
    char **argv = pointers(l, op->s1, (uint32_t)op->arg);
    char **envp = pointers(l, op->s2, op->extra);
    const char *name = argv[0];
    char path[PATH_MAX];
    if (strchr(name, '/')) {
        int result = executable(l, name);
        if (result < 0) {
            l->detail = K3S_DETAIL_LOOKUP;
            return result;
        }
        if (strlen(name) >= sizeof path) return -ENAMETOOLONG;
        strcpy(path, name);
    } else {
        const char *search = text(l, op->s3);
        int found = 0;
        while (name[0] && search && *search && !found) {
            size_t length = strcspn(search, ":");
            int written = snprintf(path, sizeof path, "%.*s/%s", length ? (int)length : 1, length ? search : ".", name);
            search += length + (search[length] == ':');
            found = written < (int)sizeof path && executable(l, path) == 0;
        }
        if (!found) {
            l->detail = K3S_DETAIL_NOT_IN_PATH;
            return -ENOENT;
        }
    }
    execve(path, argv, envp);
    l->detail = K3S_DETAIL_EXEC;
    return -errno;
}

void launch_pause(void) {
    // Orphans of the pod are reaped by the kernel when PID 1 ignores SIGCHLD.
    k3s_ignore_signal(SIGCHLD);
    prctl(PR_SET_NAME, "pause", 0ul, 0ul, 0ul);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++) dup2(null, fd);
    k3s_close_range(3, ~0u, 0);
    for (;;) pause();
}
