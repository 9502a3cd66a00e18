// Container output: read once, logged, copied to attached clients. A client that reads too slowly first holds the
// container back (its pipe fills up), and is cut off when it has not read anything for ATTACH_STALL_SECONDS.
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char chunk[READ_CHUNK];

/// Fewer switches between a container that writes much and the shim. Pipes that are never full cost nothing more.
static void grow(struct stream *stream, ssize_t count) {
    enum { FULL_ROUNDS = 4, GROWN = 255 };
    if (stream->full == GROWN) return;
    stream->full = count >= PIPE_SIZE ? stream->full + 1 : 0;
    if (stream->full < FULL_ROUNDS) return;
    // The kernel refuses where a user's pipes have their limit: then it stays as it is. Terminals have no such size.
    fcntl(stream->source.fd, F_SETPIPE_SZ, READ_CHUNK);
    stream->full = GROWN;
}

/// While blocked the stream is not in epoll at all: a hang-up would be reported whatever is asked for.
void stream_update(struct process *process, int index) {
    struct stream *stream = &process->streams[index];
    if (stream->source.fd >= 0) source_pause(&stream->source, stream->blocked > 0);
}

static void attach_drop_side(struct attach *attach, int index) {
    if (attach->sources[index].fd < 0) return;
    source_close(&attach->sources[index]);
    if (attach->pending[index]) {
        free(attach->pending[index]);
        attach->pending[index] = NULL;
        attach->process->streams[index].blocked--;
        stream_update(attach->process, index);
    }
    if (attach->sources[0].fd < 0 && attach->sources[1].fd < 0) attach_close(attach);
}

/// Adds to what waits for a client already. Happens only when the process has exited and its pipe is emptied, so the
/// size is bounded by the pipe's.
static void attach_append(struct attach *attach, int index, const char *bytes, uint32_t count) {
    char *grown = realloc(attach->pending[index], attach->pending_size[index] + count);
    if (!grown) return;
    memcpy(grown + attach->pending_size[index], bytes, count);
    attach->pending[index] = grown;
    attach->pending_size[index] += count;
}

static void attach_write(struct attach *attach, int index, const char *bytes, uint32_t count) {
    if (attach->pending[index]) {
        attach_append(attach, index, bytes, count);
        return;
    }
    ssize_t written;
    do written = write(attach->sources[index].fd, bytes, count);
    while (written < 0 && errno == EINTR);
    if (written < 0 && errno != EAGAIN) {
        attach_drop_side(attach, index);
        return;
    }
    if (written < 0) written = 0;
    if ((uint32_t)written == count) return;
    uint32_t rest = count - (uint32_t)written;
    attach->pending[index] = malloc(rest);
    if (!attach->pending[index]) {
        attach_drop_side(attach, index);
        return;
    }
    memcpy(attach->pending[index], bytes + written, rest);
    attach->pending_size[index] = rest;
    attach->pending_done[index] = 0;
    if (!attach->stalled_since) attach->stalled_since = k3s_monotonic_nanoseconds();
    shim.stalled++;
    attach->process->streams[index].blocked++;
    stream_update(attach->process, index);
    source_modify(&attach->sources[index], EPOLLOUT);
}

int stream_read(struct process *process, int index) {
    struct stream *stream = &process->streams[index];
    if (stream->source.fd < 0) return -1;
    ssize_t count;
    size_t room = process->attached ? ATTACH_CHUNK : sizeof chunk;
    do count = read(stream->source.fd, chunk, room);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) { // end; EIO is how a terminal ends
        log_finish(process, index);
        source_close(&stream->source);
        for (struct attach *attach = process->attached, *next; attach; attach = next) {
            next = attach->next;
            if (!attach->pending[index]) attach_drop_side(attach, index);
        }
        return -1;
    }
    grow(stream, count);
    log_append(process, index, chunk, (uint32_t)count);
    for (struct attach *attach = process->attached, *next; attach; attach = next) {
        next = attach->next;
        if (attach->sources[index].fd >= 0) attach_write(attach, index, chunk, (uint32_t)count);
    }
    return 1;
}

