"""Links of the tools in the data folder, and which of them come first in PATH (`--prefer-bundled-bin`)."""

import json
import os
import subprocess

import pytest
from conftest import BUSYBOX
from harness import BINARY, wait_until

CONF = "/etc/cni/net.d/10-k3s-e2e-path.conflist"


@pytest.mark.parametrize("flags", [(), ("--prefer-bundled-bin",)], ids=["host first", "bundled first"])
def test_plugins_find_the_tools(own_node, tmp_path, flags):
    own_node.flags = ("--flannel-backend=none", *flags)
    data = os.path.join(own_node.data, "data")
    seen = tmp_path / "seen"
    os.makedirs(os.path.join(data, "cni"))
    plugin = os.path.join(data, "cni", "e2e-path")
    with open(plugin, "w") as f:
        f.write(f"#!/bin/sh\ncommand -v du > {seen}.tmp; echo $PATH >> {seen}.tmp; mv {seen}.tmp {seen}; exit 1\n")
    os.chmod(plugin, 0o755)
    os.makedirs(os.path.dirname(CONF), exist_ok=True)
    with open(CONF, "w") as f:
        json.dump({"cniVersion": "1.0.0", "name": "path", "plugins": [{"type": "e2e-path"}]}, f)
    try:
        own_node.start()
        assert "has no effect" not in own_node.tail(200)
        own_node.kubectl("run", "p", "--image", BUSYBOX)
        wait_until("the plugin was run", seen.exists, timeout=60)
        found, path = seen.read_text().splitlines()
    finally:
        os.remove(CONF)
    tools = os.path.join(data, "current", "bin", "aux")
    folders = path.split(":")
    assert folders[:2] == [os.path.join(data, "cni"), os.path.join(data, "current", "bin")]
    if flags:
        assert folders[2] == tools and found == os.path.join(tools, "du")
    else:
        assert folders[-1] == tools and found == "/usr/bin/du"
    # Each link is that tool.
    for name in ["iptables-restore", "nft", "socat", "findmnt", "ethtool", "ipset", "conntrack"]:
        link = os.path.join(tools, name)
        assert os.path.realpath(link) == os.path.realpath(BINARY)
    version = subprocess.run([os.path.join(tools, "iptables"), "-V"], capture_output=True, text=True)
    assert version.stdout.startswith("iptables v1.8") and version.returncode == 0
    assert os.path.realpath(os.path.join(data, "current", "bin", "kubectl")) == os.path.realpath(BINARY)
