"""What a node does by itself: static pods, eviction, what it gives to pods."""

import json
import os
import signal
import subprocess

import harness
import pytest
from conftest import import_images
from harness import run, wait_until

STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {tier: node}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:test", command: [sh, -c, "echo %s; exec sleep 1000"]}
"""


def put(node, name, text):
    folder = os.path.join(node.data, "agent", "pod-manifests")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "." + name), "w") as f:
        f.write(text)
    os.rename(os.path.join(folder, "." + name), os.path.join(folder, name))


def get(node, *args):
    return json.loads(node.kubectl("get", *args, "-o", "json").stdout)


def started(node, name):
    pod = get(node, "pod", name)
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    return pod if ready else None


def test_static_pods_live_with_their_files(own_node):
    node = own_node
    put(node, "web.yaml", STATIC % ("web", "one"))
    put(node, "broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: broken}\nspec: {containers: 7}\n")
    node.start()
    pod = wait_until("web runs", lambda: started(node, "web-node-1"))
    notes = pod["metadata"]["annotations"]
    uid = notes["kubernetes.io/config.mirror"]
    assert notes["kubernetes.io/config.hash"] == uid and notes["kubernetes.io/config.source"] == "file"
    assert notes["kubernetes.io/config.seen"]
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert pod["spec"]["nodeName"] == "node-1" and pod["metadata"]["labels"] == {"tier": "node"}
    assert node.kubectl("logs", "web-node-1").stdout == "one\n"
    assert node.kubectl("exec", "web-node-1", "--", "echo", "here").stdout == "here\n"
    assert "broken.yaml" in node.tail(10_000)
    listed = json.loads(node.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/pods").stdout)["items"]
    mine = [p for p in listed if p["metadata"]["name"] == "web-node-1"]
    assert [p["metadata"]["uid"] for p in mine] == [uid] and mine[0]["status"]["phase"] == "Running"
    assert "Started" in wait_until(
        "events", lambda: "Started" in (out := node.kubectl("describe", "pod", "web-node-1").stdout) and out
    )
    container = pod["status"]["containerStatuses"][0]["containerID"]

    # Deleting shows the mirror only: it comes back, and what runs has not noticed.
    node.kubectl("delete", "pod", "web-node-1")
    again = wait_until("the mirror is back", lambda: started(node, "web-node-1"))
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    assert again["status"]["containerStatuses"][0]["containerID"] == container

    # A new start, an edit and the file's end.
    node.restart(signal.SIGKILL)
    again = wait_until("still there", lambda: started(node, "web-node-1"))
    assert again["status"]["containerStatuses"][0]["containerID"] == container
    assert again["status"]["startTime"] == pod["status"]["startTime"]
    put(node, "web.yaml", STATIC % ("web", "two"))
    wait_until("the edit", lambda: node.kubectl("logs", "web-node-1", check=False).stdout == "two\n")
    assert wait_until("its mirror", lambda: started(node, "web-node-1"))["metadata"]["annotations"][
        "kubernetes.io/config.hash"
    ] != uid  # fmt: skip
    os.remove(os.path.join(node.data, "agent", "pod-manifests", "web.yaml"))
    wait_until("gone", lambda: node.kubectl("get", "pod", "web-node-1", check=False).returncode != 0)
    wait_until("and its processes", lambda: node.pids() == set(node.shims()))


@pytest.fixture
def small_node():
    """A node whose pods' folder is a file system of 64 MiB."""
    node = harness.Node(
        "small",
        [
            "--kubelet-arg=eviction-hard=nodefs.available<40%",
            "--kubelet-arg=eviction-minimum-reclaim=nodefs.available=5%",
            "--kubelet-arg=eviction-pressure-transition-period=5s",
            "--kubelet-arg=housekeeping-interval=1s",
            "--kubelet-arg=max-pods=17",
            "--kubelet-arg=kube-reserved=cpu=100m",
            "--kubelet-arg=made-up=1",
        ],
        kubectl="1.36",
    ).create()
    try:
        import_images(node)
        folder = os.path.join(node.dir, "kubelet")
        os.makedirs(folder)
        run("mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=20000", "none", folder)
        yield node.start()
    finally:
        node.destroy()


SLEEPER = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  %s
  containers:
  - {name: c, image: "busybox:test", command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, emptyDir: %s}]
"""


def condition(node, name):
    conditions = get(node, "node", "node-1")["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == name)


def failed(node, name):
    status = get(node, "pod", name)["status"]
    return status if status["phase"] == "Failed" else None


def test_a_full_disk_ends_whoever_fills_it(small_node):
    node = small_node
    status = get(node, "node", "node-1")["status"]
    assert status["capacity"]["pods"] == "17"
    milli = int(status["capacity"]["cpu"]) * 1000 - 100
    assert status["allocatable"]["cpu"] == f"{milli}m"
    assert abs(int(status["allocatable"]["ephemeral-storage"]) - 64 * 1024 * 1024 * 0.6) < 2
    assert "made-up has no effect" in node.tail(10_000)

    node.apply(SLEEPER % ("limited", "", "{sizeLimit: 1Mi}"))
    node.apply(SLEEPER % ("modest", "", "{}"))
    node.apply(SLEEPER % ("greedy", "", "{}"))
    node.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    node.kubectl("exec", "limited", "--", "dd", "if=/dev/zero", "of=/v/f", "bs=1M", "count=2")
    status = wait_until("limited is evicted", lambda: failed(node, "limited"))
    assert status["reason"] == "Evicted"
    assert status["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert condition(node, "DiskPressure") == "False"

    node.kubectl("exec", "modest", "--", "dd", "if=/dev/zero", "of=/v/f", "bs=1M", "count=2")
    node.kubectl("exec", "greedy", "--", "dd", "if=/dev/zero", "of=/v/f", "bs=1M", "count=40", check=False)
    status = wait_until("greedy is evicted", lambda: failed(node, "greedy"))
    assert status["reason"] == "Evicted"
    assert status["message"].startswith("The node was low on resource: ephemeral-storage. Threshold quantity: ")
    assert "Container c was using" in status["message"] or "available: " in status["message"]
    target = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    events = node.kubectl("get", "events", "--all-namespaces", "-o", "wide").stdout
    assert "EvictionThresholdMet" in events and "Evicted" in events
    # Its volume is gone with it; the node recovers, and the taint goes with the condition.
    wait_until("no pressure", lambda: condition(node, "DiskPressure") == "False", timeout=60)
    wait_until("no taint", lambda: not get(node, "node", "node-1")["spec"].get("taints"))
    assert started(node, "modest")


def test_settings_that_make_no_sense_are_refused(tmp_path):
    for argument, reason in (
        ("eviction-hard=memory.available<lots", 'memory.available: \\"lots\\" is not an amount'),
        ("max-pods=many", 'max-pods: \\"many\\" is not a number'),
    ):
        done = subprocess.run(
            [harness.BINARY, "server", "--data-dir", str(tmp_path), "--kubelet-arg", argument],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode != 0 and reason in done.stderr + done.stdout
