// Log files in CRI's format: "2026-01-01T00:00:00.000000000Z stdout F line". Lines are collected in one static buffer
// and written with one write(2) per chunk that a container delivered; a file never ends within a line.
#include "shim.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Room for one chunk of lines of 100 bytes with their headers, so that it becomes one write.
enum { OUTPUT_SIZE = READ_CHUNK + READ_CHUNK / 2, HEADER_SIZE = 40 };

static char output[OUTPUT_SIZE];
static uint32_t output_used;
static char header[HEADER_SIZE + 1];

static int make_parents(const char *path) {
    char buffer[4096];
    if (strlen(path) >= sizeof buffer) return -ENAMETOOLONG;
    strcpy(buffer, path);
    for (char *slash = strchr(buffer + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(buffer, 0755) < 0 && errno != EEXIST) return -errno;
        *slash = '/';
    }
    return 0;
}

void log_open(struct log_file *log) {
    int fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0 && errno == ENOENT && make_parents(log->path) == 0)
        fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) shim_complain("open", log->path, errno);
    struct stat status;
    log->fd = fd;
    log->size = fd >= 0 && fstat(fd, &status) == 0 ? status.st_size : 0;
}

int log_reopen(struct log_file *log) {
    // Between two events nothing waits in the buffer, and a file always ends with a whole line.
    struct log_file fresh = *log;
    log_open(&fresh);
    if (fresh.fd < 0) return -EIO;
    if (log->fd >= 0) close(log->fd);
    *log = fresh;
    return 0;
}

void log_flush(struct log_file *log) {
    uint32_t done = 0;
    while (log->fd >= 0 && done < output_used) {
        ssize_t count = write(log->fd, output + done, output_used - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            // No space: what was not written is lost, but never half a line. The container is not made to wait.
            if (done > 0 && ftruncate(log->fd, log->size) < 0) shim_complain("truncate", log->path, errno);
            shim_complain("write", log->path, errno);
            output_used = 0;
            return;
        }
        done += (uint32_t)count;
    }
    log->size += done;
    output_used = 0;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/// Removes the oldest rotated files so that `max_files`, the current one included, stay.
static void remove_old(struct log_file *log) {
    char directory[4096];
    const char *slash = strrchr(log->path, '/');
    if (!slash || (size_t)(slash - log->path) >= sizeof directory) return;
    memcpy(directory, log->path, (size_t)(slash - log->path));
    directory[slash - log->path] = 0;
    const char *name = slash + 1;
    size_t length = strlen(name);
    DIR *stream = opendir(directory[0] ? directory : "/");
    if (!stream) return;
    char *found[256];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) && count < 256;) {
        // The timestamp starts with a digit: ".tmp" and other neighbours are nobody's business.
        if (strncmp(entry->d_name, name, length) || entry->d_name[length] != '.') continue;
        if (entry->d_name[length + 1] < '0' || entry->d_name[length + 1] > '9') continue;
        char *copy = strdup(entry->d_name);
        if (copy) found[count++] = copy;
    }
    qsort(found, (size_t)count, sizeof found[0], compare_names);
    for (int i = 0; i < count; i++) {
        if (i < count - (int)log->max_files + 1) unlinkat(dirfd(stream), found[i], 0);
        free(found[i]);
    }
    closedir(stream);
}

