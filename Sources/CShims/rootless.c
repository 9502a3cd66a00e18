// The parent of `k3s server --rootless`: outside, one thread, three descriptors, no memory of its own to speak of.
#include "CShims.h"
#include "k3s_rootless.h"
#include "rootless.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void rootless_complain(int error, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    char buffer[64];
    dprintf(2, "Error: --rootless: %s%s%s\n", line, error ? ": " : "", error ? strerror_r(error, buffer, sizeof buffer) : "");
}

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t written = write(fd, text, strlen(text));
    int result = written < 0 ? -errno : 0;
    close(fd);
    return result;
}

/// Runs newuidmap or newgidmap with "PID inside outside count ...".
static int run_helper(const char *program, pid_t pid, const char *map) {
    char words[512], number[16];
    char *argv[40] = {(char *)program, number};
    int count = 2;
    snprintf(number, sizeof number, "%d", (int)pid);
    snprintf(words, sizeof words, "%s", map);
    char *position = NULL;
    for (char *word = strtok_r(words, " ", &position); word && count < 39; word = strtok_r(NULL, " ", &position))
        argv[count++] = word;
    pid_t child = fork();
    if (child < 0) return -errno;
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        char *const environment[] = {NULL};
        execve(program, argv, environment);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/// The kernel takes one id of the caller's own from anybody, if groups cannot be dropped.
static int map_ids(pid_t pid, const char *file, const char *map, const char *helper) {
    if (helper && *helper) return run_helper(helper, pid, map);
    char path[64];
    if (!strcmp(file, "gid_map")) {
        snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
        int denied = write_file(path, "deny");
        if (denied < 0 && denied != -ENOENT) return denied;
    }
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return write_file(path, map);
}

static void answer(int control) {
    struct k3s_rootless_request request;
    ssize_t size = recv(control, &request, sizeof request, MSG_DONTWAIT);
    if (size != sizeof request) return;
    struct k3s_rootless_reply reply = {.error = 0};
    int fd = -1;
    // Abstract UNIX sockets belong to a network namespace too; what is inside has no business there.
    if ((request.domain != AF_INET && request.domain != AF_INET6) ||
        (request.type != SOCK_STREAM && request.type != SOCK_DGRAM))
        reply.error = EINVAL;
    else {
        fd = socket(request.domain, request.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) reply.error = errno;
    }
    k3s_send_fds(control, &reply, sizeof reply, &fd, fd >= 0, 0);
    if (fd >= 0) close(fd);
}

static int supervise(int control, int signals, int pidfd, pid_t pid) {
    struct pollfd watched[3] = {
        {.fd = control, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    for (;;) {
        if (poll(watched, 3, -1) < 0) {
            if (errno == EINTR) continue;
            return 1;
        }
        if (watched[0].revents & POLLIN) answer(control);
        else if (watched[0].revents) watched[0].fd = -1; // nobody asks any more
        if (watched[1].revents) {
            int number = k3s_signalfd_read(signals);
            if (number > 0) k3s_pidfd_send_signal(pidfd, number);
        }
        if (watched[2].revents) {
            int status;
            if (waitpid(pid, &status, 0) < 0) return 1;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
}

int k3s_rootless_main(char *const argv[]) {
    const char *uids = getenv(K3S_ROOTLESS_UIDS), *gids = getenv(K3S_ROOTLESS_GIDS);
    if (!uids || !gids) {
        rootless_complain(0, "%s is for k3s itself", K3S_ROOTLESS_ROLE);
        return 1;
    }
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TOP_PAD, 0);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    int control[2], go[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 || pipe2(go, O_CLOEXEC) < 0) {
        rootless_complain(errno, "socketpair");
        return 1;
    }
    int signals = k3s_signalfd(numbers, sizeof numbers / sizeof *numbers);
    if (signals < 0) {
        rootless_complain(-signals, "signalfd");
        return 1;
    }
    int pidfd = -1;
    struct k3s_clone_arguments {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } arguments = {
        .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        close(control[0]);
        close(go[1]);
        _exit(rootless_init(go[0], control[1], argv));
    }
    if (pid < 0) {
        rootless_complain(errno, "the kernel makes no user namespace for this user (user.max_user_namespaces, "
                                 "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)");
        return 1;
    }
    close(control[1]);
    close(go[0]);
    // /proc/PID of a process that has changed its ids would be root's; the child's becomes the user's with exec.
    int result = map_ids(pid, "uid_map", uids, getenv(K3S_ROOTLESS_NEWUIDMAP));
    if (result < 0) rootless_complain(-result, "map user ids \"%s\"", uids);
    else {
        result = map_ids(pid, "gid_map", gids, getenv(K3S_ROOTLESS_NEWGIDMAP));
        if (result < 0) rootless_complain(-result, "map group ids \"%s\"", gids);
    }
    // Nothing but the end of the pipe would be a failure to the child.
    if (result == 0 && write(go[1], "g", 1) != 1) result = -errno;
    close(go[1]);
    prctl(PR_SET_NAME, "k3s-rootless", 0ul, 0ul, 0ul);
    malloc_trim(0);
    int code = supervise(control[0], signals, pidfd, pid);
    return result < 0 ? 1 : code;
}
