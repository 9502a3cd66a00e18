// The launch plan: what a new process does between clone3 and exec, as one flat block of memory. Swift compiles it
// (Containers/LaunchPlan), `k3s_launch` runs it. No pointers: strings and tables are offsets from the start of the
// plan, so that it travels in a memfd. Offset 0 (the header) stands for "none".
#ifndef K3S_PLAN_H
#define K3S_PLAN_H

#include <stddef.h>
#include <stdint.h>

enum { K3S_PLAN_MAGIC = 0x4e4c504b, K3S_PLAN_VERSION = 1, K3S_PLAN_MAX_BYTES = 4 << 20, K3S_PLAN_MAX_OPS = 4096 };

struct k3s_op {
    uint32_t code;       // enum k3s_op_code
    uint32_t flags;      // enum k3s_op_flags, or as the op says
    uint64_t arg;
    uint32_t s1, s2, s3; // offsets of NUL-terminated strings or of tables
    uint32_t extra;
};
_Static_assert(sizeof(struct k3s_op) == 32, "written by Swift field by field");

struct k3s_plan {
    uint32_t magic, version;
    uint32_t size;          // of the whole plan; its last byte is NUL
    uint32_t op_count;
    uint64_t clone_flags;   // CLONE_NEW* for clone3
    uint32_t ops;           // offset of the ops, 8 byte aligned
    uint32_t cgroup;        // directory for CLONE_INTO_CGROUP (v2), or 0
    // For the shim, not for the interpreter:
    uint32_t log_path;      // CRI log file of stdout and stderr, or 0
    uint32_t exit_path;     // where the exit is recorded, or 0
    uint32_t oom_path;      // file with a line "oom_kill N" (memory.oom_control or memory.events), or 0
    uint32_t procs_path;    // cgroup.procs whose processes are killed after the main process has gone, or 0
    uint32_t log_max_bytes; // size at which the log is rotated
    uint32_t log_max_files; // the current one included
    uint32_t id_base;       // host id of the container's root in a user namespace, or 0
    uint32_t reserved;
};
_Static_assert(sizeof(struct k3s_plan) == 64, "written by Swift field by field");

enum k3s_op_code {
    K3S_OP_NONE = 0,
    K3S_OP_JOIN_CGROUP,     // s1: cgroup.procs file; the process writes itself into it
    K3S_OP_SETNS,           // s1: nsfs path; arg: CLONE_NEW*
    K3S_OP_SETNS_TARGET,    // arg: CLONE_NEW* flags of the target process's namespaces
    K3S_OP_UNSHARE,         // arg: CLONE_NEW*
    K3S_OP_PROPAGATION,     // s1: mount point; arg: MS_*
    K3S_OP_OVERLAY,         // s1: arg NUL-terminated lower directories in a row, topmost first; s2: upper; s3: work; extra: mount point
    K3S_OP_BIND_ROOT,       // s1: directory; s2: mount point
    K3S_OP_MOUNT,           // s1: type; s2: target in the root; s3: options "a,b=c"; arg: MOUNT_ATTR_*
    K3S_OP_OPEN_TREE,       // s1: source; arg: slot. Before K3S_OP_PROPAGATION it keeps the source's peer group
    K3S_OP_BIND,            // s1: source (any, with flag SLOT); s2: target in the root;
                            // arg: MOUNT_ATTR_* to set, slot << 32; extra: MS_PRIVATE, MS_SLAVE, MS_SHARED; 0: leave
    K3S_OP_MKDIR,           // s1: path in the root; arg: mode
    K3S_OP_SYMLINK,         // s1: content; s2: path in the root
    K3S_OP_MKNOD,           // s1: path in the root; arg: device; extra: mode with type; flags >> 16: gid;
                            // s2: the host's node, bound where none may be made (user namespaces)
    K3S_OP_MASK,            // s1: path in the root, hidden by /dev/null or an empty directory; missing is fine
    K3S_OP_READONLY,        // s1: path in the root; missing is fine
    K3S_OP_ROOT_READONLY,
    K3S_OP_PTY,             // terminal on the root's devpts: master to the shim, slave to 0, 1, 2; arg: columns << 16 | rows
    K3S_OP_PIVOT,
    K3S_OP_WRITE,           // s1: file; s2: content
    K3S_OP_HOSTNAME,        // s1: name
    K3S_OP_LOOPBACK,        // lo up
    K3S_OP_RLIMIT,          // extra: RLIMIT_*; arg: soft = hard; the hard limit when that cannot be raised
    K3S_OP_BOUNDING,        // arg: capabilities that stay in the bounding set
    K3S_OP_IDS,             // s1: table of u32: uid, gid, count, groups...
    K3S_OP_CAPABILITIES,    // arg: effective and permitted; s1: table of u64: inheritable, ambient
    K3S_OP_NO_NEW_PRIVILEGES,
    K3S_OP_SECCOMP,         // s1: struct sock_filter[arg]
    K3S_OP_CHDIR,           // s1: path
    K3S_OP_EXEC,            // s1: table of u64 string offsets, arg entries and a zero; s2: the same for the environment,
                            // extra entries; s3: PATH
    K3S_OP_PAUSE,           // reap orphans until killed: PID 1 of a pod with a shared PID namespace
    K3S_OP_OPEN_USERNS,     // s1: nsfs path of a user namespace: for mounts with flag IDMAP and for ENTER_USERNS
    K3S_OP_ENTER_USERNS,    // the opened user namespace, or the target process's; stdio becomes its root's
};