/// 0.log becomes 0.log.20060102-150405 as the kubelet names it. More than one rotation a second count the name up, and
/// never take a name that has become free again: the names tell the order.
static void rotate(struct log_file *log) {
    log_flush(log);
    char name[4200];
    time_t second = time(NULL);
    if (second <= log->last_rotation) second = (time_t)log->last_rotation + 1;
    for (int attempt = 0; attempt < 600; attempt++, second++) {
        struct tm t;
        gmtime_r(&second, &t);
        snprintf(name, sizeof name, "%s.%04d%02d%02d-%02d%02d%02d", log->path, t.tm_year + 1900, t.tm_mon + 1,
                 t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
        if (access(name, F_OK) == 0) continue;
        if (rename(log->path, name) < 0) {
            // Somebody removed the file: just begin a new one.
            if (errno != ENOENT) {
                shim_complain("rename", log->path, errno);
                return;
            }
        }
        log->last_rotation = second;
        break;
    }
    close(log->fd);
    log_open(log);
    remove_old(log);
}

static void put_digits(char *at, int width, long value) {
    while (width-- > 0) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

/// The header of all lines that were read at once: they are of one moment. Only its tag differs.
static void stamp(int index) {
    // The date changes once a second at most; gmtime is not cheap.
    static time_t cached_second = -1;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != cached_second) {
        struct tm t;
        gmtime_r(&now.tv_sec, &t);
        memcpy(header, "0000-00-00T00:00:00.000000000Z stdout F ", HEADER_SIZE);
        put_digits(header, 4, t.tm_year + 1900);
        put_digits(header + 5, 2, t.tm_mon + 1);
        put_digits(header + 8, 2, t.tm_mday);
        put_digits(header + 11, 2, t.tm_hour);
        put_digits(header + 14, 2, t.tm_min);
        put_digits(header + 17, 2, t.tm_sec);
        cached_second = now.tv_sec;
    }
    put_digits(header + 20, 9, now.tv_nsec);
    memcpy(header + 31, index ? "stderr" : "stdout", 6);
}

/// Writes `held` of the stream and then `bytes` as one log line.
static void put_line(struct process *process, int index, char tag, const char *bytes, uint32_t count) {
    struct stream *stream = &process->streams[index];
    struct log_file *log = &process->log;
    uint32_t total = HEADER_SIZE + stream->held_size + count + 1;
    int64_t size = log->size + output_used;
    if (log->max_bytes && size > 0 && size + total > log->max_bytes && !stream->middle &&
        (!process->streams[!index].middle || size > 2 * (int64_t)log->max_bytes))
        rotate(log);
    if (output_used + total > OUTPUT_SIZE) log_flush(log);
    header[HEADER_SIZE - 2] = tag;
    char *at = output + output_used;
    memcpy(at, header, HEADER_SIZE);
    at += HEADER_SIZE;
    if (stream->held_size) memcpy(at, stream->held, stream->held_size);
    at += stream->held_size;
    if (count) memcpy(at, bytes, count);
    at[count] = '\n';
    output_used += total;
    if (!stream->held) return;
    free(stream->held);
    stream->held = NULL;
    stream->held_size = stream->held_capacity = 0;
}

static void hold(struct stream *stream, const char *bytes, uint32_t count) {
    if (stream->held_size + count > stream->held_capacity) {
        uint32_t capacity = stream->held_capacity ? stream->held_capacity : 256;
        while (capacity < stream->held_size + count) capacity *= 2;
        char *grown = realloc(stream->held, capacity);
        if (!grown) return; // out of memory: this piece of a line is lost
        stream->held = grown;
        stream->held_capacity = capacity;
    }
    memcpy(stream->held + stream->held_size, bytes, count);
    stream->held_size += count;
}

void log_append(struct process *process, int index, const char *bytes, uint32_t count) {
    struct stream *stream = &process->streams[index];
    if (!process->log.path) return;
    stamp(index);
    while (count > 0) {
        const char *newline = memchr(bytes, '\n', count);
        uint32_t segment = newline ? (uint32_t)(newline - bytes) : count;
        if (stream->held_size + segment > MAX_LOG_LINE) {
            uint32_t take = MAX_LOG_LINE - stream->held_size;
            put_line(process, index, 'P', bytes, take);
            stream->middle = 1;
            bytes += take;
            count -= take;
        } else if (newline) {
            put_line(process, index, 'F', bytes, segment);
            stream->middle = 0;
            bytes += segment + 1;
            count -= segment + 1;
        } else {
            hold(stream, bytes, segment);
            break;
        }
    }
    log_flush(&process->log);
}

void log_finish(struct process *process, int index) {
    struct stream *stream = &process->streams[index];
    if (!process->log.path || stream->held_size == 0) return;
    stamp(index);
    put_line(process, index, 'P', NULL, 0);
    stream->middle = 0;
    log_flush(&process->log);
}
