"""Eviction for want of memory, in a virtual machine (hack/vm.sh) of 768 MB with cgroup v2: here the machine's memory is too
large, and not the test's alone."""

import os
import subprocess

import harness
import harness_images
import pytest
from conftest import BUSYBOX

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    image = str(tmp_path_factory.mktemp("images") / "busybox.tar")
    harness_images.docker_archive(image, BUSYBOX, [harness_images.busybox_layer()])
    run = subprocess.run(
        [os.path.join(harness.ROOT, "hack", "vm.sh"), "-m", "768", "-t", "280", "-f", harness.BINARY + ":/bin/k3s",
         "-f", image + ":/images/busybox.tar", "-f", HERE + "/memory_pressure.sh:/test.sh",
         "--", "/bin/busybox", "sh", "/test.sh"],
        capture_output=True, text=True,
    )  # fmt: skip
    if run.returncode == 77:
        pytest.skip(run.stderr.strip())
    print(run.stdout, run.stderr)
    return dict(line.split("=", 1) for line in run.stdout.splitlines() if "=" in line)


def test_the_pod_that_took_the_memory_is_evicted_before_the_kernel_acts(outcome):
    assert outcome["before"] == "False"
    assert outcome["hog"].startswith("Failed Evicted The node was low on resource: memory. Threshold quantity: 300Mi, available: ")
    assert "Container c was using" in outcome["hog"]
    assert outcome["event"] == "hog"


def test_the_node_says_so_until_it_is_over(outcome):
    assert outcome["pressure"] == "True"
    assert "node.kubernetes.io/memory-pressure" in outcome["taint"].split()
    assert outcome["after"] == "False"


def test_a_pod_faster_than_eviction_is_ended_by_the_kernel_and_nothing_else_is(outcome):
    assert outcome["greedy"] in ("OOMKilled", "EvictedOOMKilled", "EvictedError", "Evicted")
    assert outcome["modest"] == "Running 0"
    assert outcome["server"] == "alive"