enum k3s_op_flags {
    K3S_FLAG_OPTIONAL = 1,  // failure is ignored
    K3S_FLAG_RECURSIVE = 2,
    K3S_FLAG_SLOT = 4,
    K3S_FLAG_CONSOLE = 8,   // K3S_OP_PTY: also /dev/console
    // K3S_OP_BIND and K3S_OP_OVERLAY; of the flags of K3S_OP_MKNOD the upper half is taken.
    K3S_FLAG_READONLY_TREE = 16, // MOUNT_ATTR_* hold for what is mounted below, too
    K3S_FLAG_IDMAP = 32,    // owners are shifted into the opened user namespace
};

/// Which part of an op failed, for messages.
enum k3s_detail {
    K3S_DETAIL_NONE = 0,
    K3S_DETAIL_SOURCE = 1,
    K3S_DETAIL_TARGET = 2,
    K3S_DETAIL_ATTACH = 3,
    K3S_DETAIL_OPTION = 4,
    K3S_DETAIL_LOOKUP = 5,      // K3S_OP_EXEC: the named file
    K3S_DETAIL_NOT_IN_PATH = 6, // K3S_OP_EXEC: no directory of PATH has it
    K3S_DETAIL_EXEC = 7,        // K3S_OP_EXEC: execve of the file that was found
    K3S_DETAIL_IDMAP = 8,       // K3S_OP_OVERLAY: the layers' file system knows no idmapped mounts
};

/// What arrives on the report socket: a failure, or (op == -1) the master of a terminal as descriptor. End of file
/// means that exec has happened.
struct k3s_report {
    int32_t op;
    int32_t error;
    int32_t detail;
    int32_t reserved;
};

enum { K3S_TREE_SLOTS = 16 };

/// 0, or -EINVAL when the plan is not well-formed (every offset, table and string is inside).
int k3s_plan_check(const void *plan, size_t size);

/// Clones a child that runs the plan (which must be writable private memory: tables are turned into pointers there, in
/// the child's copy). stdio: three open descriptors. `target_pidfd`: a process whose PID namespace is joined, when
/// `join_pid`, and whose other namespaces K3S_OP_SETNS_TARGET enters; -1: none. Returns the pid, or -errno.
/// *report receives the child's end of story as described at struct k3s_report.
int k3s_launch(void *plan, size_t size, const int stdio[3], int target_pidfd, int join_pid, int *pidfd, int *report);

#endif
