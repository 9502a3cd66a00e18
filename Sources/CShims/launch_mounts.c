// Interpreter ops that build the container's view of the file system. Every path inside the root is resolved with
// openat2(RESOLVE_IN_ROOT) and used as a descriptor: an image's symbolic links cannot lead a mount outside.
#include "launch.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_ROOT = K3S_RESOLVE_IN_ROOT | K3S_RESOLVE_NO_MAGICLINKS };

static int root_open(struct launch *l, const char *path, int flags) {
    if (l->root < 0) return k3s_openat(AT_FDCWD, path, flags | O_CLOEXEC, 0);
    return k3s_openat2(l->root, path[0] ? path : "/", (uint64_t)(flags | O_CLOEXEC), 0, IN_ROOT);
}

int launch_lookup(struct launch *l, const char *path) { return root_open(l, path, O_PATH); }

static int make_at(struct launch *l, const char *path, int directory, unsigned mode, int depth);

/// `name` in `parent` exists but leads nowhere: a symbolic link whose target has to be made.
static int make_link_target(struct launch *l, int parent, const char *prefix, const char *name, int directory,
                            unsigned mode, int depth) {
    char target[PATH_MAX], path[PATH_MAX];
    ssize_t count = readlinkat(parent, name, target, sizeof target - 1);
    if (count < 0) return -ENOTDIR;
    target[count] = 0;
    int length = target[0] == '/' ? snprintf(path, sizeof path, "%s", target)
                                  : snprintf(path, sizeof path, "%s/%s", prefix, target);
    if (length >= (int)sizeof path) return -ENAMETOOLONG;
    return make_at(l, path, directory, mode, depth + 1);
}

static int make_at(struct launch *l, const char *path, int directory, unsigned mode, int depth) {
    if (depth > 8) return -ELOOP;
    char prefix[PATH_MAX];
    size_t used = 0;
    int current = root_open(l, "/", O_PATH | O_DIRECTORY);
    while (current >= 0) {
        while (*path == '/') path++;
        if (!*path) return current;
        size_t length = strcspn(path, "/");
        char name[NAME_MAX + 1];
        if (length > NAME_MAX || used + length + 2 > sizeof prefix) {
            close(current);
            return -ENAMETOOLONG;
        }
        memcpy(name, path, length);
        name[length] = 0;
        size_t before = used;
        prefix[used++] = '/';
        memcpy(prefix + used, name, length + 1);
        used += length;
        path += length;
        int last = path[strspn(path, "/")] == 0;
        int want_directory = !last || directory;
        int next = root_open(l, prefix, O_PATH);
        if (next == -ENOENT) {
            int made = want_directory ? mkdirat(current, name, last ? mode : 0755)
                                      : mknodat(current, name, S_IFREG | mode, 0);
            if (made < 0 && errno == EEXIST) {
                prefix[before] = 0;
                next = make_link_target(l, current, prefix, name, want_directory, last ? mode : 0755, depth);
                prefix[before] = '/';
            } else if (made < 0) {
                next = -errno;
            } else {
                // The umask took bits away; a directory for a tmpfs or a volume must have exactly its mode.
                if (want_directory && last) fchmodat(current, name, mode, 0);
                if (l->id_base) fchownat(current, name, l->id_base, l->id_base, AT_SYMLINK_NOFOLLOW);
                next = root_open(l, prefix, O_PATH);
            }
        }
        close(current);
        current = next;
        // Followed links may have left the prefix as text behind; openat2 walks it again from the root, which is right.
    }
    return current;
}

int launch_make(struct launch *l, const char *path, int directory, unsigned mode) {
    return make_at(l, path, directory, mode, 0);
}

static int attach(int tree, int target) {
    return k3s_move_mount(tree, "", target, "", K3S_MOVE_MOUNT_F_EMPTY_PATH | K3S_MOVE_MOUNT_T_EMPTY_PATH);
}

