// The shim replaced by another binary while containers run: its state goes into a memfd, its descriptors stay open, and
// the process, parent of all containers, executes the new program with "--resume". Should that fail, it goes on as it was.
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STATE_MAGIC = 0x4b335348, FD_COUNT = 7 };

struct saved_shim {
    uint32_t magic, version;
    int32_t listener, client, lock;
    uint32_t list_owed;
    uint64_t client_number;
    uint32_t seq; // of the request, which the new program answers
    uint32_t processes;
};

struct saved_process {
    char id[K3S_SHIM_ID_SIZE];
    uint32_t flags;
    uint8_t state, notify, oom_killed, middle[2], reserved[3];
    int32_t pid, status;
    int64_t started_at, finished_at;
    uint32_t start_seq;
    uint64_t start_client;
    int32_t fds[FD_COUNT]; // pidfd, report, stdout, stderr, input, master, log
    int64_t log_size, last_rotation;
    uint32_t log_max_bytes, log_max_files;
    uint32_t held[2];    // bytes of unfinished lines
    uint32_t strings[4]; // lengths with NUL, 0: none: log, exit, oom, procs
    uint32_t attached;
};

struct saved_attach {
    int32_t fds[2];
    uint32_t pending[2];
    int64_t stalled_since;
    uint32_t with_stdin, reserved;
};

static int put(int fd, const void *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        bytes = (const char *)bytes + written;
        count -= (size_t)written;
    }
    return 0;
}

static uint32_t kept(const char *text) { return text ? (uint32_t)strlen(text) + 1 : 0; }

static int save_process(int fd, struct process *process) {
    struct saved_process saved = {
        .flags = process->flags, .state = process->state, .notify = process->notify,
        .oom_killed = process->oom_killed, .middle = {process->streams[0].middle, process->streams[1].middle},
        .pid = process->pid, .status = process->status, .started_at = process->started_at,
        .finished_at = process->finished_at, .start_seq = process->start_seq, .start_client = process->start_client,
        .fds = {process->pidfd.fd, process->report.fd, process->streams[0].source.fd, process->streams[1].source.fd,
                process->input, process->master, process->log.fd},
        .log_size = process->log.size, .last_rotation = process->log.last_rotation,
        .log_max_bytes = process->log.max_bytes, .log_max_files = process->log.max_files,
        .held = {process->streams[0].held_size, process->streams[1].held_size},
        .strings = {kept(process->log.path), kept(process->exit_path), kept(process->oom_path),
                    kept(process->procs_path)}};
    memcpy(saved.id, process->id, sizeof saved.id);
    for (struct attach *attach = process->attached; attach; attach = attach->next) saved.attached++;
    if (put(fd, &saved, sizeof saved) < 0) return -1;
    const char *strings[4] = {process->log.path, process->exit_path, process->oom_path, process->procs_path};
    for (int i = 0; i < 4; i++)
        if (put(fd, strings[i], saved.strings[i]) < 0) return -1;
    for (int i = 0; i < 2; i++)
        if (put(fd, process->streams[i].held, saved.held[i]) < 0) return -1;
    for (struct attach *attach = process->attached; attach; attach = attach->next) {
        struct saved_attach record = {
            .fds = {attach->sources[0].fd, attach->sources[1].fd}, .stalled_since = attach->stalled_since,
            .with_stdin = attach->with_stdin};
        for (int i = 0; i < 2; i++)
            if (attach->pending[i]) record.pending[i] = attach->pending_size[i] - attach->pending_done[i];
        if (put(fd, &record, sizeof record) < 0) return -1;
        for (int i = 0; i < 2; i++)
            if (put(fd, attach->pending[i] + attach->pending_done[i], record.pending[i]) < 0) return -1;
    }
    return 0;
}

/// Sets or clears close-on-exec of everything that lives on.
static void keep_descriptors(int memfd, int kept_open) {
    int flags = kept_open ? 0 : FD_CLOEXEC;
    int own[4] = {shim.listener.fd, shim.client.fd, shim.lock, memfd};
    for (int i = 0; i < 4; i++)
        if (own[i] >= 0) fcntl(own[i], F_SETFD, flags);
    for (struct process *process = shim.processes; process; process = process->next) {
        int fds[FD_COUNT] = {process->pidfd.fd, process->report.fd, process->streams[0].source.fd,
                             process->streams[1].source.fd, process->input, process->master, process->log.fd};
        for (int i = 0; i < FD_COUNT; i++)
            if (fds[i] >= 0) fcntl(fds[i], F_SETFD, flags);
        for (struct attach *attach = process->attached; attach; attach = attach->next)
            for (int i = 0; i < 2; i++)
                if (attach->sources[i].fd >= 0) fcntl(attach->sources[i].fd, F_SETFD, flags);
    }
}

