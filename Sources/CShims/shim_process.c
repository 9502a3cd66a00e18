// Processes of the shim: started by a plan, watched by pidfd, their end recorded before anybody is told.
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_all(int *fds, int count) {
    for (int i = 0; i < count; i++)
        if (fds[i] >= 0) close(fds[i]);
}

static const char *plan_text(const void *plan, uint32_t offset) { return offset ? (const char *)plan + offset : NULL; }

static char *keep(char **at, const char *text) {
    if (!text) return NULL;
    char *result = *at;
    strcpy(result, text);
    *at += strlen(text) + 1;
    return result;
}

static size_t kept(const char *text) { return text ? strlen(text) + 1 : 0; }

static struct process *process_make(const struct k3s_shim_message *request, const void *plan) {
    const struct k3s_plan *header = plan;
    const char *log = plan_text(plan, header->log_path), *exit = plan_text(plan, header->exit_path),
               *oom = plan_text(plan, header->oom_path), *procs = plan_text(plan, header->procs_path);
    struct process *process = calloc(1, sizeof *process + kept(log) + kept(exit) + kept(oom) + kept(procs));
    if (!process) return NULL;
    char *at = process->strings;
    process->log.path = keep(&at, log);
    process->exit_path = keep(&at, exit);
    process->oom_path = keep(&at, oom);
    process->procs_path = keep(&at, procs);
    process->log.max_bytes = header->log_max_bytes;
    process->log.max_files = header->log_max_files ? header->log_max_files : 1;
    process->log.fd = -1;
    memcpy(process->id, request->id, sizeof process->id);
    process->flags = request->flags;
    process->pidfd.fd = process->report.fd = process->input = process->master = -1;
    process->streams[0].source.fd = process->streams[1].source.fd = -1;
    return process;
}

/// Pipes of a container: child[] for the process, ours[] for us.
static int make_stdio(const struct process *process, int child[3], int ours[3]) {
    int ends[2];
    if (!(process->flags & K3S_SHIM_TTY)) {
        if (process->flags & K3S_SHIM_STDIN) {
            if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
            child[0] = ends[0];
            ours[0] = ends[1];
        }
        for (int i = 1; i < 3; i++) {
            if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
            ours[i] = ends[0];
            child[i] = ends[1];
            fcntl(ends[0], F_SETFL, O_NONBLOCK);
        }
    }
    for (int i = 0; i < 3; i++)
        if (child[i] < 0 && (child[i] = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0) return -errno;
    return 0;
}

static int start(struct k3s_shim_message *request, int *fds, int nfds, struct process **result) {
    int exec = (request->flags & K3S_SHIM_EXEC) != 0, tty = (request->flags & K3S_SHIM_TTY) != 0;
    if (nfds != (exec && !tty ? 4 : 1)) return -EINVAL;
    if (!request->id[0] || process_find(request->id)) return request->id[0] ? -EEXIST : -EINVAL;
    struct process *parent = NULL;
    if (request->parent[0]) {
        parent = process_find(request->parent);
        if (!parent || parent->state != K3S_SHIM_RUNNING) return -ESRCH;
    }
    struct stat status;
    if (fstat(fds[0], &status) < 0) return -errno;
    if (status.st_size < (off_t)sizeof(struct k3s_plan) || status.st_size > K3S_PLAN_MAX_BYTES) return -EINVAL;
    size_t size = (size_t)status.st_size;
    // Private: the child turns tables into pointers in its copy.
    void *plan = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fds[0], 0);
    if (plan == MAP_FAILED) return -errno;
    int outcome = k3s_plan_check(plan, size);
    struct process *process = outcome < 0 ? NULL : process_make(request, plan);
    if (outcome == 0 && !process) outcome = -ENOMEM;
    int child[3] = {-1, -1, -1}, ours[3] = {-1, -1, -1}, pidfd = -1, report = -1;
    if (outcome == 0 && exec && !tty) {
        for (int i = 0; i < 3; i++) {
            child[i] = fds[1 + i];
            fds[1 + i] = -1;
        }
    } else if (outcome == 0) {
        outcome = make_stdio(process, child, ours);
    }
    if (outcome >= 0)
        outcome = k3s_launch(plan, size, child, parent ? parent->pidfd.fd : -1,
                             parent && (request->flags & K3S_SHIM_JOIN_PID), &pidfd, &report);
    munmap(plan, size);
    close_all(child, 3);
    if (outcome < 0) {
        close_all(ours, 3);
        free(process);
        return outcome;
    }
    process->pid = outcome;
    process->state = K3S_SHIM_STARTING;
    process->start_seq = request->seq;
    process->start_client = shim.client_number;
    process->input = ours[0];
    if (process->log.path) log_open(&process->log);
    source_watch(&process->pidfd, pidfd, SOURCE_PIDFD, process, EPOLLIN);
    source_watch(&process->report, report, SOURCE_REPORT, process, EPOLLIN);
    for (int i = 0; i < 2; i++) {
        if (ours[1 + i] < 0) continue;
        source_watch(&process->streams[i].source, ours[1 + i], SOURCE_STREAM, process, EPOLLIN);
        process->streams[i].source.index = (uint8_t)i;
    }
    process->next = shim.processes;
    shim.processes = process;
    *result = process;
    return 0;
}

