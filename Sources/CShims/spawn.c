// Starting a program from a big, multithreaded process.
#include "CShims.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct spawn_request {
    char *const *argv;
    char *const *envp;
    const int *stdio;
    int new_session;
    int program; // descriptor to execute, or -1: argv[0]
    volatile int error;
};

// Runs in the parent's memory until exec (CLONE_VM): only syscalls, nothing of the parent's is written but `error`.
static int spawn_child(void *context) {
    struct spawn_request *request = context;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        sigaction(number, &action, NULL);
    }
    if (request->new_session) setsid();
    int moved[3];
    for (int i = 0; i < 3; i++) {
        // Above 2 first, so that a source is never overwritten before it was copied.
        moved[i] = request->stdio[i] >= 0 ? fcntl(request->stdio[i], F_DUPFD_CLOEXEC, 3)
                                          : open("/dev/null", O_RDWR | O_CLOEXEC);
        if (moved[i] < 0) goto fail;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(moved[i], i) < 0) goto fail;
    syscall(SYS_close_range, 3, ~0u, K3S_CLOSE_RANGE_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (request->program >= 0) // moved above 2 by nobody: descriptors the parent opens are never below 3 here
        syscall(SYS_execveat, request->program, "", request->argv, request->envp, K3S_AT_EMPTY_PATH);
    else
        execve(request->argv[0], request->argv, request->envp);
fail:
    request->error = errno;
    _exit(127);
}

int k3s_open_program(const char *path) {
    int tree = k3s_open_tree(AT_FDCWD, path, K3S_OPEN_TREE_CLONE);
    if (tree < 0) return tree;
    int result = k3s_mount_setattr(tree, "", K3S_AT_EMPTY_PATH, K3S_MOUNT_ATTR_RDONLY, 0, 0);
    if (result < 0) {
        close(tree);
        return result;
    }
    return tree;
}

int k3s_spawn(char *const argv[], char *const envp[], const int stdio[3], int new_session, int program, int *pidfd) {
    const size_t stack_size = 64 * 1024;
    char *stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -errno;
    struct spawn_request request = {.argv = argv, .envp = envp, .stdio = stdio, .new_session = new_session,
        .program = program};
    // A signal handler of the parent must not run in the child on the shared memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int descriptor = -1;
    // CLONE_PIDFD stores the descriptor where CLONE_PARENT_SETTID would store the pid.
    int pid = clone(spawn_child, stack + stack_size, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &request,
                    &descriptor);
    int result = pid < 0 ? -errno : pid;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, stack_size);
    if (result < 0) return result;
    if (request.error) {
        int status;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        close(descriptor);
        return -request.error;
    }
    *pidfd = descriptor;
    return result;
}

pid_t k3s_placeholder(int *release) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    sigset_t all, before;
    sigfillset(&all);
    // The child keeps them blocked: the parent's handlers are not for it.
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = _Fork();
    if (pid == 0) {
        char byte;
        dup2(ends[0], 0);
        syscall(SYS_close_range, 1, ~0u, 0);
        while (read(0, &byte, 1) < 0 && errno == EINTR) {}
        _exit(0);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return -error;
    }
    *release = ends[1];
    return pid;
}
