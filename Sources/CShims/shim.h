// Shared by the files of the shim. One thread, one epoll, no lock; memory is allocated per process record, per held
// log fragment and per stalled attach client only.
#ifndef K3S_SHIM_INTERNAL_H
#define K3S_SHIM_INTERNAL_H
#include "CShims.h"
#include "k3s_plan.h"
#include "k3s_shim.h"

enum source_kind {
    SOURCE_NONE, SOURCE_LISTENER, SOURCE_CLIENT, SOURCE_PIDFD, SOURCE_REPORT, SOURCE_STREAM, SOURCE_ATTACH,
};

/// What an epoll event belongs to; embedded in its owner.
struct source {
    int fd; // -1: closed
    uint32_t events;
    uint8_t kind;
    uint8_t paused;
    uint8_t index; // stream: 0 stdout, 1 stderr
    void *owner;
};

/// A pipe holds 64 KiB at first. One that is found full more than once gets room for a whole chunk; what is attached is
/// fed in pieces that fit into its own pipe.
enum {
    READ_CHUNK = 128 * 1024, PIPE_SIZE = 64 * 1024, ATTACH_CHUNK = 32 * 1024,
    MAX_LOG_LINE = 16 * 1024, ATTACH_STALL_SECONDS = 10,
};

struct log_file {
    int fd;
    int64_t size;
    int64_t last_rotation; // second in the name of the newest rotated file
    uint32_t max_bytes, max_files;
    const char *path;
};

/// A container's stdout or stderr on its way to the log and to attached clients.
struct stream {
    struct source source;
    char *held;          // begin of a line whose end has not been read yet
    uint32_t held_size, held_capacity;
    uint8_t full;        // how often in a row the pipe was full; GROWN: it is larger now
    uint8_t middle;      // part of the current line is in the log already (tag P)
    uint16_t blocked;    // attached clients that have to catch up before more is read
};

struct attach {
    struct attach *next;
    struct process *process;
    struct source sources[2];
    char *pending[2];
    uint32_t pending_size[2], pending_done[2];
    int64_t stalled_since; // monotonic; 0: nothing pending
    uint8_t with_stdin;
};

struct process {
    struct process *next;
    char id[K3S_SHIM_ID_SIZE];
    uint32_t flags;
    uint8_t state;
    uint8_t notify;     // a PROCESS message is owed to the client
    uint8_t dead;       // to be freed after this round of events
    uint8_t oom_killed;
    int32_t pid, status;
    int64_t started_at, finished_at;
    uint32_t start_seq;
    uint64_t start_client; // connection that asked for the start, 0: none any more
    struct source pidfd, report;
    struct stream streams[2];
    int input;          // write end of stdin, or master of the terminal; -1: none
    int master;         // of an exec's terminal, until it is handed over
    struct log_file log;
    struct attach *attached;
    char *exit_path, *oom_path, *procs_path;
    char strings[];     // the paths
};

/// Everything the shim knows: one struct, so that an upgrade can carry it over.
struct shim {
    int epoll;
    struct source listener, client;
    uint64_t client_number;
    uint8_t list_owed; // LIST_END is owed to the client
    uint8_t any_dead;
    uint8_t ending;
    struct process *processes;
    struct attach *free_attached; // closed in this round of events
    uint32_t stalled;
    const char *directory; // for people who look at the command line
    int lock; // of the directory, held for as long as there is a shim
};

extern struct shim shim;

// shim_main.c
int source_watch(struct source *source, int fd, int kind, void *owner, uint32_t events);
void source_modify(struct source *source, uint32_t events);
/// Takes the source out of epoll, or puts it back.
void source_pause(struct source *source, int paused);
void source_close(struct source *source);
void shim_complain(const char *what, const char *name, int error);
struct process *process_find(const char *id);
/// Sends to the client; drops it when it does not read. Descriptors stay the caller's.
void client_send(struct k3s_shim_message *message, const int *fds, int nfds);
void client_pump(void);

// shim_upgrade.c
/// Becomes `program` (a descriptor) with all there is; errno when it does not.
int upgrade(const struct k3s_shim_message *request, int program);
/// Takes over what `upgrade` has left in the memfd.
int resume(int memfd);

// shim_process.c
void process_start(struct k3s_shim_message *request, int *fds, int nfds);
void process_report_event(struct process *process);
void process_exit_event(struct process *process);
void process_describe(struct process *process, struct k3s_shim_message *message);
void process_retire(struct process *process);
void process_sweep(void);

// shim_stream.c
/// Reads one chunk. 1: more may come; 0: nothing there now; -1: the stream has ended and is closed.
int stream_read(struct process *process, int index);
void stream_update(struct process *process, int index);
void attach_add(struct process *process, struct k3s_shim_message *request);
void attach_event(struct attach *attach, int index, uint32_t events);
void attach_close(struct attach *attach);
void attach_expire(void);

// shim_log.c
void log_open(struct log_file *log);
/// The file of this name, which may be another one now; -errno: the old one stays.
int log_reopen(struct log_file *log);
/// Adds what a stream delivered; complete lines and overlong pieces go to the file.
void log_append(struct process *process, int index, const char *bytes, uint32_t count);
/// The stream has ended: an unfinished line is written with tag P.
void log_finish(struct process *process, int index);
void log_flush(struct log_file *log);
#endif
