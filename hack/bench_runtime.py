"""The container runtime's figures beside crun's and runc's: one busybox, the same namespaces and mounts, one run."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

COUNT = int(os.environ.get("BENCH_COUNT", "40"))
APPLETS = ["sh", "true", "sleep", "dd"]
LINES = 200_000


def rootfs(folder):
    os.makedirs(f"{folder}/bin")
    for name in ["proc", "dev", "sys", "tmp", "etc"]:
        os.mkdir(f"{folder}/{name}")
    shutil.copy("/bin/busybox", f"{folder}/bin/busybox")
    for applet in APPLETS:
        os.symlink("busybox", f"{folder}/bin/{applet}")
    # What the log's figure is made with; busybox's own `yes` and `head` write 43 MB/s.
    with open(f"{folder}/lines", "w") as f:
        f.write(("x" * 99 + "\n") * LINES)


def bundle(folder):
    """An OCI bundle as its tools write it (crun spec), without a terminal, running `true`."""
    os.makedirs(folder)
    rootfs(f"{folder}/rootfs")
    subprocess.run(["crun", "spec"], cwd=folder, check=True)
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    config["process"]["terminal"] = False
    config["process"]["args"] = ["true"]
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config, f)


def life(program, folder):
    begin = time.monotonic()
    subprocess.run([program, "run", "--bundle", folder, f"bench-{os.getpid()}"], check=True, stdin=subprocess.DEVNULL)
    return (time.monotonic() - begin) * 1000


def main(probe):
    work = tempfile.mkdtemp(prefix="k3s-bench-")
    try:
        rootfs(f"{work}/layer")
        bundle(f"{work}/bundle")
        others = [name for name in ("crun", "runc") if shutil.which(name)]
        for name in others:
            life(name, f"{work}/bundle")
        times = {name: [] for name in others}
        for _ in range(COUNT):
            for name in others:
                times[name].append(life(name, f"{work}/bundle"))
        output = subprocess.run([probe, "bench", work, str(COUNT), f"{work}/layer"], check=True, text=True,
                                stdout=subprocess.PIPE).stdout
        figures = {name: (float(value), unit) for name, value, unit in map(str.split, output.splitlines())}
        peers = ", ".join(f"{name} {statistics.median(list_):.1f} ms" for name, list_ in times.items())

        def row(name, key, promise, peer=""):
            value, unit = figures[key]
            print(f"{name:<52} {value:>10} {unit:<5} promised {promise:<22} {peer}", flush=True)

        row("container: create, start, exit, delete", "life", "half of crun's", peers)
        row("pod sandbox", "sandbox", "-")
        row("100 containers started at once", "parallel100", "-")
        row("memory per further container", "memory-per-container", "<= 100 KB", "containerd 3700 KB")
        row("shim with 60 containers (PSS)", "shim-pss-60-containers", "<= 1500 KB")
        row("exec round trip", "exec", "<= 5 ms")
        row("log of one container", "log", ">= 200 MB/s")
        row("shim while logging", "log-cores", "<= 1")
    finally:
        shutil.rmtree(work, ignore_errors=True)


HYBRID = "/sys/fs/cgroup/unified"
if os.path.ismount(HYBRID) and "BENCH_ALONE" not in os.environ:
    # crun refuses machines with both versions: in a mount namespace of our own there is only the first.
    os.environ["BENCH_ALONE"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
if "BENCH_ALONE" in os.environ:
    subprocess.run(["umount", HYBRID], check=True)
main(sys.argv[1])
