// The linker (ld.gold), for objects that say of too much that it is to stay.
//
// The Swift compiler marks every function that another module might call as "used", and LLVM makes SHF_GNU_RETAIN of it: so
// all public functions of the standard library, and of every package, stay in a program with --gc-sections, called or not. A
// static program has no other modules. This program clears the mark on code and data in copies of all objects and archives
// of its command line, and calls the linker with the copies. What the runtime finds by its section (swift5_*: types, protocols,
// conformances) keeps the mark: those names have no dot.
//
// Unwind tables (.eh_frame) are left out: they are for exceptions and backtraces in the process, and there are neither. The C
// runtime's own objects (crt1.o, crtbegin.o) keep theirs, which hold the ends of the table. ld.lld, which links for ARM, leaves out
// what is marked so; ld.gold does not, and the Makefile removes the tables after the link.
//
// Source: ELF gABI 4.1, "Sections"; ar(5); LLVM's LangRef, llvm.used.
#define _GNU_SOURCE
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SHF_GNU_RETAIN
#define SHF_GNU_RETAIN (1 << 21)
#endif

static char folder[] = "/tmp/k3s-link.XXXXXX";
static char **arguments, **directories;
static int count, directory_count, copies;

static void *grown(void *list, int used) {
    if (used & (used + 1)) return list;
    void *larger = realloc(list, sizeof(char *) * (size_t)(2 * used + 2));
    if (!larger) err(1, "realloc");
    return larger;
}

static void add(char *argument) {
    arguments = grown(arguments, count);
    arguments[count++] = argument;
}

static char *text(const char *format, const char *a, const char *b) {
    char *out;
    if (asprintf(&out, format, a, b) < 0) err(1, "asprintf");
    return out;
}

/// Clears the mark in an object of 64 or 32 bits, and leaves its unwind tables out, as far as it lies within its bytes.
#define CLEAR(BITS)                                                                                                    \
    static void clear##BITS(uint8_t *bytes, size_t size, int tables) {                                                 \
        Elf##BITS##_Ehdr *head = (void *)bytes;                                                                        \
        if (size < sizeof *head || head->e_shentsize != sizeof(Elf##BITS##_Shdr) || head->e_shoff >= size) return;     \
        Elf##BITS##_Shdr *sections = (void *)(bytes + head->e_shoff);                                                  \
        size_t room = (size - head->e_shoff) / sizeof *sections;                                                       \
        size_t sections_count = head->e_shnum ? head->e_shnum : room ? sections[0].sh_size : 0;                        \
        size_t names = head->e_shstrndx == SHN_XINDEX && room ? sections[0].sh_link : head->e_shstrndx;                \
        if (sections_count > room || names >= sections_count) return;                                                  \
        for (size_t i = 0; i < sections_count; i++) {                                                                  \
            size_t name = (size_t)sections[names].sh_offset + sections[i].sh_name;                                     \
            if (name < size && bytes[name] == '.') sections[i].sh_flags &= ~(unsigned)SHF_GNU_RETAIN;                  \
            if (!tables && name < size && !strncmp((char *)bytes + name, ".eh_frame", size - name))                    \
                sections[i].sh_flags |= SHF_EXCLUDE;                                                                   \
        }                                                                                                              \
    }
CLEAR(64)
CLEAR(32)

static void clear(uint8_t *bytes, size_t size, int tables) {
    if (size < EI_NIDENT || memcmp(bytes, ELFMAG, SELFMAG)) return;
    if (bytes[EI_CLASS] == ELFCLASS64) clear64(bytes, size, tables);
    if (bytes[EI_CLASS] == ELFCLASS32) clear32(bytes, size, tables);
}

/// The copy of a file.
static char *cleared(const char *path) {
    int in = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (in < 0 || fstat(in, &status)) err(1, "%s", path);
    size_t size = (size_t)status.st_size, done = 0;
    uint8_t *bytes = malloc(size + 1);
    if (!bytes) err(1, "%s", path);
    while (done < size) {
        ssize_t n = read(in, bytes + done, size - done);
        if (n <= 0) err(1, "%s", path);
        done += (size_t)n;
    }
    close(in);
    if (size > 8 && !memcmp(bytes, "!<arch>\n", 8)) {
        // Members begin at even places, each with a head of 60 bytes whose size is ten decimal digits at 48.
        for (size_t at = 8; at + 60 <= size;) {
            char digits[11] = {0};
            memcpy(digits, bytes + at + 48, 10);
            size_t member = strtoul(digits, NULL, 10);
            at += 60;
            if (member > size - at) break;
            // Members lie at two's alignment: they are worked on elsewhere.
            uint8_t *object = malloc(member + 1);
            if (!object) err(1, "%s", path);
            memcpy(object, bytes + at, member);
            clear(object, member, 0);
            memcpy(bytes + at, object, member);
            free(object);
            at += member + (member & 1);
        }
    } else {
        const char *slash = strrchr(path, '/');
        clear(bytes, size, !strncmp(slash ? slash + 1 : path, "crt", 3));
    }
    char number[16];
    snprintf(number, sizeof number, "%d", copies++);
    char *copy = text("%s/%s", folder, number);
    int out = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) err(1, "%s", copy);
    for (done = 0; done < size;) {
        ssize_t n = write(out, bytes + done, size - done);
        if (n <= 0) err(1, "%s", copy);
        done += (size_t)n;
    }
    close(out);
    free(bytes);
    return copy;
}

