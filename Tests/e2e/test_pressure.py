"""What a node does when it is full: of pods, when a critical one comes, and of processes."""

import json

import harness
import pytest
from conftest import import_images
from harness import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: %(namespace)s}
spec:
  nodeName: node-1
  priorityClassName: %(priority)s
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:test", command: [sh, -c, %(command)s]}
"""


def free_processes():
    """As the kubelet counts them: the lesser of both limits without the threads there are."""
    limits = []
    for name in ("pid_max", "threads-max"):
        with open("/proc/sys/kernel/" + name) as f:
            limits.append(int(f.read()))
    with open("/proc/loadavg") as f:
        return min(limits) - int(f.read().split()[3].split("/")[1])


@pytest.fixture
def tight_node():
    node = harness.Node(
        "tight",
        [
            "--kubelet-arg=max-pods=2",
            # What else runs on the machine comes and goes, but not by so many.
            f"--kubelet-arg=eviction-hard=pid.available<{free_processes() - 700}",
            "--kubelet-arg=eviction-pressure-transition-period=5s",
            "--kubelet-arg=housekeeping-interval=1s",
        ],
        kubectl="1.36",
    ).create()
    try:
        import_images(node)
        yield node.start()
    finally:
        node.destroy()


def create(node, name, priority="", namespace="default", command="exec sleep 1000"):
    text = POD % dict(name=name, namespace=namespace, priority=json.dumps(priority), command=json.dumps(command))
    node.kubectl("apply", "-f", "-", input=text)


def status(node, name, namespace="default"):
    return json.loads(node.kubectl("get", "pod", name, "-n", namespace, "-o", "json").stdout)["status"]


def phase(node, name, namespace="default"):
    return status(node, name, namespace)["phase"]


def test_a_full_node(tight_node):
    node = tight_node
    for name in ("one", "two"):
        create(node, name)
        wait_until(f"{name} runs", lambda: phase(node, name) == "Running")
    create(node, "three")
    wait_until("three is refused", lambda: status(node, "three").get("reason") == "OutOfpods")

    create(node, "critical", "system-node-critical", "kube-system")
    wait_until("the critical pod runs", lambda: phase(node, "critical", "kube-system") == "Running")
    ended = [s for s in (status(node, "one"), status(node, "two")) if s["phase"] == "Failed"]
    assert [s["reason"] for s in ended] == ["Preempting"]
    target = next(c for c in ended[0]["conditions"] if c["type"] == "DisruptionTarget")
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."
    assert "Preempted in order to admit critical pod" in wait_until(
        "an event", lambda: "Preempting" in (out := node.kubectl("get", "events").stdout) and out
    )

    node.kubectl("delete", "pod", "one", "two", "three")
    create(node, "many", command="for i in $(seq 1500); do sleep 1000 & done; wait")
    ended = wait_until("it is evicted", lambda: (s := status(node, "many"))["phase"] == "Failed" and s, timeout=90)
    assert ended["reason"] == "Evicted"
    assert ended["message"].startswith("The node was low on resource: pids. Threshold quantity: ")
    assert phase(node, "critical", "kube-system") == "Running"

    def pressure():
        conditions = json.loads(node.kubectl("get", "node", "node-1", "-o", "json").stdout)["status"]["conditions"]
        return next(c["status"] for c in conditions if c["type"] == "PIDPressure")

    wait_until("no pressure", lambda: pressure() == "False", timeout=60)
