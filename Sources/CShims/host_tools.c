#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "k3s_host_tools.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/loop.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int k3s_tool_stat(int dirfd, const char *path, int follow, struct k3s_tool_stat *out) {
    struct stat st;
    if (fstatat(dirfd, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    out->device = st.st_dev;
    out->inode = st.st_ino;
    out->links = st.st_nlink;
    out->size = st.st_size;
    out->allocated = (int64_t)st.st_blocks * 512;
    out->mtime = st.st_mtim.tv_sec;
    out->mtime_nsec = st.st_mtim.tv_nsec;
    out->atime = st.st_atim.tv_sec;
    out->atime_nsec = st.st_atim.tv_nsec;
    out->ctime = st.st_ctim.tv_sec;
    out->ctime_nsec = st.st_ctim.tv_nsec;
    out->mode = st.st_mode;
    return 0;
}

int k3s_tool_statvfs(const char *path, uint64_t *total, uint64_t *free_bytes, uint64_t *available) {
    struct statvfs st;
    if (statvfs(path, &st) < 0) return -errno;
    *total = (uint64_t)st.f_frsize * st.f_blocks;
    *free_bytes = (uint64_t)st.f_frsize * st.f_bfree;
    *available = (uint64_t)st.f_frsize * st.f_bavail;
    return 0;
}

size_t k3s_tool_time(char *buffer, size_t size, const char *format, int64_t seconds) {
    time_t time = seconds;
    struct tm parts;
    if (!localtime_r(&time, &parts)) return 0;
    return strftime(buffer, size, format, &parts);
}

int k3s_tool_fork(void) {
    pid_t pid = fork();
    return pid < 0 ? -errno : pid;
}

int k3s_tool_wait(pid_t pid, int *status, int options) {
    for (;;) {
        pid_t result = waitpid(pid, status, options);
        if (result >= 0) return result;
        if (errno != EINTR) return -errno;
    }
}

int k3s_tool_ethtool(const char *interface, void *data) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(interface) >= sizeof request.ifr_name) return -ENODEV;
    strcpy(request.ifr_name, interface);
    request.ifr_data = data;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int result = ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int k3s_tool_loop(const char *file, uint64_t offset, uint64_t limit, int readonly, char *name, size_t size) {
    int mode = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    int backing = open(file, mode);
    if (backing < 0) return -errno;
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int result = control < 0 ? -errno : -EBUSY;
    // Somebody else may take the free device first.
    for (int attempt = 0; control >= 0 && result == -EBUSY && attempt < 16; attempt++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) {
            result = -errno;
            break;
        }
        snprintf(name, size, "/dev/loop%d", number);
        int device = open(name, mode);
        if (device < 0) {
            result = -errno;
            break;
        }
        struct loop_config config;
        memset(&config, 0, sizeof config);
        config.fd = (unsigned)backing;
        config.info.lo_offset = offset;
        config.info.lo_sizelimit = limit;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0);
        strncpy((char *)config.info.lo_file_name, file, LO_NAME_SIZE - 1);
        result = ioctl(device, LOOP_CONFIGURE, &config) < 0 ? -errno : device;
        if (result < 0) close(device);
    }
    if (control >= 0) close(control);
    close(backing);
    return result;
}

static char unlinked_path[4096];

static void unlink_and_exit(int signal) {
    unlink(unlinked_path);
    _exit(128 + signal);
}

void k3s_tool_unlink_when_killed(const char *path) {
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    if (path && strlen(path) < sizeof unlinked_path) {
        strcpy(unlinked_path, path);
        action.sa_handler = unlink_and_exit;
    }
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

int k3s_tool_drop_groups(void) { return setgroups(0, NULL) < 0 ? -errno : 0; }

int k3s_tool_send_timeout(int fd, long seconds, long microseconds) {
    struct timeval time = {.tv_sec = seconds, .tv_usec = microseconds};
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) < 0 ? -errno : 0;
}