static int ends(const char *string, const char *end) {
    size_t length = strlen(string), tail = strlen(end);
    return length >= tail && !strcmp(string + length - tail, end);
}

static void take(char *argument);

/// A file of arguments, between white space, quoted or with backslashes, as GNU's tools write and read them.
static void take_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) err(1, "%s", path);
    char word[PATH_MAX * 2];
    size_t length = 0;
    int quote = 0, inside = 0;
    for (int c; (c = getc(file)) != EOF;) {
        int space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (!quote && space) {
            word[length] = 0;
            if (inside) take(strdup(word));
            length = 0;
            inside = 0;
            continue;
        }
        inside = 1;
        if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? 0 : c;
            continue;
        }
        if (c == '\\' && quote != '\'' && (c = getc(file)) == EOF) break;
        if (length + 1 >= sizeof word) errx(1, "%s: an argument is longer than a path can be", path);
        word[length++] = (char)c;
    }
    word[length] = 0;
    if (inside) take(strdup(word));
    fclose(file);
}

static void take(char *argument) {
    if (argument[0] == '@') return take_file(argument + 1);
    if (argument[0] != '-' && (ends(argument, ".o") || ends(argument, ".a"))) {
        // Not what -o names: it is not there yet, or is no object.
        return add(count && !strcmp(arguments[count - 1], "-o") ? argument : cleared(argument));
    }
    if (!strncmp(argument, "-L", 2) && argument[2]) {
        directories = grown(directories, directory_count);
        directories[directory_count++] = argument + 2;
    }
    if (!strncmp(argument, "-lswift", 7)) {
        for (int i = 0; i < directory_count; i++) {
            char *path = text("%s/lib%s.a", directories[i], argument + 2);
            if (!access(path, R_OK)) return add(cleared(path));
        }
    }
    add(argument);
}

int main(int argc, char **argv) {
    if (!mkdtemp(folder)) err(1, "%s", folder);
    const char *linker = getenv("K3S_LINKER") ? getenv("K3S_LINKER") : "ld.gold";
    add((char *)linker);
    for (int i = 1; i < argc; i++) take(argv[i]);
    add(NULL);
    pid_t child = fork();
    if (child == 0) {
        execvp(linker, arguments);
        err(127, "%s", linker);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child) warn("%s", linker);
    for (int i = 0; i < copies; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        unlink(text("%s/%s", folder, number));
    }
    rmdir(folder);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
