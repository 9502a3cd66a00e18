"""The server may die at any moment: containers go on, are taken over again, and nothing that was acknowledged is lost."""

import json
import os
import signal
import time

from harness import wait_until

COUNTER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: counter}
spec:
  replicas: 3
  selector: {matchLabels: {app: counter}}
  template:
    metadata: {labels: {app: counter}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: busybox:test
        command: [sh, -c, "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done"]
"""


def containers(node):
    pods = json.loads(node.kubectl("get", "pods", "-o", "json").stdout)["items"]
    return {p["metadata"]["name"]: (p["status"]["containerStatuses"][0]["containerID"], p["status"]["podIP"]) for p in pods}


def check_no_gap(node, name):
    numbers = [int(line) for line in node.kubectl("logs", name).stdout.split()]
    assert numbers == list(range(1, len(numbers) + 1)), "the log has a gap"
    return len(numbers)


def test_pods_survive_kill_9_and_a_clean_stop(own_node):
    node = own_node.start()
    node.apply(COUNTER)
    node.kubectl("rollout", "status", "deployment/counter", "--timeout=60s")
    before = containers(node)
    shims = node.shims()
    for sig in (signal.SIGKILL, signal.SIGTERM):
        name = sorted(before)[0]
        length = check_no_gap(node, name)
        started = time.monotonic()
        code = node.stop(sig)
        if sig == signal.SIGTERM:
            assert code == 0 and time.monotonic() - started < 2.5
        time.sleep(1)
        node.start()
        wait_until("all ready", lambda: node.jsonpath("deployment", "counter", "{.status.readyReplicas}") == "3")
        assert containers(node) == before
        assert node.shims() == shims
        wait_until("log goes on", lambda: check_no_gap(node, name) > length + 20)
    restarts = node.jsonpath("pods", "{.items[*].status.containerStatuses[0].restartCount}")
    assert restarts == "0 0 0"
    # What happened while nobody watched is seen: a container that died is replaced, a pod that is deleted goes.
    node.stop(signal.SIGKILL)
    counters = [p for p in node.pids() if b"usleep 20000" in _cmdline(p) and _is_first(p)]
    assert len(counters) == 3
    os.kill(counters[0], signal.SIGKILL)
    node.start()
    wait_until(
        "one restart", lambda: sorted(node.jsonpath("pods", "{.items[*].status.containerStatuses[0].restartCount}").split()) == ["0", "0", "1"]
    )
    node.kubectl("delete", "deployment", "counter", "--wait")
    wait_until("gone", lambda: node.kubectl("get", "pods", "-o", "name").stdout == "")
    wait_until("processes gone", lambda: not [p for p in node.pids() if b"usleep 20000" in _cmdline(p)], timeout=15)


def _is_first(pid):
    """Process 1 of its container."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in f)
    except OSError:
        return False


def _cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_acknowledged_objects_survive_kill_9(own_node):
    node = own_node.start()
    for i in range(5):
        node.kubectl("create", "configmap", f"c{i}", f"--from-literal=n={i}")
        node.stop(signal.SIGKILL)
        node.start()
    names = node.jsonpath("configmaps", "{.items[*].metadata.name}").split()
    assert [f"c{i}" in names for i in range(5)] == [True] * 5
