"""The node's figures: start, pods, memory, CPU. One table, each with what is promised (docs/footprint.md)."""

import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "e2e"))
import conftest  # noqa: E402
import harness  # noqa: E402

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", command: [sleep, "3600"]}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: twenty}
spec:
  replicas: 20
  selector: {matchLabels: {app: twenty}}
  template:
    metadata: {labels: {app: twenty}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "busybox:test", command: [sleep, "3600"]}]
"""

# Seconds after which a process that was busy has given memory back (Sources/k3s/CommandLine/IdleMemory.swift).
REST = 45
rows = []


def row(name, value, unit, promise, peer):
    rows.append({"figure": name, "value": value, "unit": unit, "promised": promise, "k3s 1.21": peer})
    print(f"{name:<52} {value:>10} {unit:<4} promised {promise:<10} k3s (Go) {peer}", flush=True)


def cpu_ticks(node):
    total = 0
    for pid in [node.server_pid(), *node.shims()]:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total


def idle_cpu(node, seconds=20):
    before = cpu_ticks(node)
    time.sleep(seconds)
    return round((cpu_ticks(node) - before) / os.sysconf("SC_CLK_TCK") / seconds * 100, 2)


def rss(node):
    return round(node.memory()["Rss"] / 1024, 1)


def alone(machine):
    with open(f"/proc/{machine.server_pid()}/smaps_rollup") as f:
        return round(next(int(line.split()[1]) for line in f if line.startswith("Rss:")) / 1024, 1)


def apply_to_ready(node, name):
    """From the start of `kubectl apply` to the Ready condition, seen by a watch that was there before."""
    watch = subprocess.Popen(
        node.kubectl_command(
            "get", "pods", "-w", "--no-headers", "-o",
            "custom-columns=N:.metadata.name,R:.status.conditions[?(@.type=='Ready')].status",
        ),
        stdout=subprocess.PIPE, text=True, env=node.environment(),
    )  # fmt: skip
    time.sleep(1)
    started = time.monotonic()
    node.apply(POD % name)
    for line in watch.stdout:
        if line.split() == [name, "True"]:
            break
    elapsed = (time.monotonic() - started) * 1000
    watch.kill()
    watch.wait()
    return elapsed


NODE = """
apiVersion: v1
kind: Node
metadata:
  name: far
  annotations:
    flannel.alpha.coreos.com/backend-type: vxlan
    flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:09"}'
    flannel.alpha.coreos.com/kube-subnet-manager: "true"
    flannel.alpha.coreos.com/public-ip: 192.0.2.77
