// The interpreter of launch plans: clone, run the ops, report. Between clone and exec nothing is allocated and no lock
// is taken, so the caller may be any process. The child is a copy (no CLONE_VM): the caller is the small shim, whose page
// tables cost little, and it goes on serving the other containers meanwhile.
#include "launch.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct k3s_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
_Static_assert(sizeof(struct k3s_clone_args) == 88, "struct clone_args, version 2");

static int string_inside(const char *plan, size_t size, uint32_t offset) {
    // The last byte is NUL, so that a string which starts inside also ends inside.
    return offset == 0 || (offset >= sizeof(struct k3s_plan) && offset < size && plan[size - 1] == 0);
}

static int table_inside(size_t size, uint32_t offset, uint64_t count, size_t width, size_t alignment) {
    return offset >= sizeof(struct k3s_plan) && offset % alignment == 0 && offset <= size &&
           count <= (size - offset) / width;
}

static int strings_inside(const char *plan, size_t size, uint32_t table, uint64_t count) {
    // One slot more than entries: the NULL at the end.
    if (count >= UINT32_MAX || !table_inside(size, table, count + 1, 8, 8)) return 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t offset;
        memcpy(&offset, plan + table + i * 8, 8);
        if (offset == 0 || offset > UINT32_MAX || !string_inside(plan, size, (uint32_t)offset)) return 0;
    }
    return 1;
}

static int op_inside(const char *plan, size_t size, const struct k3s_op *op) {
    switch (op->code) {
    case K3S_OP_IDS: {
        if (!table_inside(size, op->s1, 3, 4, 4)) return 0;
        uint32_t count;
        memcpy(&count, plan + op->s1 + 8, 4);
        return table_inside(size, op->s1, 3 + (uint64_t)count, 4, 4);
    }
    case K3S_OP_CAPABILITIES: return table_inside(size, op->s1, 2, 8, 8);
    case K3S_OP_SECCOMP: return op->arg <= UINT16_MAX && table_inside(size, op->s1, op->arg, 8, 8);
    case K3S_OP_EXEC:
        return op->arg > 0 && strings_inside(plan, size, op->s1, op->arg) &&
               strings_inside(plan, size, op->s2, op->extra) && string_inside(plan, size, op->s3);
    case K3S_OP_OVERLAY: {
        if (!string_inside(plan, size, op->extra) || !op->extra || !op->s1 || !op->arg) return 0;
        uint32_t offset = op->s1;
        for (uint64_t i = 0; i < op->arg; i++) {
            if (!string_inside(plan, size, offset)) return 0;
            offset += (uint32_t)strlen(plan + offset) + 1;
        }
        break;
    }
    case K3S_OP_OPEN_TREE:
        if (op->arg >= K3S_TREE_SLOTS) return 0;
        break;
    case K3S_OP_BIND:
        if ((op->flags & K3S_FLAG_SLOT) && op->arg >> 32 >= K3S_TREE_SLOTS) return 0;
        if (!op->s1 || !op->s2) return 0;
        break;
    case K3S_OP_MOUNT: case K3S_OP_SYMLINK: case K3S_OP_WRITE: case K3S_OP_BIND_ROOT:
        if (!op->s1 || !op->s2) return 0;
        break;
    case K3S_OP_JOIN_CGROUP: case K3S_OP_SETNS: case K3S_OP_OPEN_USERNS: case K3S_OP_PROPAGATION: case K3S_OP_MKDIR: case K3S_OP_MKNOD:
    case K3S_OP_MASK: case K3S_OP_READONLY: case K3S_OP_HOSTNAME: case K3S_OP_CHDIR:
        if (!op->s1) return 0;
        break;
    default: break;
    }
    return string_inside(plan, size, op->s1) && string_inside(plan, size, op->s2) &&
           string_inside(plan, size, op->s3);
}

int k3s_plan_check(const void *bytes, size_t size) {
    const char *plan = bytes;
    struct k3s_plan header;
    if (size < sizeof header || size > K3S_PLAN_MAX_BYTES) return -EINVAL;
    memcpy(&header, plan, sizeof header);
    if (header.magic != K3S_PLAN_MAGIC || header.version != K3S_PLAN_VERSION || header.size != size ||
        plan[size - 1] != 0 || header.op_count == 0 || header.op_count > K3S_PLAN_MAX_OPS ||
        !table_inside(size, header.ops, header.op_count, sizeof(struct k3s_op), 8) ||
        !string_inside(plan, size, header.cgroup) || !string_inside(plan, size, header.log_path) ||
        !string_inside(plan, size, header.exit_path) || !string_inside(plan, size, header.oom_path) ||
        !string_inside(plan, size, header.procs_path))
        return -EINVAL;
    const struct k3s_op *ops = (const struct k3s_op *)(plan + header.ops);
    for (uint32_t i = 0; i < header.op_count; i++)
        if (!op_inside(plan, size, &ops[i])) return -EINVAL;
    return 0;
}