int upgrade(const struct k3s_shim_message *request, int program) {
    // The new program reads what this one writes, or nothing happens.
    if (request->value < K3S_SHIM_STATE_VERSION) return EPROTONOSUPPORT;
    process_sweep();
    int memfd = k3s_memfd_create("shim-state", 0);
    if (memfd < 0) return -memfd;
    struct saved_shim header = {
        .magic = STATE_MAGIC, .version = K3S_SHIM_STATE_VERSION, .listener = shim.listener.fd,
        .client = shim.client.fd, .lock = shim.lock, .list_owed = shim.list_owed,
        .client_number = shim.client_number, .seq = request->seq};
    for (struct process *process = shim.processes; process; process = process->next) header.processes++;
    int result = put(memfd, &header, sizeof header);
    for (struct process *process = shim.processes; result == 0 && process; process = process->next)
        result = save_process(memfd, process);
    if (result < 0 || lseek(memfd, 0, SEEK_SET) < 0) {
        close(memfd);
        return ENOSPC;
    }
    keep_descriptors(memfd, 1);
    char number[16];
    snprintf(number, sizeof number, "%d", memfd);
    char *arguments[] = {"k3s", "shim", "--directory", (char *)shim.directory, "--resume", number, NULL}, *environment[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    syscall(SYS_execveat, program, "", arguments, environment, AT_EMPTY_PATH);
    int code = errno;
    keep_descriptors(memfd, 0);
    close(memfd);
    return code;
}

static int take(int fd, void *bytes, size_t count) {
    while (count > 0) {
        ssize_t got = read(fd, bytes, count);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        bytes = (char *)bytes + got;
        count -= (size_t)got;
    }
    return 0;
}

static int resume_attach(int fd, struct process *process) {
    struct saved_attach saved;
    if (take(fd, &saved, sizeof saved) < 0) return -1;
    struct attach *attach = calloc(1, sizeof *attach);
    if (!attach) return -1;
    attach->process = process;
    attach->stalled_since = saved.stalled_since;
    attach->with_stdin = (uint8_t)saved.with_stdin;
    attach->next = process->attached;
    process->attached = attach;
    for (int i = 0; i < 2; i++) {
        attach->sources[i].fd = -1;
        if (saved.pending[i]) {
            attach->pending[i] = malloc(saved.pending[i]);
            if (!attach->pending[i] || take(fd, attach->pending[i], saved.pending[i]) < 0) return -1;
            attach->pending_size[i] = saved.pending[i];
            process->streams[i].blocked++;
            shim.stalled++;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (saved.fds[i] < 0) continue;
        source_watch(&attach->sources[i], saved.fds[i], SOURCE_ATTACH, attach, attach->pending[i] ? EPOLLOUT : 0);
        attach->sources[i].index = (uint8_t)i;
    }
    return 0;
}

static int resume_process(int fd) {
    struct saved_process saved;
    if (take(fd, &saved, sizeof saved) < 0) return -1;
    size_t length = 0;
    for (int i = 0; i < 4; i++) {
        if (saved.strings[i] > 1 << 16) return -1;
        length += saved.strings[i];
    }
    struct process *process = calloc(1, sizeof *process + length);
    if (!process || take(fd, process->strings, length) < 0) return -1;
    char *at = process->strings, *strings[4];
    for (int i = 0; i < 4; i++) {
        strings[i] = saved.strings[i] ? at : NULL;
        at += saved.strings[i];
    }
    process->log.path = strings[0];
    process->exit_path = strings[1];
    process->oom_path = strings[2];
    process->procs_path = strings[3];
    memcpy(process->id, saved.id, sizeof process->id);
    process->flags = saved.flags;
    process->state = saved.state;
    process->notify = saved.notify;
    process->oom_killed = saved.oom_killed;
    process->pid = saved.pid;
    process->status = saved.status;
    process->started_at = saved.started_at;
    process->finished_at = saved.finished_at;
    process->start_seq = saved.start_seq;
    process->start_client = saved.start_client;
    process->log.size = saved.log_size;
    process->log.last_rotation = saved.last_rotation;
    process->log.max_bytes = saved.log_max_bytes;
    process->log.max_files = saved.log_max_files;
    process->input = saved.fds[4];
    process->master = saved.fds[5];
    process->log.fd = saved.fds[6];
    process->pidfd.fd = process->report.fd = process->streams[0].source.fd = process->streams[1].source.fd = -1;
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &process->streams[i];
        stream->middle = saved.middle[i];
        if (!saved.held[i]) continue;
        stream->held = malloc(saved.held[i]);
        if (!stream->held || take(fd, stream->held, saved.held[i]) < 0) return -1;
        stream->held_size = stream->held_capacity = saved.held[i];
    }
    // In the order of the list.
    struct process **end = &shim.processes;
    while (*end) end = &(*end)->next;
    *end = process;
    if (saved.fds[0] >= 0) source_watch(&process->pidfd, saved.fds[0], SOURCE_PIDFD, process, EPOLLIN);
    if (saved.fds[1] >= 0) source_watch(&process->report, saved.fds[1], SOURCE_REPORT, process, EPOLLIN);
    for (int i = 0; i < 2; i++) {
        if (saved.fds[2 + i] < 0) continue;
        source_watch(&process->streams[i].source, saved.fds[2 + i], SOURCE_STREAM, process, EPOLLIN);
        process->streams[i].source.index = (uint8_t)i;
    }
    for (uint32_t i = 0; i < saved.attached; i++)
        if (resume_attach(fd, process) < 0) return -1;
    for (int i = 0; i < 2; i++) stream_update(process, i);
    return 0;
}

int resume(int memfd) {
    struct saved_shim header;
    if (take(memfd, &header, sizeof header) < 0 || header.magic != STATE_MAGIC ||
        header.version > K3S_SHIM_STATE_VERSION)
        return -EPROTO;
    shim.lock = header.lock;
    shim.client_number = header.client_number;
    shim.list_owed = (uint8_t)header.list_owed;
    shim.client.fd = -1;
    shim.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (shim.epoll < 0 || source_watch(&shim.listener, header.listener, SOURCE_LISTENER, NULL, EPOLLIN) < 0)
        return -EIO;
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < header.processes; i++) result = resume_process(memfd);
    if (result < 0) shim_complain("resume", "state", EIO);
    close(memfd);
    // The next children must not inherit what was carried over.
    keep_descriptors(-1, 0);
    if (header.client >= 0 && source_watch(&shim.client, header.client, SOURCE_CLIENT, NULL, EPOLLIN) == 0) {
        fcntl(header.client, F_SETFD, FD_CLOEXEC);
        struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = header.seq, .pid = getpid()};
        client_send(&reply, NULL, 0);
        client_pump();
    }
    return 0;
}