void process_start(struct k3s_shim_message *request, int *fds, int nfds) {
    struct process *process = NULL;
    int result = start(request, fds, nfds, &process);
    close_all(fds, nfds);
    if (result == 0) return;
    struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = request->seq, .error = -result, .op = -1};
    client_send(&reply, NULL, 0);
}

void process_describe(struct process *process, struct k3s_shim_message *message) {
    memcpy(message->id, process->id, sizeof message->id);
    message->flags = process->flags;
    message->pid = process->pid;
    message->state = process->state;
    message->status = process->status;
    message->oom_killed = process->oom_killed;
    message->started_at = process->started_at;
    message->finished_at = process->finished_at;
}

static void reply_to_start(struct process *process, const struct k3s_report *report) {
    if (process->start_client && process->start_client == shim.client_number) {
        struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = process->start_seq};
        process_describe(process, &reply);
        if (report) {
            reply.error = report->error ? report->error : EIO;
            reply.op = report->op;
            reply.detail = report->detail;
        }
        client_send(&reply, &process->master, process->master >= 0 ? 1 : 0);
    }
    if (process->master >= 0) close(process->master);
    process->master = -1;
    process->start_client = 0;
}

static void take_terminal(struct process *process, int master) {
    if (process->flags & K3S_SHIM_EXEC) {
        process->master = master;
        return;
    }
    fcntl(master, F_SETFL, O_NONBLOCK);
    process->input = fcntl(master, F_DUPFD_CLOEXEC, 3);
    source_watch(&process->streams[0].source, master, SOURCE_STREAM, process, EPOLLIN);
}

/// The exit record exists from the start on, empty: should the shim be killed, it tells that the process has run.
static void mark_started(struct process *process) {
    if (!process->exit_path) return;
    int fd = open(process->exit_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) shim_complain("open", process->exit_path, errno);
    else close(fd);
}

void process_report_event(struct process *process) {
    while (process->report.fd >= 0) {
        struct k3s_report report;
        int master = -1, count = 1;
        int64_t size = k3s_recv_fds(process->report.fd, &report, sizeof report, &master, &count, MSG_DONTWAIT);
        if (size == -EAGAIN) return;
        if (size == sizeof report && report.op == -1 && count == 1) {
            take_terminal(process, master);
            continue;
        }
        if (count == 1 && master >= 0) close(master);
        source_close(&process->report);
        if (size == sizeof report) {
            process->state = K3S_SHIM_FAILED;
            reply_to_start(process, &report);
            return;
        }
        process->state = K3S_SHIM_RUNNING;
        process->started_at = k3s_wall_nanoseconds();
        mark_started(process);
        reply_to_start(process, NULL);
        if (process->notify) client_pump(); // asked for by a client that was started meanwhile
    }
}

static int read_small(const char *path, char *buffer, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t count = read(fd, buffer, size - 1);
    close(fd);
    buffer[count > 0 ? count : 0] = 0;
    return (int)count;
}

static int was_oom_killed(const char *path) {
    char buffer[1024];
    if (!path || read_small(path, buffer, sizeof buffer) <= 0) return 0;
    for (char *line = buffer; line; line = strchr(line, '\n')) {
        while (*line == '\n') line++;
        if (!strncmp(line, "oom_kill ", 9)) return atoll(line + 9) > 0;
    }
    return 0;
}