static int write_text(const char *path, const char *content) {
    int fd = k3s_openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    size_t length = strlen(content);
    ssize_t count = write(fd, content, length);
    int result = count < 0 ? -errno : (size_t)count != length ? -EIO : 0;
    close(fd);
    return result;
}

static int join_namespace(const char *path, uint64_t kind) {
    int fd = k3s_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    int result = k3s_setns(fd, (int)kind);
    close(fd);
    return result;
}

/// Whether this process is in a user namespace that has not all the ids there are.
static int is_nested(void) {
    char map[64];
    int fd = k3s_openat(AT_FDCWD, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    ssize_t count = read(fd, map, sizeof map - 1);
    close(fd);
    if (count < 0) return 0;
    map[count] = 0;
    unsigned long inside, outside, ids;
    return sscanf(map, "%lu %lu %lu", &inside, &outside, &ids) != 3 || inside || outside || ids != 4294967295ul;
}

static int result_of(long result) { return result < 0 ? -errno : 0; }

static int run_op(struct launch *l, struct k3s_op *op) {
    switch (op->code) {
    case K3S_OP_NONE: return 0;
    case K3S_OP_JOIN_CGROUP: return write_text(text(l, op->s1), "0"); // "0" is the writer itself
    case K3S_OP_SETNS: return join_namespace(text(l, op->s1), op->arg);
    case K3S_OP_SETNS_TARGET: return k3s_setns(l->target, (int)op->arg);
    case K3S_OP_UNSHARE: return k3s_unshare(op->arg);
    case K3S_OP_PROPAGATION: return result_of(mount("", text(l, op->s1), NULL, (unsigned long)op->arg, NULL));
    case K3S_OP_OVERLAY: return launch_overlay(l, op);
    case K3S_OP_BIND_ROOT: return launch_bind_root(l, op);
    case K3S_OP_MOUNT: return launch_mount(l, op);
    case K3S_OP_OPEN_TREE: return launch_open_tree(l, op);
    case K3S_OP_BIND: return launch_bind(l, op);
    case K3S_OP_MKDIR: {
        int fd = launch_make(l, text(l, op->s1), 1, (unsigned)op->arg);
        if (fd < 0) return fd;
        close(fd);
        return 0;
    }
    case K3S_OP_SYMLINK: return launch_symlink(l, op);
    case K3S_OP_MKNOD: return launch_mknod(l, op);
    case K3S_OP_MASK: return launch_mask(l, op);
    case K3S_OP_READONLY: return launch_readonly(l, op);
    case K3S_OP_ROOT_READONLY:
        return k3s_mount_setattr(l->root, "", K3S_AT_EMPTY_PATH, K3S_MOUNT_ATTR_RDONLY, 0, 0);
    case K3S_OP_PTY: return launch_pty(l, op);
    case K3S_OP_PIVOT: return launch_pivot(l);
    case K3S_OP_WRITE: return write_text(text(l, op->s1), text(l, op->s2));
    case K3S_OP_HOSTNAME: return result_of(sethostname(text(l, op->s1), strlen(text(l, op->s1))));
    case K3S_OP_LOOPBACK: return k3s_interface_up("lo");
    case K3S_OP_RLIMIT: return launch_rlimit(op);
    case K3S_OP_BOUNDING: return launch_bounding(op->arg);
    case K3S_OP_IDS: return launch_ids(l, op);
    case K3S_OP_CAPABILITIES: return launch_capabilities(l, op);
    case K3S_OP_NO_NEW_PRIVILEGES: return result_of(prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul));
    case K3S_OP_SECCOMP: return launch_seccomp(l, op);
    case K3S_OP_CHDIR: return result_of(chdir(text(l, op->s1)));
    case K3S_OP_EXEC: return launch_exec(l, op);
    case K3S_OP_OPEN_USERNS: return launch_open_userns(l, op);
    case K3S_OP_ENTER_USERNS: return launch_enter_userns(l);
    case K3S_OP_PAUSE:
        close(l->report);
        launch_pause();
        return 0;
    default: return -ENOSYS;
    }
}

