// du: what a directory takes on its disk. Directory by directory, with one buffer per level and a set of the inodes that
// have several names, so that a million files cost no memory but time.
#define _FILE_OFFSET_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "k3s_files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_LIMIT = 256, SET_LIMIT = 1 << 20 };

struct walk {
    dev_t device;
    int64_t bytes, files;
    uint64_t *seen; // open addressing, 0: free
    size_t capacity, count;
};

static int insert(uint64_t *set, size_t capacity, uint64_t inode) {
    size_t at = (size_t)(inode * 0x9e3779b97f4a7c15ull) & (capacity - 1);
    while (set[at] && set[at] != inode) at = (at + 1) & (capacity - 1);
    if (set[at]) return 0;
    set[at] = inode;
    return 1;
}

/// 1: seen for the first time; 0: counted already; -1: there is no room to remember it.
static int first_time(struct walk *walk, uint64_t inode) {
    if (walk->count * 2 >= walk->capacity) {
        size_t capacity = walk->capacity ? walk->capacity * 2 : 256;
        uint64_t *grown = capacity <= SET_LIMIT ? calloc(capacity, sizeof *grown) : NULL;
        if (!grown) return -1;
        for (size_t i = 0; i < walk->capacity; i++)
            if (walk->seen[i]) insert(grown, capacity, walk->seen[i]);
        free(walk->seen);
        walk->seen = grown;
        walk->capacity = capacity;
    }
    int result = insert(walk->seen, walk->capacity, inode);
    walk->count += (size_t)result;
    return result;
}

static void count(struct walk *walk, const struct stat *status) {
    int64_t bytes = (int64_t)status->st_blocks * 512;
    if (!S_ISDIR(status->st_mode) && status->st_nlink > 1) {
        int first = first_time(walk, status->st_ino);
        if (first == 0) return;
        if (first < 0) bytes /= (int64_t)status->st_nlink;
    }
    walk->bytes += bytes;
    walk->files++;
}

static void walk_directory(struct walk *walk, int fd, const char *prefix, int depth) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        close(fd);
        return;
    }
    size_t length = strlen(prefix);
    for (struct dirent *entry; (entry = readdir(stream));) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") || strncmp(name, prefix, length)) continue;
        struct stat status;
        // What somebody removes meanwhile takes no room any more.
        if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || status.st_dev != walk->device) continue;
        count(walk, &status);
        if (!S_ISDIR(status.st_mode) || depth >= DEPTH_LIMIT) continue;
        int child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0) walk_directory(walk, child, "", depth + 1);
    }
    closedir(stream);
}

int k3s_file_usage(const char *path, const char *prefix, int64_t *bytes, int64_t *files) {
    *bytes = *files = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : -errno;
    struct stat status;
    if (fstat(fd, &status) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    struct walk walk = {.device = status.st_dev};
    if (!*prefix) count(&walk, &status);
    walk_directory(&walk, fd, prefix, 0);
    free(walk.seen);
    *bytes = walk.bytes;
    *files = walk.files;
    return 0;
}