void attach_event(struct attach *attach, int index, uint32_t events) {
    struct source *source = &attach->sources[index];
    if (source->fd < 0) return;
    if (attach->pending[index] && (events & EPOLLOUT)) {
        uint32_t done = attach->pending_done[index], size = attach->pending_size[index];
        ssize_t written = write(source->fd, attach->pending[index] + done, size - done);
        if (written < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (written >= 0) {
            attach->pending_done[index] = done += (uint32_t)written;
            attach->stalled_since = k3s_monotonic_nanoseconds();
            if (done < size) return;
            free(attach->pending[index]);
            attach->pending[index] = NULL;
            if (!attach->pending[!index]) attach->stalled_since = 0;
            attach->process->streams[index].blocked--;
            source_modify(source, 0);
            // Nothing more will come from a stream that has ended.
            if (attach->process->streams[index].source.fd < 0) attach_drop_side(attach, index);
            else stream_update(attach->process, index);
            return;
        }
    }
    if (events & (EPOLLERR | EPOLLHUP)) attach_drop_side(attach, index);
}

void attach_close(struct attach *attach) {
    struct process *process = attach->process;
    if (!process) return;
    for (struct attach **link = &process->attached; *link; link = &(*link)->next) {
        if (*link != attach) continue;
        *link = attach->next;
        break;
    }
    for (int index = 0; index < 2; index++) {
        if (attach->sources[index].fd >= 0) source_close(&attach->sources[index]);
        if (!attach->pending[index]) continue;
        free(attach->pending[index]);
        attach->pending[index] = NULL;
        process->streams[index].blocked--;
        stream_update(process, index);
    }
    if (attach->with_stdin && (process->flags & K3S_SHIM_STDIN_ONCE) && !(process->flags & K3S_SHIM_TTY) &&
        process->input >= 0) {
        close(process->input);
        process->input = -1;
    }
    attach->process = NULL;
    attach->next = shim.free_attached;
    shim.free_attached = attach;
}

void attach_expire(void) {
    int64_t limit = k3s_monotonic_nanoseconds() - ATTACH_STALL_SECONDS * 1000000000ll;
    shim.stalled = 0;
    for (struct process *process = shim.processes; process; process = process->next)
        for (struct attach *attach = process->attached, *next; attach; attach = next) {
            next = attach->next;
            if (!attach->stalled_since) continue;
            if (attach->stalled_since < limit) attach_close(attach);
            else shim.stalled++;
        }
}

void attach_add(struct process *process, struct k3s_shim_message *request) {
    struct k3s_shim_message reply = {.type = K3S_SHIM_REPLY, .seq = request->seq};
    int fds[3], count = 0, ends[2];
    struct attach *attach = calloc(1, sizeof *attach);
    if (!attach) {
        reply.error = ENOMEM;
        client_send(&reply, NULL, 0);
        return;
    }
    attach->sources[0].fd = attach->sources[1].fd = -1;
    if ((request->flags & process->flags & K3S_SHIM_STDIN) && process->input >= 0) {
        fds[count] = fcntl(process->input, F_DUPFD_CLOEXEC, 3);
        if (fds[count] >= 0) {
            count++;
            reply.flags |= K3S_SHIM_STDIN;
            attach->with_stdin = 1;
        }
    }
    for (int index = 0; index < 2; index++) {
        uint32_t flag = index ? K3S_SHIM_STDERR : K3S_SHIM_STDOUT;
        if (!(request->flags & flag) || process->streams[index].source.fd < 0) continue;
        if (pipe2(ends, O_CLOEXEC) < 0) {
            reply.error = errno;
            continue;
        }
        // Only our end: the client decides for itself.
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        if (source_watch(&attach->sources[index], ends[1], SOURCE_ATTACH, attach, 0) < 0) {
            close(ends[0]);
            close(ends[1]);
            attach->sources[index].fd = -1;
            continue;
        }
        attach->sources[index].index = (uint8_t)index;
        fds[count++] = ends[0];
        reply.flags |= flag;
    }
    attach->process = process;
    attach->next = process->attached;
    process->attached = attach;
    client_send(&reply, fds, count);
    for (int i = 0; i < count; i++) close(fds[i]);
    if (attach->sources[0].fd < 0 && attach->sources[1].fd < 0) {
        // Nothing to copy out: its stdin needs no record here.
        attach->with_stdin = 0;
        attach_close(attach);
    }
}
