"""Container images for the tests, made from Debian's static busybox: nothing is downloaded.

An image is written as a docker-archive (what `docker save` makes), so that `skopeo` and our import both read it.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile

APPLETS = """sh cat ls sleep echo true false id env wc head tail seq dd mkdir rm cp mv ln touch chmod chown stat grep sed awk
 nc wget httpd hostname date kill ps mount umount tty stty test [ printf yes od md5sum sha256sum readlink find sort tr cut
 nslookup ping ip ifconfig df du free uname whoami mkfifo usleep timeout xargs""".split()


def _tar(entries):
    """entries: (name, kind, payload, mode); kind in file, dir, link, hard."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, payload, mode in entries:
            info = tarfile.TarInfo(name)
            info.mode = mode
            if kind == "dir":
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, payload
                tar.addfile(info)
            elif kind == "hard":
                info.type, info.linkname = tarfile.LNKTYPE, payload
                tar.addfile(info)
            else:
                info.size = len(payload)
                tar.addfile(info, io.BytesIO(payload))
    return out.getvalue()


def busybox_layer(extra=()):
    with open("/bin/busybox", "rb") as f:
        binary = f.read()
    entries = [(d, "dir", None, 0o755) for d in ("bin", "etc", "tmp", "www", "root", "home")]
    entries[2] = ("tmp", "dir", None, 0o1777)
    entries.append(("bin/busybox", "file", binary, 0o755))
    entries += [("bin/" + a, "link", "busybox", 0o777) for a in APPLETS]
    entries.append(("etc/passwd", "file", b"root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002:web:/home:/bin/sh\n", 0o644))
    entries.append(("etc/group", "file", b"root:x:0:\nweb:x:1002:\nextra:x:1003:web\n", 0o644))
    entries += list(extra)
    return _tar(entries)


def docker_archive(path, name, layers, config=None, compress=None):
    """Writes an image of plain tar layers; `config` are the members of the image's `config`."""
    config = dict(config or {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"]})
    diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    document = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "test"} for _ in layers],
        }
    ).encode()
    digest = hashlib.sha256(document).hexdigest()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(member, payload):
            info = tarfile.TarInfo(member)
            info.size = len(payload)
            tar.addfile(info, io.BytesIO(payload))

        names = []
        for layer in layers:
            member = hashlib.sha256(layer).hexdigest() + "/layer.tar"
            add(member, layer)
            names.append(member)
        add(digest + ".json", document)
        add("manifest.json", json.dumps([{"Config": digest + ".json", "RepoTags": [name], "Layers": names}]).encode())
    data = out.getvalue()
    if compress == "gz":
        data = gzip.compress(data, 1)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    return "sha256:" + digest


def hostile_archive(path, name, member, kind="file", payload=b"owned"):
    """An image whose layer holds one member that tries to leave the root."""
    layer = _tar([(member, kind, payload, 0o644)] if isinstance(member, str) else member)
    return docker_archive(path, name, [layer])
