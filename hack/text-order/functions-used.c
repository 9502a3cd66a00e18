// Which functions of a program run, and in which phase of its life: the list by which the linker lays them out.
//
//     functions-used OUT SYMBOLS PROGRAM [ARGUMENT...]
//
// SYMBOLS has a line per function of PROGRAM (not position-independent): address in hexadecimal. The program is started
// with a breakpoint at each; the first call of a function writes "PHASE ADDRESS" to OUT and removes its breakpoint, so that
// the cost is one stop per function. SIGUSR1 begins the next phase: all breakpoints are there again. SIGTERM and SIGINT are
// handed on. Children that leave the program's memory (fork, exec) are let go without breakpoints.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t *entries;
static uint8_t *armed;
static size_t count;
static uint8_t *text, *patched;
static uint64_t low, high;
static volatile sig_atomic_t next_phase, stop_signal;

static void on_phase(int s) { (void)s; next_phase = 1; }
static void on_stop(int s) { stop_signal = s; }

static int by_address(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static ssize_t find(uint64_t address) {
    uint64_t *hit = bsearch(&address, entries, count, sizeof *entries, by_address);
    return hit ? hit - entries : -1;
}

static int memory_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) perror(path), exit(1);
    return fd;
}

static void put(int memory, const uint8_t *bytes) {
    for (uint64_t done = 0; done < high - low;) {
        ssize_t n = pwrite(memory, bytes + done, high - low - done, (off_t)(low + done));
        if (n <= 0) return;
        done += (uint64_t)n;
    }
}

static void arm(int memory) {
    memcpy(patched, text, high - low);
    for (size_t i = 0; i < count; i++) patched[entries[i] - low] = 0xcc, armed[i] = 1;
    put(memory, patched);
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: functions-used OUT SYMBOLS PROGRAM [ARGUMENT...]\n"), 2;
    FILE *out = fopen(argv[1], "w"), *symbols = fopen(argv[2], "r");
    if (!out || !symbols) return perror("functions-used"), 1;
    char line[64];
    size_t capacity = 0;
    while (fgets(line, sizeof line, symbols)) {
        if (count == capacity) entries = realloc(entries, (capacity = capacity ? capacity * 2 : 4096) * sizeof *entries);
        entries[count++] = strtoull(line, NULL, 16);
    }
    if (!count) return fprintf(stderr, "functions-used: no functions in %s\n", argv[2]), 1;
    qsort(entries, count, sizeof *entries, by_address);
    low = entries[0] & ~4095ull, high = (entries[count - 1] | 4095) + 1;
    armed = calloc(count, 1), text = malloc(high - low), patched = malloc(high - low);

    pid_t main_pid = fork();
    if (!main_pid) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    struct sigaction phase = {.sa_handler = on_phase}, stop = {.sa_handler = on_stop};
    sigaction(SIGUSR1, &phase, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    int status;
    if (waitpid(main_pid, &status, 0) < 0 || !WIFSTOPPED(status)) return 1;
    ptrace(PTRACE_SETOPTIONS, main_pid, 0,
           PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    int memory = memory_of(main_pid);
    if (pread(memory, text, high - low, (off_t)low) != (ssize_t)(high - low)) return perror("text"), 1;
    arm(memory);
    ptrace(PTRACE_CONT, main_pid, 0, 0);

    for (int number = 0;;) {
        if (stop_signal) kill(main_pid, stop_signal), stop_signal = 0;
        if (next_phase) next_phase = 0, number++, arm(memory), fflush(out);
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid != main_pid) continue;
            fclose(out);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC) {
            // Another program now, or this one as the shim, with its own copy of the text.
            ptrace(PTRACE_DETACH, pid, 0, 0);
            continue;
        }
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK) {
            ptrace(PTRACE_CONT, pid, 0, 0);
            continue;
        }
        if (signal == SIGTRAP) {
            struct user_regs_struct registers;
            ptrace(PTRACE_GETREGS, pid, 0, &registers);
            ssize_t i = find(registers.rip - 1);
            if (i >= 0) {
                // A child with memory of its own has the breakpoints too; where it shares ours, this is our memory.
                int its = memory_of(pid);
                pwrite(its, text + (entries[i] - low), 1, (off_t)entries[i]);
                uint8_t ours = 0;
                pread(memory, &ours, 1, (off_t)entries[i]);
                close(its);
                if (armed[i] && ours != 0xcc) armed[i] = 0, fprintf(out, "%d %llx\n", number, (unsigned long long)entries[i]);
                registers.rip--;
                ptrace(PTRACE_SETREGS, pid, 0, &registers);
                signal = 0;
            }
        } else if (signal == SIGSTOP) {
            // The first stop of a new thread or child.
            signal = 0;
        }
        ptrace(PTRACE_CONT, pid, 0, signal);
    }
    return 0;
}