/// A main process without a PID namespace of its own leaves its children behind: they are killed by cgroup.
static void kill_rest(const char *path) {
    char buffer[8192];
    size_t length = strlen(path);
    if (length > 12 && !strcmp(path + length - 12, "/cgroup.kill")) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) return;
        if (write(fd, "1", 1) < 0) shim_complain("write", path, errno);
        close(fd);
        return;
    }
    // Children may be forked while we read: a few rounds, without waiting.
    for (int round = 0; round < 8 && read_small(path, buffer, sizeof buffer) > 0; round++)
        for (char *line = buffer; *line;) {
            long pid = strtol(line, &line, 10);
            if (pid > 1) kill((pid_t)pid, SIGKILL);
            line += strcspn(line, "\n");
            line += strspn(line, "\n");
        }
}

/// "1 status oom started finished\n", in its file before it is reported: who starts again, k3s or the shim, finds it.
/// Not synced, which takes longer than the rest of a container's life: a power failure ends all containers, and one whose
/// end was written only just before counts as ended in an unknown way, like those that ran.
static void record_exit(struct process *process) {
    char buffer[128];
    int length = snprintf(buffer, sizeof buffer, "%d %d %d %lld %lld\n", K3S_SHIM_VERSION, process->status,
                          process->oom_killed, (long long)process->started_at, (long long)process->finished_at);
    int fd = open(process->exit_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        shim_complain("open", process->exit_path, errno);
        return;
    }
    if (write(fd, buffer, (size_t)length) != length)
        shim_complain("write", process->exit_path, errno);
    close(fd);
}

void process_exit_event(struct process *process) {
    int status = 0;
    int result = k3s_pidfd_reap(process->pidfd.fd, &status, NULL);
    if (result == 0) return;
    // The end of the start may be waiting behind this event.
    if (process->state == K3S_SHIM_STARTING) process_report_event(process);
    source_close(&process->report);
    source_close(&process->pidfd);
    process->status = result < 0 ? 255 << 8 : status;
    process->finished_at = k3s_wall_nanoseconds();
    if (process->state == K3S_SHIM_FAILED) {
        process_retire(process);
        return;
    }
    process->oom_killed = (uint8_t)was_oom_killed(process->oom_path);
    if (process->procs_path) kill_rest(process->procs_path);
    for (int index = 0; index < 2; index++) {
        // What is in the pipe belongs to the log, even if somebody else holds the other end. Attached clients that are
        // behind get what their pipe takes.
        while (stream_read(process, index) > 0) {}
        if (process->streams[index].source.fd >= 0) {
            log_finish(process, index);
            source_close(&process->streams[index].source);
        }
    }
    for (struct attach *attach = process->attached, *next; attach; attach = next) {
        next = attach->next;
        if (!attach->pending[0] && !attach->pending[1]) attach_close(attach);
    }
    if (process->input >= 0) close(process->input);
    process->input = -1;
    if (process->log.fd >= 0) close(process->log.fd);
    process->log.fd = -1;
    process->state = K3S_SHIM_EXITED;
    if (process->exit_path) record_exit(process);
    // An exec whose client has gone interests nobody.
    if ((process->flags & K3S_SHIM_EXEC) && shim.client.fd < 0) process_retire(process);
    else {
        process->notify = 1;
        client_pump();
    }
}

void process_retire(struct process *process) {
    process->dead = 1;
    shim.any_dead = 1;
}

void process_sweep(void) {
    for (struct attach *attach = shim.free_attached, *next; attach; attach = next) {
        next = attach->next;
        free(attach);
    }
    shim.free_attached = NULL;
    if (!shim.any_dead) return;
    shim.any_dead = 0;
    for (struct process **link = &shim.processes; *link;) {
        struct process *process = *link;
        if (!process->dead) {
            link = &process->next;
            continue;
        }
        *link = process->next;
        while (process->attached) attach_close(process->attached);
        source_close(&process->pidfd);
        source_close(&process->report);
        for (int index = 0; index < 2; index++) {
            source_close(&process->streams[index].source);
            free(process->streams[index].held);
        }
        int fds[3] = {process->input, process->master, process->log.fd};
        close_all(fds, 3);
        free(process);
    }
    for (struct attach *attach = shim.free_attached, *next; attach; attach = next) {
        next = attach->next;
        free(attach);
    }
    shim.free_attached = NULL;
}