static int fail(struct launch *l, int detail, int result) {
    l->detail = detail;
    return result;
}

/// "a,b=c" to fsconfig calls.
static int configure(int fs, const char *options) {
    char option[256];
    while (options && *options) {
        size_t length = strcspn(options, ",");
        if (length >= sizeof option) return -ENAMETOOLONG;
        memcpy(option, options, length);
        option[length] = 0;
        options += length + (options[length] == ',');
        char *value = strchr(option, '=');
        if (value) *value++ = 0;
        int result = value ? k3s_fsconfig(fs, K3S_FSCONFIG_SET_STRING, option, value, 0)
                           : k3s_fsconfig(fs, K3S_FSCONFIG_SET_FLAG, option, NULL, 0);
        if (result < 0) return result;
    }
    return 0;
}

/// A new, detached file system.
static int new_filesystem(const char *type, const char *options, unsigned attributes) {
    int fs = k3s_fsopen(type);
    if (fs < 0) return fs;
    int result = configure(fs, options);
    if (result >= 0) result = k3s_fsconfig(fs, K3S_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int tree = result < 0 ? result : k3s_fsmount(fs, attributes);
    close(fs);
    return tree;
}

/// Name of lower directory number `index`: as the plan says, or its shifted mount below the mount point.
static const char *lower_name(struct launch *l, struct k3s_op *op, uint64_t index, const char **cursor, char *buffer,
                              size_t size) {
    const char *name = *cursor;
    *cursor += strlen(name) + 1;
    if (!(op->flags & K3S_FLAG_IDMAP)) return name;
    snprintf(buffer, size, "%s/%u", text(l, op->extra), (unsigned)index);
    return buffer;
}

/// Mounts each lower directory with shifted owners on a small file system over the mount point. overlayfs takes its own
/// copies of these mounts; all of it goes with the old root.
static int shift_layers(struct launch *l, struct k3s_op *op) {
    int place = k3s_openat(AT_FDCWD, text(l, op->extra), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (place < 0) return fail(l, K3S_DETAIL_TARGET, place);
    int shelf = new_filesystem("tmpfs", "mode=711,size=64k", 0);
    if (shelf < 0) return shelf;
    int result = attach(shelf, place);
    close(place);
    const char *lower = text(l, op->s1);
    for (uint64_t i = 0; result >= 0 && i < op->arg; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", (unsigned)i);
        if (mkdirat(shelf, name, 0711) < 0) return -errno;
        int tree = k3s_open_tree(AT_FDCWD, lower, K3S_OPEN_TREE_CLONE);
        if (tree < 0) return fail(l, K3S_DETAIL_SOURCE, tree);
        result = k3s_mount_idmap(tree, 0, l->userns);
        if (result < 0) return fail(l, K3S_DETAIL_IDMAP, result);
        result = k3s_move_mount(tree, "", shelf, name, K3S_MOVE_MOUNT_F_EMPTY_PATH);
        close(tree);
        lower += strlen(lower) + 1;
    }
    close(shelf);
    return result;
}

/// Kernels before 6.7 take the lower directories only as one option, within one page: by descriptor, whose names are
/// short however long the paths are.
static int overlay_classic(struct launch *l, struct k3s_op *op) {
    char options[4096];
    size_t used = (size_t)snprintf(options, sizeof options, "lowerdir=");
    const char *lower = text(l, op->s1);
    for (uint64_t i = 0; i < op->arg && used < sizeof options; i++) {
        char buffer[256];
        const char *name = lower_name(l, op, i, &lower, buffer, sizeof buffer);
        int fd = k3s_openat(AT_FDCWD, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0) return fail(l, K3S_DETAIL_SOURCE, fd);
        used += (size_t)snprintf(options + used, sizeof options - used, "%s/proc/self/fd/%d", i ? ":" : "", fd);
    }
    if (op->s2 && used < sizeof options)
        used += (size_t)snprintf(options + used, sizeof options - used, "%s,upperdir=%s,workdir=%s,volatile",
                                 l->nested ? ",userxattr" : "", text(l, op->s2), text(l, op->s3));
    if (used >= sizeof options) return fail(l, K3S_DETAIL_OPTION, -E2BIG);
    int result = mount("overlay", text(l, op->extra), "overlay", 0, options) < 0 ? -errno : 0;
    if (result == -EINVAL && op->s2) { // before 5.10 there is no "volatile"
        options[used - 9] = 0;
        result = mount("overlay", text(l, op->extra), "overlay", 0, options) < 0 ? -errno : 0;
    }
    if (result < 0) return result;
    l->root = k3s_openat(AT_FDCWD, text(l, op->extra), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    return l->root < 0 ? l->root : 0;
}

int launch_overlay(struct launch *l, struct k3s_op *op) {
    if (op->flags & K3S_FLAG_IDMAP) {
        int shifted = shift_layers(l, op);
        if (shifted < 0) return shifted;
    }
    int target = k3s_openat(AT_FDCWD, text(l, op->extra), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (target < 0) return fail(l, K3S_DETAIL_TARGET, target);
    int fs = k3s_fsopen("overlay");
    if (fs < 0) return fs;
    const char *lower = text(l, op->s1);
    int result = 0;
    for (uint64_t i = 0; result >= 0 && i < op->arg; i++) {
        char buffer[256];
        const char *name = lower_name(l, op, i, &lower, buffer, sizeof buffer);
        result = k3s_fsconfig(fs, K3S_FSCONFIG_SET_STRING, "lowerdir+", name, 0);
    }
    if (result == -EINVAL) goto classic;
    if (result < 0) return fail(l, K3S_DETAIL_SOURCE, result);
    if (op->s2) {
        result = k3s_fsconfig(fs, K3S_FSCONFIG_SET_STRING, "upperdir", text(l, op->s2), 0);
        if (result >= 0) result = k3s_fsconfig(fs, K3S_FSCONFIG_SET_STRING, "workdir", text(l, op->s3), 0);
        if (result < 0) return fail(l, K3S_DETAIL_OPTION, result);
        if (l->nested) k3s_fsconfig(fs, K3S_FSCONFIG_SET_FLAG, "userxattr", NULL, 0);
        // Without it the end of each container syncs the whole file system below, and every fsync inside reaches the
        // disk: for files that no container sees again after a power failure. Kernels before 5.10 do not know it.
        k3s_fsconfig(fs, K3S_FSCONFIG_SET_FLAG, "volatile", NULL, 0);
    }
    result = k3s_fsconfig(fs, K3S_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    // Before 6.5 the options are looked at only now.
    if (result == -EINVAL) goto classic;
    int tree = result < 0 ? result : k3s_fsmount(fs, 0);
    close(fs);
    if (tree < 0) return tree;
    result = attach(tree, target);
    close(target);
    if (result < 0) return fail(l, K3S_DETAIL_ATTACH, result);
    l->root = tree;
    return 0;
classic:
    close(fs);
    close(target);
    return overlay_classic(l, op);
}

int launch_bind_root(struct launch *l, struct k3s_op *op) {
    int tree = k3s_open_tree(AT_FDCWD, text(l, op->s1), K3S_OPEN_TREE_CLONE | K3S_AT_RECURSIVE);
    if (tree < 0) return fail(l, K3S_DETAIL_SOURCE, tree);
    k3s_mount_setattr(tree, "", K3S_AT_EMPTY_PATH | K3S_AT_RECURSIVE, 0, 0, MS_PRIVATE);
    int result = k3s_move_mount(tree, "", AT_FDCWD, text(l, op->s2), K3S_MOVE_MOUNT_F_EMPTY_PATH);
    if (result < 0) return fail(l, K3S_DETAIL_ATTACH, result);
    l->root = tree;
    return 0;
}

int launch_mount(struct launch *l, struct k3s_op *op) {
    int target = launch_make(l, text(l, op->s2), 1, 0755);
    if (target < 0) return fail(l, K3S_DETAIL_TARGET, target);
    int tree = new_filesystem(text(l, op->s1), text(l, op->s3), (unsigned)op->arg);
    if (tree < 0) {
        close(target);
        return tree;
    }
    int result = attach(tree, target);
    close(target);
    close(tree);
    return result < 0 ? fail(l, K3S_DETAIL_ATTACH, result) : 0;
}

int launch_open_tree(struct launch *l, struct k3s_op *op) {
    unsigned flags = K3S_OPEN_TREE_CLONE | (op->flags & K3S_FLAG_RECURSIVE ? K3S_AT_RECURSIVE : 0);
    int tree = k3s_open_tree(AT_FDCWD, text(l, op->s1), flags);
    if (tree < 0) return fail(l, K3S_DETAIL_SOURCE, tree);
    l->slots[op->arg] = tree;
    return 0;
}

int launch_bind(struct launch *l, struct k3s_op *op) {
    int tree;
    if (op->flags & K3S_FLAG_SLOT) {
        tree = l->slots[op->arg >> 32];
        l->slots[op->arg >> 32] = -1;
    } else {
        unsigned flags = K3S_OPEN_TREE_CLONE | (op->flags & K3S_FLAG_RECURSIVE ? K3S_AT_RECURSIVE : 0);
        tree = k3s_open_tree(AT_FDCWD, text(l, op->s1), flags);
    }
    if (tree < 0) return fail(l, K3S_DETAIL_SOURCE, tree);
    struct stat source;
    if (fstat(tree, &source) < 0) return fail(l, K3S_DETAIL_SOURCE, -errno);
    // Propagation concerns the whole tree, read-only only its top: what is mounted below keeps its own say.
    int result = op->extra ? k3s_mount_setattr(tree, "", K3S_AT_EMPTY_PATH | K3S_AT_RECURSIVE, 0, 0, op->extra) : 0;
    uint32_t attributes = (uint32_t)op->arg;
    unsigned depth = op->flags & K3S_FLAG_READONLY_TREE ? K3S_AT_RECURSIVE : 0;
    if (result >= 0 && attributes) result = k3s_mount_setattr(tree, "", K3S_AT_EMPTY_PATH | depth, attributes, 0, 0);
    // File systems that cannot shift: files keep their owners, whom the container sees as nobody.
    if (result >= 0 && (op->flags & K3S_FLAG_IDMAP) && k3s_mount_idmap(tree, 1, l->userns) < 0)
        k3s_mount_idmap(tree, 0, l->userns);
    if (result < 0) return fail(l, K3S_DETAIL_OPTION, result);
    int target = launch_make(l, text(l, op->s2), S_ISDIR(source.st_mode), S_ISDIR(source.st_mode) ? 0755 : 0644);
    if (target < 0) return fail(l, K3S_DETAIL_TARGET, target);
    struct stat place;
    // move_mount says EINVAL for this and for much else.
    if (fstat(target, &place) == 0 && S_ISDIR(place.st_mode) != S_ISDIR(source.st_mode))
        return fail(l, K3S_DETAIL_TARGET, -ENOTDIR);
    result = attach(tree, target);
    close(target);
    close(tree);
    return result < 0 ? fail(l, K3S_DETAIL_ATTACH, result) : 0;
}

/// Opens the parent directory of `path` in the root and points *name at its last part.
static int parent_of(struct launch *l, const char *path, const char **name) {
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof parent) return -ENAMETOOLONG;
    memcpy(parent, path, length);
    parent[length] = 0;
    *name = slash ? slash + 1 : path;
    return launch_make(l, parent, 1, 0755);
}

int launch_symlink(struct launch *l, struct k3s_op *op) {
    const char *name;
    int parent = parent_of(l, text(l, op->s2), &name);
    if (parent < 0) return parent;
    int result = symlinkat(text(l, op->s1), parent, name) < 0 && errno != EEXIST ? -errno : 0;
    if (result == 0 && l->id_base) fchownat(parent, name, l->id_base, l->id_base, AT_SYMLINK_NOFOLLOW);
    close(parent);
    return result;
}

/// The host's node in the place of one that may not be made (user namespaces have no CAP_MKNOD that counts).
static int bind_node(struct launch *l, struct k3s_op *op) {
    int tree = k3s_open_tree(AT_FDCWD, text(l, op->s2), K3S_OPEN_TREE_CLONE);
    if (tree < 0) return fail(l, K3S_DETAIL_SOURCE, tree);
    int target = launch_make(l, text(l, op->s1), 0, 0666);
    int result = target < 0 ? target : attach(tree, target);
    if (target >= 0) close(target);
    close(tree);
    return result;
}

int launch_mknod(struct launch *l, struct k3s_op *op) {
    if (l->nested && op->s2) return bind_node(l, op);
    const char *name;
    int parent = parent_of(l, text(l, op->s1), &name);
    if (parent < 0) return parent;
    int result = 0;
    if (mknodat(parent, name, op->extra, (dev_t)op->arg) < 0) result = errno == EEXIST ? 0 : -errno;
    else {
        fchmodat(parent, name, op->extra & 07777, 0);
        if (op->flags >> 16 || l->id_base)
            fchownat(parent, name, l->id_base, l->id_base + (op->flags >> 16), AT_SYMLINK_NOFOLLOW);
    }
    close(parent);
    return result;
}

int launch_mask(struct launch *l, struct k3s_op *op) {
    int target = launch_lookup(l, text(l, op->s1));
    if (target == -ENOENT || target == -ENOTDIR) return 0;
    if (target < 0) return fail(l, K3S_DETAIL_TARGET, target);
    struct stat status;
    int tree;
    if (fstat(target, &status) == 0 && S_ISDIR(status.st_mode))
        tree = new_filesystem("tmpfs", "ro,nr_inodes=1,nr_blocks=1", K3S_MOUNT_ATTR_RDONLY);
    else
        tree = k3s_open_tree(AT_FDCWD, "/dev/null", K3S_OPEN_TREE_CLONE);
    int result = tree < 0 ? tree : attach(tree, target);
    close(target);
    if (tree >= 0) close(tree);
    return result;
}

int launch_readonly(struct launch *l, struct k3s_op *op) {
    int target = launch_lookup(l, text(l, op->s1));
    if (target == -ENOENT || target == -ENOTDIR) return 0;
    if (target < 0) return fail(l, K3S_DETAIL_TARGET, target);
    int tree = k3s_open_tree(target, "", K3S_OPEN_TREE_CLONE | K3S_AT_EMPTY_PATH | K3S_AT_RECURSIVE);
    int result = tree;
    if (tree >= 0) {
        result = k3s_mount_setattr(tree, "", K3S_AT_EMPTY_PATH | K3S_AT_RECURSIVE, K3S_MOUNT_ATTR_RDONLY, 0, 0);
        if (result >= 0) result = attach(tree, target);
        close(tree);
    }
    close(target);
    return result;
}

int launch_pivot(struct launch *l) {
    if (fchdir(l->root) < 0) return -errno;
    if (k3s_pivot_root(".", ".") == 0) {
        // The old root lies on top of the new one now.
        if (mount("", ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 || umount2(".", MNT_DETACH) < 0) return -errno;
    } else if (errno == EINVAL) {
        // An initramfs cannot be pivoted away from.
        if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) return -errno;
    } else {
        return -errno;
    }
    close(l->root);
    l->root = -1;
    return chdir("/") < 0 ? -errno : 0;
}
