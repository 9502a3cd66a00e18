// Shared by the files of the interpreter.
#ifndef K3S_LAUNCH_H
#define K3S_LAUNCH_H
#include "CShims.h"
#include "k3s_plan.h"

/// State of the child between clone and exec. Lives on its stack.
struct launch {
    char *plan;
    size_t size;
    int report;
    int target;  // pidfd, or -1
    int root;    // the container's root directory, or -1: the process's own root
    int slots[K3S_TREE_SLOTS];
    int userns;  // for idmapped mounts, or -1
    uint32_t id_base; // owner of what is made in the root, when the container has a user namespace
    int detail;
    uint64_t exe_device, exe_inode; // this program: never to be executed by a container
    int nested;  // in a user namespace of somebody's: no device nodes, overlayfs's marks are user attributes
};

static inline char *text(struct launch *l, uint32_t offset) { return offset ? l->plan + offset : NULL; }

/// Opens (O_PATH) what `path` names in the root, or -errno.
int launch_lookup(struct launch *l, const char *path);
/// Like launch_lookup, but makes what is missing: directories (0755), and the last part as a directory or an empty file.
int launch_make(struct launch *l, const char *path, int directory, unsigned mode);

int launch_overlay(struct launch *l, struct k3s_op *op);
int launch_bind_root(struct launch *l, struct k3s_op *op);
int launch_mount(struct launch *l, struct k3s_op *op);
int launch_open_tree(struct launch *l, struct k3s_op *op);
int launch_bind(struct launch *l, struct k3s_op *op);
int launch_symlink(struct launch *l, struct k3s_op *op);
int launch_mknod(struct launch *l, struct k3s_op *op);
int launch_mask(struct launch *l, struct k3s_op *op);
int launch_readonly(struct launch *l, struct k3s_op *op);
int launch_open_userns(struct launch *l, struct k3s_op *op);
int launch_enter_userns(struct launch *l);
int launch_pty(struct launch *l, struct k3s_op *op);
int launch_pivot(struct launch *l);
int launch_ids(struct launch *l, struct k3s_op *op);
int launch_capabilities(struct launch *l, struct k3s_op *op);
int launch_bounding(uint64_t kept);
int launch_seccomp(struct launch *l, struct k3s_op *op);
int launch_rlimit(struct k3s_op *op);
int launch_exec(struct launch *l, struct k3s_op *op);
void launch_pause(void);
#endif
