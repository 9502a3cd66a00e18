// PID 1 of `k3s server --rootless`: file systems for the new namespaces, then the server, then reaping.
#include "CShims.h"
#include "k3s_rootless.h"
#include "rootless.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int k3s_original_destination(int fd, uint32_t *address, uint16_t *port) {
    struct sockaddr_in destination;
    socklen_t size = sizeof destination;
    if (getsockopt(fd, IPPROTO_IP, 80 /* SO_ORIGINAL_DST */, &destination, &size) < 0) return -errno;
    *address = destination.sin_addr.s_addr;
    *port = destination.sin_port;
    return 0;
}

/// Mounts come in from the host and do not go back; containers may share theirs among each other.
static int prepare_mounts(const char *cgroup) {
    if (mount("", "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 || mount("", "/", NULL, MS_SHARED | MS_REC, NULL) < 0) {
        rootless_complain(errno, "mount / (an AppArmor profile for user namespaces may forbid it: "
                                 "kernel.apparmor_restrict_unprivileged_userns)");
        return -1;
    }
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
        rootless_complain(errno, "mount /proc (something is mounted over parts of the present one, as in most containers)");
        return -1;
    }
    // The interfaces of this network namespace. Without it, those of the host are shown, and containers get none.
    if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        rootless_complain(errno, "mount /sys (containers may not start)");
    else if (cgroup && mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        rootless_complain(errno, "mount /sys/fs/cgroup");
    return 0;
}

static int join_cgroup(const char *directory) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/cgroup.procs", directory) >= (int)sizeof path) return -ENAMETOOLONG;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int result = write(fd, "0", 1) < 0 ? -errno : 0;
    close(fd);
    return result < 0 ? result : k3s_unshare(K3S_CLONE_NEWCGROUP);
}

static void start(int control, char *const argv[]) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP) k3s_default_signal(number);
    if (control != K3S_ROOTLESS_SOCKET) dup2(control, K3S_ROOTLESS_SOCKET);
    else fcntl(control, F_SETFD, 0);
    k3s_close_range(K3S_ROOTLESS_SOCKET + 1, ~0u, 0);
    setenv(K3S_ROOTLESS_ROLE, "inside", 1);
    unsetenv(K3S_ROOTLESS_UIDS);
    unsetenv(K3S_ROOTLESS_GIDS);
    unsetenv(K3S_ROOTLESS_NEWUIDMAP);
    unsetenv(K3S_ROOTLESS_NEWGIDMAP);
    execve("/proc/self/exe", argv, environ);
    rootless_complain(errno, "exec /proc/self/exe");
    _exit(127);
}

int rootless_init(int go, int control, char *const argv[]) {
    char byte;
    if (read(go, &byte, 1) != 1) return 1; // the parent has said why
    close(go);
    // Not where the kernel forbids it (one id only): then the user's own groups stay.
    setgroups(0, NULL);
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) {
        rootless_complain(errno, "become root of the user namespace");
        return 1;
    }
    // From a terminal, the parent gets the signals and passes them on: once.
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0ul, 0ul, 0ul);
    const char *cgroup = getenv(K3S_ROOTLESS_CGROUP);
    if (cgroup && *cgroup) {
        int joined = join_cgroup(cgroup);
        if (joined < 0) {
            rootless_complain(-joined, "join cgroup %s (pods run without limits)", cgroup);
            unsetenv(K3S_ROOTLESS_CGROUP);
            cgroup = NULL;
        }
    } else cgroup = NULL;
    if (prepare_mounts(cgroup) < 0) return 1;
    prctl(PR_SET_NAME, "k3s-init", 0ul, 0ul, 0ul);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    pid_t server = fork();
    if (server < 0) {
        rootless_complain(errno, "fork");
        return 1;
    }
    if (server == 0) start(control, argv);
    close(control);
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info);
        if (number < 0) continue;
        if (number != SIGCHLD) {
            kill(server, number);
            continue;
        }
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == server) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}
