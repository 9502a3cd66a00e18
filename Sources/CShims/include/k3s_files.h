// File calls of the image store with 64-bit offsets and times on every architecture. Swift's Glibc module is compiled
// without _FILE_OFFSET_BITS, so on 32-bit ARM its off_t and time_t have 32 bits. All return -errno on failure.
#ifndef K3S_FILES_H
#define K3S_FILES_H
#include <stdint.h>
#include <stddef.h>

struct k3s_file_info {
    uint32_t mode, uid, gid;
    uint32_t rdev_major, rdev_minor;
    int64_t size;
    /// Bytes on disk.
    int64_t allocated;
    int64_t mtime_sec;
    int64_t mtime_nsec;
    uint64_t inode;
    uint32_t links;
};

/// openat(2) with O_CLOEXEC and large files.
int k3s_file_openat(int dirfd, const char *path, int flags, uint32_t mode);
int64_t k3s_file_pread(int fd, void *buffer, size_t count, int64_t offset);
/// Cuts or extends to size and moves the position there.
int k3s_file_truncate(int fd, int64_t size);
/// Moves the position forward: what is skipped becomes a hole.
int k3s_file_skip(int fd, int64_t count);
int k3s_file_syncfs(int fd);
/// Never follows a symbolic link in the last component. With an empty path: dirfd itself.
int k3s_file_stat(int dirfd, const char *path, struct k3s_file_info *info);
/// Modification (and access) time; never follows a symbolic link in the last component. NULL path: dirfd itself.
int k3s_file_set_time(int dirfd, const char *path, int64_t sec, int64_t nsec);
int k3s_file_mknodat(int dirfd, const char *path, uint32_t mode, uint32_t major, uint32_t minor);
/// Bytes that an unprivileged writer could still write to the file system of fd.
int64_t k3s_file_free_bytes(int fd);
/// Extended attributes of an open file, or of a path whose last component is not followed.
int k3s_file_setxattr(int fd, const char *name, const void *value, size_t size);
int k3s_file_lsetxattr(const char *path, const char *name, const void *value, size_t size);
/// Sizes, or -errno.
int64_t k3s_file_getxattr(int fd, const char *name, void *value, size_t size);
int64_t k3s_file_lgetxattr(const char *path, const char *name, void *value, size_t size);
int64_t k3s_file_listxattr(int fd, char *names, size_t size);
/// Bytes on disk and number of files below a directory on its file system, itself included; hard links count once,
/// symbolic links are not followed. `prefix`: of the names to count in the directory itself ("": all, and the directory).
/// A missing directory is empty. 0 or -errno.
int k3s_file_usage(const char *path, const char *prefix, int64_t *bytes, int64_t *files);
#endif