"""


def node_to_route(node):
    """From the start of `kubectl create` of another node to the kernel's route to its pods."""
    monitor = subprocess.Popen(node.netns.command("ip", "monitor", "route"), stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    started = time.monotonic()
    node.kubectl("create", "-f", "-", input=NODE)
    for line in monitor.stdout:
        if "dev flannel.1" in line and "10.42." in line:
            break
    elapsed = (time.monotonic() - started) * 1000
    monitor.kill()
    monitor.wait()
    node.kubectl("delete", "node", "far")
    time.sleep(1)
    return elapsed


def write_to_rule(node):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_write_to_rule.py")
    return json.loads(node.netns.run(sys.executable, script, node.kubeconfig).stdout)


def client_overhead(node):
    """What a kubectl run costs that does nothing: part of every figure that kubectl measures."""
    started = time.monotonic()
    node.kubectl("version")
    return (time.monotonic() - started) * 1000


def join():
    """A second machine: from `k3s agent` to Ready, and what the agent takes."""
    cluster = conftest.Cluster("bench")
    try:
        times = []
        for number in (2, 3, 4):
            agent = cluster.agent(number, start=False)
            started = time.monotonic()
            agent.start(wait=False)
            watch = subprocess.Popen(
                cluster.server.kubectl_command(
                    "get", "nodes", "-w", "--no-headers", "-o",
                    "custom-columns=N:.metadata.name,R:.status.conditions[?(@.type=='Ready')].status",
                ),
                stdout=subprocess.PIPE, text=True, env=cluster.server.environment(),
            )  # fmt: skip
            for line in watch.stdout:
                if line.split() == [agent.node_name, "True"]:
                    break
            times.append(time.monotonic() - started)
            watch.kill()
            watch.wait()
        row("a further node joins and is Ready, median of 3", round(statistics.median(times), 2), "s", "<= 2", "")
        # Without the image import that every machine of the tests begins with.
        agent = cluster.agent(2)
        agent.restart()
        time.sleep(5)
        started = alone(agent)
        time.sleep(REST)
        memory = agent.memory()
        row("resident memory of an agent alone, no pods", alone(agent), "MiB", "<= 16", "")
        row("  five seconds after its start", started, "MiB", "", "")
        row("  with its shim", round(memory["Rss"] / 1024, 1), "MiB", "", "")
        row("  anonymous", round(memory["Anonymous"] / 1024, 1), "MiB", "", "")
        row("threads of an agent", memory["Threads"], "", "<= 8", "")
        row("idle CPU of an agent", idle_cpu(agent), "%", "<= 0.5", "")
        cluster.server.stop()
        row("CPU of an agent whose server is away", idle_cpu(agent), "%", "<= 0.5", "")
    finally:
        cluster.destroy()


def evict(path):
    """Out of the page cache, as after a boot: how much a fault maps depends on how the file got there."""
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    os.sync()
    evict(harness.BINARY)
    if "--join" in sys.argv:
        return join()
    row("binary size", round(os.path.getsize(harness.BINARY) / 1e6, 1), "MB", "<= 20", "139")
    node = harness.Node("bench").create()
    try:
        conftest.import_images(node)
        started = time.monotonic()
        node.start(wait=False)
        while not os.path.exists(node.kubeconfig):
            time.sleep(0.01)
        node.wait_ready()
        row("start, empty data dir, to node Ready (polled by kubectl)", round(time.monotonic() - started, 2), "s", "<= 1.5", "19")
        time.sleep(5)
        busy = rss(node)
        time.sleep(REST)
        row("resident memory of all our processes, no pods", rss(node), "MiB", "<= 32", "497")
        row("  five seconds after the start", busy, "MiB", "", "")
        row("threads of the server", node.memory()["Threads"], "", "<= 8", "28")
        row("idle CPU, no pods", idle_cpu(node), "%", "<= 0.5", "6.5")
        overhead = client_overhead(node)
        times = [apply_to_ready(node, f"p{i}") for i in range(5)]
        row("kubectl apply to pod Ready, image present, median of 5", round(statistics.median(times)), "ms", "<= 300", "1000")
        row("  of which a kubectl process that does nothing", round(overhead), "ms", "", "")
        times = [node_to_route(node) for _ in range(3)]
        row("kubectl create of a node to the route to its pods", round(statistics.median(times)), "ms", "<= 1000", "")
        times = write_to_rule(node)
        row("API write of an endpoint to the rule, median of 11", round(times["rule"], 1), "ms", "<= 5", "")
        row("  of which until the API has answered", round(times["answer"], 1), "ms", "", "")
        node.kubectl("delete", "pod", "--all", "--wait")
        started = time.monotonic()
        node.apply(DEPLOYMENT)
        node.kubectl("rollout", "status", "deployment/twenty", "--timeout=120s")
        row("Deployment of 20 replicas to all ready", round(time.monotonic() - started, 2), "s", "<= 3", "14")
        time.sleep(5)
        busy = rss(node)
        time.sleep(REST)
        row("resident memory of all our processes, 20 pods", rss(node), "MiB", "<= 36", "580")
        row("  five seconds after they are ready", busy, "MiB", "", "")
        memory = node.memory()
        row("  proportional share (PSS)", round(memory["Pss"] / 1024, 1), "MiB", "", "")
        row("  anonymous", round(memory["Anonymous"] / 1024, 1), "MiB", "", "")
        row("idle CPU, 20 pods", idle_cpu(node), "%", "<= 0.5", "6.5")
    finally:
        node.destroy()
    join()
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
