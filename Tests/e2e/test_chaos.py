"""Whatever is killed or fills up in the midst of a rollout: in the end every object is what its spec says.

A step of the clock is not among it: it cannot be made for one process without changing the machine's.
"""

import json
import os
import random
import signal
import time

import harness
import pytest
from conftest import import_images
from harness import Failed, run, wait_until

TEMPLATE = """
    metadata: {labels: {app: %(name)s}, annotations: {round: "%(round)s"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: busybox:test
        command: [sh, -c, "trap 'exit 0' TERM; echo %(round)s > /tmp/round; while :; do sleep 1000 & wait; done"]
        readinessProbe: {exec: {command: [cat, /tmp/round]}, periodSeconds: 1}
"""
WORKLOADS = (
    """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:"""
    + TEMPLATE.replace("%(name)s", "web")
    + """
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:"""
    + TEMPLATE.replace("%(name)s", "db")
    + """
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:"""
    + TEMPLATE.replace("%(name)s", "agent")
    + """
---
apiVersion: batch/v1
kind: Job
metadata: {name: job-%(round)s}
spec:
  completions: 3
  parallelism: 2
  backoffLimit: 50
  template:
    metadata: {labels: {app: job}}
    spec:
      restartPolicy: OnFailure
      containers: [{name: c, image: "busybox:test", command: [sleep, "1"]}]
"""
)


def apply(node, round):
    text = WORKLOADS % {"round": round}
    # The server may be away in the very moment.
    wait_until(
        "apply", lambda: node.kubectl("apply", "-f", "-", input=text, check=False, timeout=20).returncode == 0, timeout=60
    )


def items(node, kind, *args):
    return json.loads(node.kubectl("get", kind, *args, "-o", "json", timeout=20).stdout)["items"]


def settled(node, round):
    """True when all is as the specs of `round` say; raises Failed with what is not."""

    def check(what, have, want):
        if have != want:
            raise Failed(f"{what}: {have}, expected {want}")

    for kind, want in (("deployments", 4), ("statefulsets", 2)):
        (one,) = items(node, kind)
        status = one["status"]
        check(kind, status.get("observedGeneration"), one["metadata"]["generation"])
        for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
            check(f"{kind} {field}", status.get(field), want)
    (daemon,) = items(node, "daemonsets")
    for field in ("numberReady", "updatedNumberScheduled", "desiredNumberScheduled"):
        check(field, daemon["status"].get(field), 1)
    (job,) = [j for j in items(node, "jobs") if j["metadata"]["name"] == f"job-{round}"]
    check("job", job["status"].get("succeeded"), 3)
    check("job", [c["type"] for c in job["status"]["conditions"] if c["status"] == "True"][-1], "Complete")
    pods = [p for p in items(node, "pods", "-l", "app in (web,db,agent)") if p["status"]["phase"] != "Failed"]
    check("pods", len(pods), 7)
    for pod in pods:
        name = pod["metadata"]["name"]
        check(name, pod["metadata"]["annotations"]["round"], str(round))
        check(name, [c["status"] for c in pod["status"]["conditions"] if c["type"] == "Ready"], ["True"])
        check(name, node.kubectl("exec", name, "--", "cat", "/tmp/round").stdout, f"{round}\n")
    # And nothing else runs: one first process for each of them.
    check("processes", len(first_processes(node)), 7)
    addresses = [p["status"]["podIP"] for p in pods]
    check("addresses", len(set(addresses)), 7)
    return True


def first_processes(node):
    """The containers' processes 1."""
    found = []
    for pid in node.pids() - set(node.shims()):
        try:
            with open(f"/proc/{pid}/status") as f:
                if any(line.startswith("NSpid:") and len(line.split()) > 2 and line.split()[-1] == "1" for line in f):
                    found.append(pid)
        except OSError:
            pass
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_server(node):
    node.stop(signal.SIGKILL)
    node.start(wait=False)


def kill_shim(node):
    for pid in node.shims():
        kill(pid)


def kill_containers(node):
    processes = first_processes(node)
    for pid in random.sample(processes, min(3, len(processes))):
        kill(pid)


def kill_all(node):
    """As the out-of-memory killer on a bad day."""
    node.stop(signal.SIGKILL)
    kill_shim(node)
    kill_containers(node)
    node.start(wait=False)


@pytest.mark.parametrize("harm", [kill_server, kill_containers, kill_shim, kill_all])
def test_a_rollout_survives(own_node, harm):
    node = own_node.start()
    apply(node, 0)
    wait_until("the first state", lambda: settled(node, 0), timeout=120, interval=0.5)
    seed = int(os.environ.get("CHAOS_SEED", time.time()))
    print("CHAOS_SEED", seed)
    random.seed(seed)
    for round in (1, 2):
        apply(node, round)
        for _ in range(3):
            time.sleep(random.uniform(0.1, 2))
            harm(node)
        node.wait_ready(60)
        wait_until(f"round {round}", lambda: settled(node, round), timeout=150, interval=0.5)


@pytest.fixture
def tight_node():
    """A node all of whose state is on a file system of 96 MiB."""
    node = harness.Node(
        "tight",
        ["--kubelet-arg=eviction-pressure-transition-period=3s", "--kubelet-arg=housekeeping-interval=1s"],
        kubectl="1.36",
    ).create()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=96m", "none", node.data)
        import_images(node)
        yield node.start()
    finally:
        node.destroy()


def fill(path):
    """Until there is no byte left."""
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 65536)
        except OSError:
            pass


def test_a_rollout_survives_a_full_disk(tight_node):
    node = tight_node
    apply(node, 0)
    wait_until("the first state", lambda: settled(node, 0), timeout=120, interval=0.5)
    text = WORKLOADS % {"round": 1}
    big = os.path.join(node.data, "big")
    node.kubectl("apply", "-f", "-", input=text)
    fill(big)
    # What cannot be kept is refused, not lost; what is there is served.
    done = node.kubectl("create", "configmap", "full", "--from-literal=x=" + "y" * 100_000, check=False, timeout=30)
    kept = done.returncode == 0
    assert node.kubectl("get", "deployment", "web", "-o", "name", timeout=30).stdout.strip()
    time.sleep(3)
    os.remove(big)
    wait_until("the configmap", lambda: node.kubectl("create", "configmap", "after", "--from-literal=x=y", check=False).returncode == 0)
    wait_until("round 1", lambda: settled(node, 1), timeout=150, interval=0.5)
    # Full, and killed in it.
    fill(big)
    apply_later = node.kubectl("apply", "-f", "-", input=WORKLOADS % {"round": 2}, check=False, timeout=30)
    node.stop(signal.SIGKILL)
    os.remove(big)
    node.start()
    if apply_later.returncode != 0:
        apply(node, 2)
    wait_until("round 2", lambda: settled(node, 2), timeout=150, interval=0.5)
    if kept:
        assert node.kubectl("get", "configmap", "full", "-o", "name").stdout
