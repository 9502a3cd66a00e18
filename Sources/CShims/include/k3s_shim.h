// `k3s shim`: the one small process per node that is the parent of every container. This header is its protocol: one
// fixed-size message over SOCK_SEQPACKET, with descriptors as SCM_RIGHTS where the type says so.
#ifndef K3S_SHIM_H
#define K3S_SHIM_H

#include <stdint.h>

/// The state's version grows with the layout of what an upgrade hands over.
enum { K3S_SHIM_VERSION = 1, K3S_SHIM_ID_SIZE = 72, K3S_SHIM_STATE_VERSION = 1 };

enum k3s_shim_type {
    // Requests of k3s. Each but HELLO is answered by one REPLY with the same seq.
    K3S_SHIM_HELLO = 1,     // answered by REPLY (pid: the shim's; id: its program, as k3s_program_identity), PROCESS for each process, LIST_END
    K3S_SHIM_START,         // id, parent, flags; fds: plan memfd, and for an exec without terminal stdin, stdout, stderr
    K3S_SHIM_SIGNAL,        // id, value: signal
    K3S_SHIM_RESIZE,        // id, columns, rows
    K3S_SHIM_ATTACH,        // id, flags STDIN | STDOUT | STDERR; the reply carries the descriptors in this order
    K3S_SHIM_CLOSE_STDIN,   // id
    K3S_SHIM_FORGET,        // id of an exited process
    K3S_SHIM_SHUTDOWN,      // EBUSY while a process lives
    K3S_SHIM_UPGRADE,       // fds: the program to become; value: the newest state it reads. The new program answers
    K3S_SHIM_REOPEN_LOG,    // id: somebody has renamed the log file
    // Messages of the shim.
    K3S_SHIM_REPLY = 64,    // error, op, detail; START: pid, started_at, and the terminal's master of an exec
    K3S_SHIM_PROCESS,       // state of a process: at HELLO, and when it exits
    K3S_SHIM_LIST_END,
};

enum k3s_shim_flags {
    K3S_SHIM_EXEC = 1,          // dies with the connection; its streams are k3s's
    K3S_SHIM_TTY = 2,
    K3S_SHIM_STDIN = 4,
    K3S_SHIM_STDIN_ONCE = 8,    // stdin ends when the first attached client goes
    K3S_SHIM_JOIN_PID = 16,     // born in the PID namespace of `parent`
    K3S_SHIM_STDOUT = 32,
    K3S_SHIM_STDERR = 64,
};

enum k3s_shim_state { K3S_SHIM_STARTING = 0, K3S_SHIM_RUNNING = 1, K3S_SHIM_EXITED = 2, K3S_SHIM_FAILED = 3 };

struct k3s_shim_message {
    uint16_t version;
    uint16_t type;
    uint32_t seq;
    char id[K3S_SHIM_ID_SIZE];
    char parent[K3S_SHIM_ID_SIZE];
    uint32_t flags;
    int32_t value;
    int32_t error;          // errno, positive; 0: success
    int32_t op, detail;     // of a failed launch plan; op -1: clone itself
    int32_t pid;
    uint32_t state;
    int32_t status;         // as from waitpid
    uint32_t oom_killed;
    uint16_t columns, rows;
    int64_t started_at, finished_at; // nanoseconds since the epoch
};
_Static_assert(sizeof(struct k3s_shim_message) == 208, "the same on 32 and 64 bits");

/// A program as text of at most 71 bytes: another file, or other content, is another identity.
void k3s_program_identity(const char *path, char identity[K3S_SHIM_ID_SIZE]);

/// Runs the shim: `k3s shim --directory DIR [--cgroup FILE]... [--foreground]`. Returns when the daemon is listening
/// (exit code for the starter) or has ended. 3: another shim holds the directory.
int k3s_shim_main(int argc, char *const argv[]);

#endif
