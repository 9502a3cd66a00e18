"""What of the runtime a pod's fields and the node's own commands reach."""

import json
import os
import subprocess

from harness import BINARY, run, wait_until

PRIVATE = """
apiVersion: v1
kind: Pod
metadata: {name: private}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "echo made > /scratch/file; id -u > /root-is; exec sleep 1000"]
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
    - {name: page, mountPath: /page, readOnly: true, recursiveReadOnly: Enabled}
    resources: {requests: {cpu: 300m}}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: page, image: {reference: "docker.io/library/web:test", pullPolicy: Never}}
"""


def test_private_users_and_image_volume(ns):
    ns.apply(PRIVATE)
    ns("wait", "pod/private", "--for=condition=Ready", "--timeout=60s")
    inside = ns("exec", "private", "--", "sh", "-c", "cat /root-is /proc/self/uid_map /scratch/file").stdout.split()
    assert inside[0] == "0" and int(inside[2]) >= 65536 and inside[3:] == ["65536", "made"]
    assert ns("exec", "private", "--", "cat", "/page/www/index.html").stdout == "hello\n"
    assert "Read-only" in ns("exec", "private", "--", "touch", "/page/x", check=False).stderr
    # Its image is in use by the volume alone, and therefore stays.
    refused = crictl(ns.node, "rmi", "docker.io/library/web:test", check=False)
    assert refused.returncode == 1 and "in use" in refused.stderr


def test_classes_of_service_have_cgroups(ns):
    ns.apply(PRIVATE.replace("hostUsers: false", "hostUsers: true"))
    ns("wait", "pod/private", "--for=condition=Ready", "--timeout=60s")
    v1 = f"/sys/fs/cgroup/cpu{ns.node.cgroup}/kubepods"
    if os.path.exists(v1):
        def shares(name):
            with open(f"{v1}{name}/cpu.shares") as f:
                return int(f.read())

        assert shares("/besteffort") == 2
        wait_until("burstable shares", lambda: shares("/burstable") >= 300 * 1024 // 1000)
        assert shares("") == os.cpu_count() * 1024


def test_statistics(ns):
    ns.apply(PRIVATE)
    ns("wait", "pod/private", "--for=condition=Ready", "--timeout=60s")
    path = "/api/v1/nodes/node-1/proxy"
    summary = json.loads(ns.node.kubectl("get", "--raw", path + "/stats/summary").stdout)
    pod = next(p for p in summary["pods"] if p["podRef"]["namespace"] == ns.name)
    assert pod["containers"][0]["rootfs"]["usedBytes"] > 0 and pod["containers"][0]["rootfs"]["inodesUsed"] > 1
    assert pod["ephemeral-storage"]["usedBytes"] >= 4096 and "rxBytes" in pod["network"]
    metrics = ns.node.kubectl("get", "--raw", path + "/metrics/cadvisor").stdout
    name = f'container_memory_working_set_bytes{{container="main",namespace="{ns.name}"'
    line = next(m for m in metrics.splitlines() if m.startswith(name))
    assert int(line.split()[-2]) > 0


def tool(node, name, *args, check=True):
    return run(BINARY, name, "--state", os.path.join(node.dir, "run"), *args, check=check)


def crictl(node, *args, check=True):
    return tool(node, "crictl", *args, check=check)


def test_crictl(ns):
    ns.apply(PRIVATE.replace("hostUsers: false", "hostUsers: true"))
    ns("wait", "pod/private", "--for=condition=Ready", "--timeout=60s")
    pods = [line.split() for line in crictl(ns.node, "pods").stdout.splitlines()]
    pod = next(p for p in pods if ns.name in p)
    assert "Ready" in pod and "private" in pod
    listed = [line.split() for line in crictl(ns.node, "ps", "--pod", pod[0]).stdout.splitlines()]
    assert listed[0][:2] == ["CONTAINER", "IMAGE"] and len(listed) == 2
    container = listed[1][0]
    assert json.loads(crictl(ns.node, "inspect", container).stdout)["state"] == "Running"
    done = crictl(ns.node, "exec", container, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    piped = subprocess.run(
        [BINARY, "crictl", "--state", os.path.join(ns.node.dir, "run"), "exec", "-i", container, "cat"],
        input=b"through\n" * 1000, capture_output=True, timeout=30)
    assert piped.stdout == b"through\n" * 1000
    assert container in crictl(ns.node, "stats", container).stdout
    assert "busybox" in crictl(ns.node, "images").stdout
    missing = crictl(ns.node, "inspect", "0123456789", check=False)
    assert missing.returncode == 1 and "ID does not exist" in missing.stderr
    # What is stopped here is the kubelet's to start again.
    crictl(ns.node, "stop", container)
    wait_until("restarted", lambda: ns.jsonpath(
        "pod", "private", "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}") == "1true")


def test_logs_by_crictl(ns):
    ns("run", "talker", "--image=busybox:test", "--restart=Never", "--", "sh", "-c", "seq 5; exec sleep 1000")
    ns("wait", "pod/talker", "--for=condition=Ready", "--timeout=60s")
    pod = next(line.split()[0] for line in crictl(ns.node, "pods").stdout.splitlines() if ns.name in line.split())
    container = crictl(ns.node, "ps", "-q", "--pod", pod).stdout.strip()
    wait_until("log", lambda: crictl(ns.node, "logs", container).stdout == "1\n2\n3\n4\n5\n")
    assert crictl(ns.node, "logs", "--tail", "2", container).stdout == "4\n5\n"


def test_ctr(node):
    archive = os.path.join(node.data, "agent", "images", "busybox.tar")
    assert "busybox:test" in tool(node, "ctr", "images", "import", archive).stdout
    assert "docker.io/library/busybox:test" in tool(node, "ctr", "-n", "k8s.io", "images", "ls", "-q").stdout.split()
    tool(node, "ctr", "images", "tag", "docker.io/library/busybox:test", "docker.io/library/other:one")
    assert "docker.io/library/other:one" in tool(node, "ctr", "images", "ls").stdout
    assert tool(node, "ctr", "containers", "ls").stdout.startswith("CONTAINER")
    assert tool(node, "ctr", "tasks", "ls").stdout.startswith("TASK")
    wrong = tool(node, "ctr", "-n", "default", "images", "ls", check=False)
    assert wrong.returncode == 1 and "there is only k8s.io" in wrong.stderr
    unreachable = run(BINARY, "ctr", "--state", "/nonexistent", "images", "ls", check=False)
    assert unreachable.returncode == 1 and "cannot reach k3s" in unreachable.stderr
