// What the tools of the host (module HostTools) need of the C library with 64-bit offsets and times on every
// architecture, and calls that Swift cannot make. All return -errno on failure.
#ifndef K3S_HOST_TOOLS_H
#define K3S_HOST_TOOLS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct k3s_tool_stat {
    uint64_t device, inode, links;
    int64_t size, allocated; // bytes
    int64_t mtime, atime, ctime;
    int64_t mtime_nsec, atime_nsec, ctime_nsec;
    uint32_t mode;
};

/// stat or lstat, relative to dirfd.
int k3s_tool_stat(int dirfd, const char *path, int follow, struct k3s_tool_stat *out);
/// Sizes of the file system at path, in bytes.
int k3s_tool_statvfs(const char *path, uint64_t *total, uint64_t *free_bytes, uint64_t *available);
/// Local time by strftime(3); the text's length, 0 when it does not fit.
size_t k3s_tool_time(char *buffer, size_t size, const char *format, int64_t seconds);
/// fork(2): only from a process with one thread. 0 in the child.
int k3s_tool_fork(void);
/// waitpid(2), tried again on EINTR: the pid, 0 with WNOHANG when none has ended.
int k3s_tool_wait(pid_t pid, int *status, int options);
/// SIOCETHTOOL on `interface` with a struct ethtool_* in `data`.
int k3s_tool_ethtool(const char *interface, void *data);
/// A loop device for `file`, freed with its last user; its path in `name`. The device's descriptor.
int k3s_tool_loop(const char *file, uint64_t offset, uint64_t limit, int readonly, char *name, size_t size);
/// Rights that survive the entry into a user namespace: clears the supplementary groups where that is allowed.
int k3s_tool_drop_groups(void);

/// SO_SNDTIMEO, whose number depends on the size of times on 32-bit machines.
int k3s_tool_send_timeout(int fd, long seconds, long microseconds);
/// Removes the file when SIGHUP, SIGINT or SIGTERM ends the process, with the exit code 128 + signal; NULL: not any more.
void k3s_tool_unlink_when_killed(const char *path);

#endif