static void reset_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) {
        // Through the syscall: glibc refuses its two internal signals, which a program under it may still inherit ignored.
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/// Moves descriptors to their places: stdio to 0-2, report to 3, target to 4; nothing else stays open.
static int arrange_descriptors(struct launch *l, const int stdio[3]) {
    int sources[5] = {stdio[0], stdio[1], stdio[2], l->report, l->target};
    int moved[5];
    for (int i = 0; i < 5; i++) {
        moved[i] = sources[i] < 0 ? -1 : fcntl(sources[i], F_DUPFD_CLOEXEC, 8);
        if (sources[i] >= 0 && moved[i] < 0) return -errno;
    }
    for (int i = 0; i < 5; i++)
        if (moved[i] >= 0 && dup3(moved[i], i, i >= 3 ? O_CLOEXEC : 0) < 0) return -errno;
    l->report = 3;
    l->target = moved[4] >= 0 ? 4 : -1;
    return k3s_close_range(l->target >= 0 ? 5 : 4, ~0u, 0);
}

__attribute__((noreturn)) static void child(struct launch *l, const int stdio[3]) {
    const struct k3s_plan *header = (const struct k3s_plan *)l->plan;
    struct k3s_op *ops = (struct k3s_op *)(l->plan + header->ops);
    struct k3s_report report = {.op = 0};
    reset_signals();
    setsid();
    // Nobody in a namespace that is joined below may look into this process before exec.
    prctl(PR_SET_DUMPABLE, 0ul, 0ul, 0ul, 0ul);
    int result = arrange_descriptors(l, stdio);
    if (result == 0) {
        for (uint32_t i = 0; i < header->op_count; i++) {
            l->detail = K3S_DETAIL_NONE;
            result = run_op(l, &ops[i]);
            if (result >= 0 || (ops[i].flags & K3S_FLAG_OPTIONAL)) continue;
            report.op = (int32_t)i;
            break;
        }
    }
    report.error = result < 0 ? -result : ENOEXEC; // a plan without exec ends here
    report.detail = l->detail;
    k3s_send_fds(l->report, &report, sizeof report, NULL, 0, 0);
    _exit(127);
}

int k3s_launch(void *plan, size_t size, const int stdio[3], int target_pidfd, int join_pid, int *pidfd, int *report) {
    int result = k3s_plan_check(plan, size);
    if (result < 0) return result;
    const struct k3s_plan *header = plan;
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) return -errno;
    struct launch l = {
        .plan = plan, .size = size, .report = sockets[1], .target = target_pidfd, .root = -1,
        .userns = -1, .id_base = header->id_base, .nested = is_nested(),
        .slots = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}};
    struct stat exe;
    if (stat("/proc/self/exe", &exe) == 0) {
        l.exe_device = exe.st_dev;
        l.exe_inode = exe.st_ino;
    }
    int new_pidfd = -1, own_pid_namespace = -1, cgroup = -1;
    struct k3s_clone_args args = {
        .flags = header->clone_flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&new_pidfd, .exit_signal = SIGCHLD};
    if (header->cgroup) {
        cgroup = k3s_openat(AT_FDCWD, (const char *)plan + header->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (cgroup < 0) result = cgroup;
        args.flags |= K3S_CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    if (result == 0 && join_pid) {
        // setns(CLONE_NEWPID) changes where children are born, not the caller; the way back is always open.
        own_pid_namespace = k3s_openat(AT_FDCWD, "/proc/self/ns/pid", O_RDONLY | O_CLOEXEC, 0);
        result = own_pid_namespace < 0 ? own_pid_namespace : k3s_setns(target_pidfd, CLONE_NEWPID);
    }
    if (result == 0) {
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        long pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid == 0) child(&l, stdio);
        result = pid < 0 ? -errno : (int)pid;
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (join_pid) k3s_setns(own_pid_namespace, CLONE_NEWPID);
    }
    if (own_pid_namespace >= 0) close(own_pid_namespace);
    if (cgroup >= 0) close(cgroup);
    close(sockets[1]);
    if (result < 0) {
        close(sockets[0]);
        return result;
    }
    *pidfd = new_pidfd;
    *report = sockets[0];
    return result;
}
