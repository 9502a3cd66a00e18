#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "k3s_files.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "64-bit file offsets");

int k3s_file_openat(int dirfd, const char *path, int flags, uint32_t mode) {
    for (;;) {
        int fd = openat(dirfd, path, flags | O_CLOEXEC | O_LARGEFILE, (mode_t)mode);
        if (fd >= 0) return fd;
        if (errno != EINTR) return -errno;
    }
}

int64_t k3s_file_pread(int fd, void *buffer, size_t count, int64_t offset) {
    for (;;) {
        ssize_t n = pread(fd, buffer, count, offset);
        if (n >= 0) return n;
        if (errno != EINTR) return -errno;
    }
}

int k3s_file_truncate(int fd, int64_t size) {
    if (ftruncate(fd, size) < 0) return -errno;
    return lseek(fd, size, SEEK_SET) < 0 ? -errno : 0;
}

int k3s_file_skip(int fd, int64_t count) { return lseek(fd, count, SEEK_CUR) < 0 ? -errno : 0; }

int k3s_file_syncfs(int fd) { return syncfs(fd) < 0 ? -errno : 0; }

int k3s_file_stat(int dirfd, const char *path, struct k3s_file_info *info) {
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) return -errno;
    info->mode = st.st_mode;
    info->uid = st.st_uid;
    info->gid = st.st_gid;
    info->rdev_major = major(st.st_rdev);
    info->rdev_minor = minor(st.st_rdev);
    info->size = st.st_size;
    info->allocated = (int64_t)st.st_blocks * 512;
    info->mtime_sec = st.st_mtim.tv_sec;
    info->mtime_nsec = st.st_mtim.tv_nsec;
    info->inode = st.st_ino;
    info->links = (uint32_t)st.st_nlink;
    return 0;
}

int k3s_file_set_time(int dirfd, const char *path, int64_t sec, int64_t nsec) {
    struct timespec times[2] = {{.tv_sec = sec, .tv_nsec = nsec}, {.tv_sec = sec, .tv_nsec = nsec}};
    int result = path ? utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW) : futimens(dirfd, times);
    return result < 0 ? -errno : 0;
}

int k3s_file_mknodat(int dirfd, const char *path, uint32_t mode, uint32_t maj, uint32_t min) {
    return mknodat(dirfd, path, (mode_t)mode, makedev(maj, min)) < 0 ? -errno : 0;
}

int64_t k3s_file_free_bytes(int fd) {
    struct statvfs st;
    if (fstatvfs(fd, &st) < 0) return -errno;
    return (int64_t)st.f_bavail * (int64_t)st.f_frsize;
}

int k3s_file_setxattr(int fd, const char *name, const void *value, size_t size) {
    return fsetxattr(fd, name, value, size, 0) < 0 ? -errno : 0;
}

int k3s_file_lsetxattr(const char *path, const char *name, const void *value, size_t size) {
    return lsetxattr(path, name, value, size, 0) < 0 ? -errno : 0;
}

int64_t k3s_file_getxattr(int fd, const char *name, void *value, size_t size) {
    ssize_t n = fgetxattr(fd, name, value, size);
    return n < 0 ? -errno : n;
}

int64_t k3s_file_lgetxattr(const char *path, const char *name, void *value, size_t size) {
    ssize_t n = lgetxattr(path, name, value, size);
    return n < 0 ? -errno : n;
}

int64_t k3s_file_listxattr(int fd, char *names, size_t size) {
    ssize_t n = flistxattr(fd, names, size);
    return n < 0 ? -errno : n;
}
