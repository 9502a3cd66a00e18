"""Figures of workloads on one node: 100 pods, a rollout, what a node at rest writes, a restart with 10,000 objects. Printed and
promised as in bench_node.py."""

import json
import os
import time

import bench_node as bench
from bench_node import row

import conftest
import harness

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: %d
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "busybox:test", command: [sleep, "3600"], env: [{name: ROUND, value: "%d"}]}]
"""


def deployment(name, replicas, round=0):
    return DEPLOYMENT % (name, replicas, name, name, round)


def to_ready(node, name, text):
    """From the start of `kubectl apply` until `kubectl rollout status` ends."""
    started = time.monotonic()
    node.apply(text)
    node.kubectl("rollout", "status", "deployment/" + name, "--timeout=120s", timeout=130)
    return round(time.monotonic() - started, 2)


def written(node):
    """Bytes that the kernel was made to write, by the server and its shims."""
    total = 0
    for pid in [node.server_pid(), *node.shims()]:
        with open(f"/proc/{pid}/io") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("write_bytes"))
    return total


def hundred(node):
    row("100 pods on one node, from apply to all ready", to_ready(node, "hundred", deployment("hundred", 100)), "s", "<= 5", "")
    time.sleep(5)
    busy = bench.rss(node)
    time.sleep(bench.REST)
    row("resident memory of all our processes, 100 pods", bench.rss(node), "MiB", "<= 45", "")
    row("  five seconds after they are ready", busy, "MiB", "", "")
    row("  anonymous", round(node.memory()["Anonymous"] / 1024, 1), "MiB", "", "")
    row("idle CPU, 100 pods", bench.idle_cpu(node, 60), "%", "<= 0.5", "")


def writes(node):
    node.kubectl("scale", "deployment/hundred", "--replicas=25")
    harness.wait_until("25 pods", lambda: len(node.kubectl("get", "pods", "-o", "name").stdout.split()) == 25, timeout=60)
    time.sleep(bench.REST)
    before = written(node)
    time.sleep(120)
    row("idle disk writes, 25 pods, a minute", round((written(node) - before) / 2e6, 3), "MB", "<= 0.02", "0.8")
    node.kubectl("delete", "deployment", "hundred")
    harness.wait_until("no pods", lambda: not node.kubectl("get", "pods", "-o", "name").stdout, timeout=60)


def rollout(node):
    to_ready(node, "rolled", deployment("rolled", 20))
    times = sorted(to_ready(node, "rolled", deployment("rolled", 20, round)) for round in (1, 2, 3))
    row("Deployment of 20 replicas, a new template, median of 3", times[1], "s", "<= 4", "")
    node.kubectl("delete", "deployment", "rolled")


def restart(node):
    """5,000 Deployments and their ReplicaSets. Controllers take keys in the order in which they came: a Deployment that is made
    right after the start has its ReplicaSet when those that were there before have been looked at."""
    path = os.path.join(node.dir, "many.json")
    items = []
    for number in range(5000):
        name = f"d{number}"
        pod = {"containers": [{"name": "c", "image": "busybox:test"}]}
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}
        items.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
    with open(path, "w") as f:
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, f)
    node.netns.run(harness.BINARY, "kubectl", "--kubeconfig", node.kubeconfig, "create", "-f", path, timeout=300)
    sets = "replicasets.apps"
    harness.wait_until("5,000 ReplicaSets", lambda: len(node.kubectl("get", sets, "-o", "name").stdout.split()) == 5000, timeout=120)
    node.stop()
    started = time.monotonic()
    node.start(wait=False)
    marker = deployment("marker", 0)
    while node.kubectl("apply", "-f", "-", input=marker, check=False).returncode != 0:
        pass
    made = time.monotonic()
    while not node.kubectl("get", sets, "-l", "app=marker", "-o", "name").stdout:
        pass
    row("restart with 10,000 objects, all reconciled", round(time.monotonic() - started, 2), "s", "<= 2", "")
    row("  of which until the API has taken a new Deployment", round(made - started, 2), "s", "", "")


def main():
    node = harness.Node("bench").create()
    try:
        conftest.import_images(node)
        node.start()
        hundred(node)
        writes(node)
        rollout(node)
        restart(node)
    finally:
        node.destroy()


if __name__ == "__main__":
    main()
