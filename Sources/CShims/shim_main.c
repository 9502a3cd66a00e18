// The shim's entry, event loop and protocol.
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct shim shim;

enum { LOG_LIMIT = 64 * 1024 };

void shim_complain(const char *what, const char *name, int error) {
    // stderr is shim.log. It must not fill the disk when a container's log directory is broken for weeks.
    static int written;
    if (written > LOG_LIMIT) return;
    char buffer[64];
    int count = dprintf(2, "%s %s: %s\n", what, name, strerror_r(error, buffer, sizeof buffer));
    written += count > 0 ? count : 0;
}

int source_watch(struct source *source, int fd, int kind, void *owner, uint32_t events) {
    source->fd = fd;
    source->kind = (uint8_t)kind;
    source->owner = owner;
    source->events = events;
    source->paused = 0;
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(shim.epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        shim_complain("epoll_ctl", "add", errno);
        return -1;
    }
    return 0;
}

void source_modify(struct source *source, uint32_t events) {
    if (source->fd < 0 || source->events == events) return;
    source->events = events;
    struct epoll_event event = {.events = events, .data.ptr = source};
    epoll_ctl(shim.epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void source_pause(struct source *source, int paused) {
    if (source->fd < 0 || source->paused == paused) return;
    source->paused = (uint8_t)paused;
    struct epoll_event event = {.events = source->events, .data.ptr = source};
    epoll_ctl(shim.epoll, paused ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, source->fd, &event);
}

void source_close(struct source *source) {
    if (source->fd < 0 || source->kind == SOURCE_NONE) return;
    // Explicitly: a child between clone and exec may still hold the same open file, which would keep it registered.
    epoll_ctl(shim.epoll, EPOLL_CTL_DEL, source->fd, NULL);
    close(source->fd);
    source->fd = -1;
}

struct process *process_find(const char *id) {
    for (struct process *process = shim.processes; process; process = process->next)
        if (!process->dead && !strcmp(process->id, id)) return process;
    return NULL;
}

/// The client has gone: its execs are killed, everything else lives on.
static void client_drop(void) {
    source_close(&shim.client);
    shim.list_owed = 0;
    for (struct process *process = shim.processes; process; process = process->next) {
        process->start_client = 0;
        if (!(process->flags & K3S_SHIM_EXEC) || process->dead) continue;
        if (process->state == K3S_SHIM_EXITED) process_retire(process);
        else if (process->pidfd.fd >= 0) k3s_pidfd_send_signal(process->pidfd.fd, SIGKILL);
    }
}

void client_send(struct k3s_shim_message *message, const int *fds, int nfds) {
    if (shim.client.fd < 0) return;
    message->version = K3S_SHIM_VERSION;
    int64_t sent = k3s_send_fds(shim.client.fd, message, sizeof *message, fds, nfds, MSG_DONTWAIT);
    // It limits how much it asks for at a time: one that lets its buffer fill up is stuck and may connect again.
    if (sent < 0) client_drop();
}

/// Sends the state messages that are owed, as far as the socket takes them.
void client_pump(void) {
    if (shim.client.fd < 0) return;
    for (struct process *process = shim.processes; process; process = process->next) {
        if (!process->notify || process->dead || process->state == K3S_SHIM_STARTING) continue;
        struct k3s_shim_message message = {.version = K3S_SHIM_VERSION, .type = K3S_SHIM_PROCESS};
        process_describe(process, &message);
        int64_t sent = k3s_send_fds(shim.client.fd, &message, sizeof message, NULL, 0, MSG_DONTWAIT);
        if (sent == -EAGAIN) {
            source_modify(&shim.client, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            client_drop();
            return;
        }
        process->notify = 0;
    }
    if (shim.list_owed) {
        struct k3s_shim_message message = {.version = K3S_SHIM_VERSION, .type = K3S_SHIM_LIST_END};
        int64_t sent = k3s_send_fds(shim.client.fd, &message, sizeof message, NULL, 0, MSG_DONTWAIT);
        if (sent == -EAGAIN) {
            source_modify(&shim.client, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            client_drop();
            return;
        }
        shim.list_owed = 0;
    }
    source_modify(&shim.client, EPOLLIN);
}

static void listener_event(void) {
    int fd = accept4(shim.listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    if (k3s_peer_credentials(fd, &pid, &uid, &gid) < 0 || uid != geteuid()) {
        close(fd);
        return;
    }
    // One client: a new connection means that k3s was restarted.
    if (shim.client.fd >= 0) client_drop();
    shim.client_number++;
    if (source_watch(&shim.client, fd, SOURCE_CLIENT, NULL, EPOLLIN) < 0) {
        close(fd);
        shim.client.fd = -1;
    }
}

static int handle(struct k3s_shim_message *request, struct process *process) {
    switch (request->type) {
    case K3S_SHIM_SIGNAL:
        if (!process) return ENOENT;
        if (process->pidfd.fd < 0) return ESRCH;
        return -k3s_pidfd_send_signal(process->pidfd.fd, request->value);
    case K3S_SHIM_RESIZE:
        if (!process) return ENOENT;
        if (!(process->flags & K3S_SHIM_TTY) || process->input < 0) return ENOTTY;
        return -k3s_set_window_size(process->input, request->columns, request->rows);
    case K3S_SHIM_CLOSE_STDIN:
        if (!process) return ENOENT;
        if (process->input >= 0 && !(process->flags & K3S_SHIM_TTY)) {
            close(process->input);
            process->input = -1;
        }
        return 0;
    case K3S_SHIM_REOPEN_LOG:
        if (!process) return ENOENT;
        if (process->state != K3S_SHIM_RUNNING) return ESRCH;
        return process->log.path ? -log_reopen(&process->log) : 0;
    case K3S_SHIM_FORGET:
        if (!process) return 0;
        if (process->state != K3S_SHIM_EXITED) return EBUSY;
        process_retire(process);
        return 0;
    case K3S_SHIM_SHUTDOWN:
        for (struct process *p = shim.processes; p; p = p->next)
            if (!p->dead && p->state != K3S_SHIM_EXITED) return EBUSY;
        shim.ending = 1;
        return 0;
    default: return EPROTO;
    }
}

static void client_event(uint32_t events) {
    if (events & EPOLLOUT) client_pump();
    // A bounded number of requests per round, so that streams get their turn.
    for (int round = 0; round < 16 && shim.client.fd >= 0; round++) {
        struct k3s_shim_message request;
        int fds[8], nfds = 8;
        int64_t size = k3s_recv_fds(shim.client.fd, &request, sizeof request, fds, &nfds, MSG_DONTWAIT);
        if (size == -EAGAIN) return;
        if (size != sizeof request || request.version != K3S_SHIM_VERSION) {
            for (int i = 0; i < nfds; i++) close(fds[i]);
            client_drop();
            return;
        }
        request.id[K3S_SHIM_ID_SIZE - 1] = request.parent[K3S_SHIM_ID_SIZE - 1] = 0;
        if (request.type == K3S_SHIM_START) {
            process_start(&request, fds, nfds);
            continue;
        }
        if (request.type == K3S_SHIM_UPGRADE) {
            struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = request.seq};
            reply.error = nfds == 1 ? upgrade(&request, fds[0]) : EINVAL;
            for (int i = 0; i < nfds; i++) close(fds[i]);
            client_send(&reply, NULL, 0);
            continue;
        }
        for (int i = 0; i < nfds; i++) close(fds[i]);
        struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = request.seq};
        struct process *process = process_find(request.id);
        if (request.type == K3S_SHIM_HELLO) {
            reply.pid = getpid();
            k3s_program_identity("/proc/self/exe", reply.id);
            client_send(&reply, NULL, 0);
            for (struct process *p = shim.processes; p; p = p->next) p->notify = !p->dead;
            shim.list_owed = 1;
            client_pump();
        } else if (request.type == K3S_SHIM_ATTACH) {
            if (process && process->state == K3S_SHIM_RUNNING) attach_add(process, &request);
            else {
                reply.error = process ? ESRCH : ENOENT;
                client_send(&reply, NULL, 0);
            }
        } else {
            reply.error = handle(&request, process);
            client_send(&reply, NULL, 0);
        }
    }
}

static void dispatch(struct source *source, uint32_t events) {
    if (source->fd < 0) return;
    switch (source->kind) {
    case SOURCE_LISTENER: listener_event(); break;
    case SOURCE_CLIENT: client_event(events); break;
    case SOURCE_PIDFD: process_exit_event(source->owner); break;
    case SOURCE_REPORT: process_report_event(source->owner); break;
    case SOURCE_STREAM: stream_read(source->owner, source->index); break;
    case SOURCE_ATTACH: attach_event(source->owner, source->index, events); break;
    default: break;
    }
}

static int run(void) {
    struct epoll_event events[32];
    while (!shim.ending) {
        int count = epoll_wait(shim.epoll, events, 32, shim.stalled ? 1000 : -1);
        if (count < 0 && errno != EINTR) return 1;
        // Records that end in this round are freed after it: later events of the round may point to them.
        for (int i = 0; i < count; i++) dispatch(events[i].data.ptr, events[i].events);
        if (shim.stalled) attach_expire();
        process_sweep();
    }
    return 0;
}

static int prepare(const char *directory) {
    if (chdir(directory) < 0) return -errno;
    shim.lock = open("shim.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (shim.lock < 0) return -errno;
    if (flock(shim.lock, LOCK_EX | LOCK_NB) < 0) return -errno;
    shim.epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (shim.epoll < 0 || listener < 0) return -errno;
    // Relative to the directory: an address holds 107 bytes of path only.
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "shim.sock"};
    unlink(address.sun_path);
    mode_t mask = umask(0177);
    int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
    umask(mask);
    if (bound < 0 || listen(listener, 8) < 0) return -errno;
    shim.client.fd = -1;
    if (source_watch(&shim.listener, listener, SOURCE_LISTENER, NULL, EPOLLIN) < 0) return -EIO;
    int log = open("shim.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) return -errno;
    if (log >= 0) dup2(log, 2);
    if (log > 2) close(log);
    if (null > 2) close(null);
    return chdir("/") < 0 ? -errno : 0;
}

void k3s_program_identity(const char *path, char identity[K3S_SHIM_ID_SIZE]) {
    struct stat status;
    if (stat(path, &status) < 0) memset(&status, 0, sizeof status);
    snprintf(identity, K3S_SHIM_ID_SIZE, "%llx:%llx:%llx:%llx.%lx", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino, (unsigned long long)status.st_size,
             (unsigned long long)status.st_mtim.tv_sec, (unsigned long)status.st_mtim.tv_nsec);
}

static void write_once(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, text, strlen(text)) < 0) { /* best effort: the caller says for what */ }
    close(fd);
}

int k3s_shim_main(int argc, char *const argv[]) {
    const char *directory = NULL;
    int foreground = 0, state = -1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--directory") && i + 1 < argc) directory = argv[++i];
        else if (!strcmp(argv[i], "--foreground")) foreground = 1;
        else if (!strcmp(argv[i], "--resume") && i + 1 < argc) state = atoi(argv[++i]);
        // Out of the starter's cgroups: a service manager that kills k3s's group must not find the containers' parent.
        else if (!strcmp(argv[i], "--cgroup") && i + 1 < argc) write_once(argv[++i], "0");
    }
    if (!directory && state < 0) {
        dprintf(2, "k3s shim: --directory is missing\n");
        return 2;
    }
    shim.directory = directory ? directory : "";
    // Small and staying small: one arena, no slack kept at the top of the heap.
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TOP_PAD, 4096);
    mallopt(M_TRIM_THRESHOLD, 32 * 1024);
    umask(022);
    setsid();
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP && number != SIGCHLD) k3s_default_signal(number);
    k3s_default_signal(SIGCHLD);
    k3s_ignore_signal(SIGPIPE);
    k3s_ignore_signal(SIGHUP);
    // Needs CAP_SYS_RESOURCE, which some hosts withhold.
    write_once("/proc/self/oom_score_adj", "-999");
    if (state >= 0) {
        int resumed = resume(state);
        if (resumed < 0) shim_complain("resume", "shim", -resumed);
        prctl(PR_SET_NAME, "k3s-shim", 0ul, 0ul, 0ul);
        return resumed < 0 ? 1 : run();
    }
    int result = prepare(directory);
    if (result < 0) {
        char buffer[64];
        dprintf(2, "k3s shim: %s: %s\n", directory, strerror_r(-result, buffer, sizeof buffer));
        return result == -EWOULDBLOCK ? 3 : 1;
    }
    if (!foreground) {
        pid_t pid = fork();
        if (pid < 0) return 1;
        if (pid > 0) _exit(0); // listening already: the starter may connect
        setsid();
    }
    // Who holds the lock, for people and for measurements.
    if (ftruncate(shim.lock, 0) == 0) dprintf(shim.lock, "%d\n", (int)getpid());
    prctl(PR_SET_NAME, "k3s-shim", 0ul, 0ul, 0ul);
    return run();
}
