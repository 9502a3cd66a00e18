"""The container runtime's figures beside crun's and runc's: one busybox, the same namespaces and mounts, one run."""

import gzip
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
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


def layout(folder):
    """An image of 200 MB in three layers, half of it incompressible, as an OCI layout and as an archive of it."""
    blobs = f"{folder}/layout/blobs/sha256"
    os.makedirs(blobs)

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{blobs}/{digest}", "wb") as f:
            f.write(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    layers, diffs = [], []
    for number in range(3):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            for index in range(1000):
                size = 1_000_000 if index % 16 == 0 else 4_000
                entry = tarfile.TarInfo(f"layer{number}/d{index % 50}/f{index}")
                entry.size, entry.mode = size, 0o644
                tar.addfile(entry, io.BytesIO(os.urandom(size // 2) + b"k3s " * (size // 8)))
        diffs.append("sha256:" + hashlib.sha256(plain.getvalue()).hexdigest())
        packed = gzip.compress(plain.getvalue(), 1)
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blob(packed)})
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                              "rootfs": {"type": "layers", "diff_ids": diffs}}).encode())
    manifest = blob(json.dumps({
        "schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": layers}).encode())
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
        "annotations": {"org.opencontainers.image.ref.name": "bench"}}]}
    for name, content in [("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})]:
        with open(f"{folder}/layout/{name}", "w") as f:
            json.dump(content, f)
    subprocess.run(["tar", "-cf", f"{folder}/image.tar", "-C", f"{folder}/layout", "."], check=True)


def unpack(exerciser, work):
    """Layers to directories, on the same disk, each into the page cache first; ours syncs at the end."""
    layout(work)
    ours, peers, memory = [], [], []
    for number in range(3):
        lines = subprocess.run([exerciser, f"{work}/store{number}", f"{work}/image.tar"], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines()
        figures = {words[0]: float(words[1]) for words in map(str.split, lines)}
        ours.append(figures["unpack"])
        memory.append(figures["unpack-memory"])
        if shutil.which("umoci"):
            begin = time.monotonic()
            subprocess.run(["umoci", "unpack", "--image", f"{work}/layout:bench", f"{work}/bundle{number}"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            peers.append((time.monotonic() - begin) * 1000)
    peer = f"umoci {statistics.median(peers):.0f} ms" if peers else ""
    print(f"{'unpacking three layers of 200 MB':<52} {statistics.median(ours):>10} {'ms':<5} promised "
          f"{'-':<22} {peer}")
    print(f"{'memory for it':<52} {max(memory):>10.1f} {'MiB':<5} promised {'<= 16 MiB':<22}", flush=True)


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
        unpack(os.path.join(os.path.dirname(probe), "image-exerciser"), work)
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
