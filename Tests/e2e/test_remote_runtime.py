"""The kubelet over another container runtime: Debian's containerd, with the pod network of k3s as its CNI plugin."""

import json
import os
import signal
import subprocess


import harness
import harness_images
import pytest
from harness import run, wait_until

CONFIG = """
version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:test"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{data}/data/cni"
    conf_dir = "{data}/agent/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{dir}/runc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: "busybox:test", command: [sh, -c, "echo made > /data/index.html"], volumeMounts: [{name: data, mountPath: /data}], resources: {limits: {memory: 64Mi}}}
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "echo started; exec httpd -f -p 8080 -h /data"]
    ports: [{containerPort: 8080, hostPort: 18080}]
    readinessProbe: {exec: {command: [cat, /data/index.html]}, periodSeconds: 1}
    resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {cpu: 100m}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""

JOB = """
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "busybox:test", command: [sh, -c, "echo reason > /dev/termination-log; exit 3"]}
"""


class Containerd:
    def __init__(self, node):
        self.node = node
        self.dir = os.path.join(node.dir, "containerd")
        self.socket = self.dir + "/containerd.sock"
        os.makedirs(self.dir)
        with open(self.dir + "/config.toml", "w") as f:
            f.write(CONFIG.format(dir=self.dir, data=node.data))
        self.process = None

    def start(self):
        log = open(self.dir + "/log", "ab")
        self.process = subprocess.Popen(
            self.node.netns.command("containerd", "--config", self.dir + "/config.toml"), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        wait_until("containerd", lambda: self.ctr("version").returncode == 0)
        return self

    def ctr(self, *args):
        return run("ctr", "-a", self.socket, "-n", "k8s.io", *args, check=False)

    def load(self):
        layer = harness_images.busybox_layer()
        for name, config in (
            ("localhost/pause:test", {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]}),
            ("docker.io/library/busybox:test", None),
        ):
            archive = os.path.join(self.dir, "image.tar")
            harness_images.docker_archive(archive, name, [layer], config)
            done = self.ctr("images", "import", "--snapshotter", "overlayfs", archive)
            assert done.returncode == 0, done.stderr

    def kill(self):
        self.process.kill()
        self.process.wait()

    def shims(self):
        """By their command lines, which name our socket."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as f:
                        words = f.read().split(b"\0")
                except OSError:
                    continue
                if words[0].endswith(b"containerd-shim-runc-v2") and self.socket.encode() in words:
                    yield int(entry)

    def destroy(self):
        if self.process.poll() is None:
            self.kill()
        for pid in self.shims():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def remote():
    node = harness.Node("cri").create()
    containerd = None
    try:
        containerd = Containerd(node)
        node.flags += ["--container-runtime-endpoint", "unix://" + containerd.socket, "--disable", "traefik"]
        node.start(wait=False)
        # k3s waits for its runtime.
        wait_until("k3s waits", lambda: "container runtime: waiting" in node.tail(1000), timeout=60)
        containerd.start().load()
        wait_until("the node", node.is_ready, timeout=90)
        yield node, containerd
    except Exception:
        print(node.tail(100))
        print(run("tail", "-n", "60", containerd.dir + "/log", check=False).stdout if containerd else "")
        raise
    finally:
        if containerd:
            containerd.destroy()
        node.destroy()


def ready(node, name):
    try:
        node.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s", timeout=100)
    except harness.Failed as error:
        raise harness.Failed(f"{error}\n{node.kubectl('describe', 'pod', name).stdout}\n{node.tail(60)}") from None


def test_a_pod_runs_in_containerd(remote):
    node, containerd = remote
    version = node.jsonpath("node", "node-1", "{.status.nodeInfo.containerRuntimeVersion}")
    assert version.startswith("containerd://1.")
    node.apply(POD)
    ready(node, "web")
    listed = containerd.ctr("containers", "ls", "-q").stdout.split()
    assert len(listed) == 3
    status = json.loads(node.kubectl("get", "pod", "web", "-o", "json").stdout)["status"]
    assert status["podIP"].startswith("10.42.0.") and status["containerStatuses"][0]["restartCount"] == 0
    container = status["containerStatuses"][0]["containerID"].split("://")[1]
    assert container in listed
    # The pod's network is the node's: bridge, service, host port.
    for url in (f"http://{status['podIP']}:8080", "http://192.0.2.10:18080"):
        assert node.netns.run("curl", "-s", "--max-time", "5", url).stdout == "made\n", url
    address = node.jsonpath("service", "web", "{.spec.clusterIP}")
    wait_until(
        "service",
        lambda: node.netns.run("curl", "-s", "--max-time", "5", f"http://{address}", check=False).stdout == "made\n",
    )
    # The container is in the pod's cgroup, with the pod's limits above its own.
    uid = node.jsonpath("pod", "web", "{.metadata.uid}")
    path = f"/sys/fs/cgroup/memory{node.cgroup}/kubepods/burstable/pod{uid}"
    if os.path.exists(path):
        for folder in (path, f"{path}/{container}"):
            with open(folder + "/memory.limit_in_bytes") as f:
                assert int(f.read()) == 64 << 20


def test_commands_and_logs(remote):
    node, _ = remote
    ready(node, "web")
    wait_until("log", lambda: node.kubectl("logs", "web").stdout == "started\n")
    assert node.kubectl("logs", "web", "-c", "first").stdout == ""
    done = node.kubectl("exec", "-i", "web", "--", "sh", "-c", "cat; echo err >&2; exit 7", input="piped", check=False)
    assert (done.returncode, done.stdout, "err" in done.stderr) == (7, "piped", True)
    terminal = node.kubectl("exec", "web", "--", "sh", "-c", "yes | head -c 3000000 | md5sum")
    assert terminal.stdout == run("sh", "-c", "yes | head -c 3000000 | md5sum").stdout
    forward = subprocess.Popen(
        node.kubectl_command("port-forward", "pod/web", "18081:8080"), env=node.environment(), stdout=subprocess.PIPE
    )
    try:
        fetch = lambda: node.netns.run("curl", "-s", "http://127.0.0.1:18081", check=False).stdout == "made\n"
        wait_until("port-forward", fetch)
    finally:
        forward.kill()
        forward.wait()


def test_crictl_is_told_the_runtime(remote):
    node, _ = remote
    ready(node, "web")
    settings = os.path.join(node.data, "agent", "etc", "crictl.yaml")
    command = node.netns.command(harness.BINARY, "crictl", "-c", settings)
    crictl = lambda *args, **kw: run(*command, *args, **kw)
    assert "RuntimeName:  containerd\n" in crictl("version").stdout
    pod = crictl("pods", "-q", "--name", "^web$", "--state", "ready").stdout.strip()
    containers = json.loads(crictl("ps", "-o", "json", "--pod", pod).stdout)["containers"]
    container = containers[0]["id"]
    status = json.loads(crictl("inspect", container).stdout)
    assert status["status"]["state"] == "CONTAINER_RUNNING" and status["info"]["pid"] > 0
    assert crictl("inspect", "-o", "go-template", "--template", "{{.info.runtimeType}}", container).stdout.strip()
    done = crictl("exec", "-i", container, "sh", "-c", "cat; echo err >&2; exit 7", input="piped", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "piped", "err\n")
    assert json.loads(crictl("info").stdout)["status"]["conditions"]
    forward = subprocess.Popen([*command, "port-forward", pod, ":8080"], stdout=subprocess.PIPE, text=True)
    try:
        address = forward.stdout.readline().split()[2]
        assert node.netns.run("curl", "-s", "http://" + address).stdout == "made\n"
    finally:
        forward.kill()
        forward.wait()


def test_statistics(remote):
    node, _ = remote
    ready(node, "web")
    summary = json.loads(node.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary").stdout)
    pod = next(p for p in summary["pods"] if p["podRef"]["name"] == "web")
    assert pod["containers"][0]["memory"]["workingSetBytes"] > 0 and pod["network"]["rxBytes"] > 0
    assert pod["containers"][0]["logs"]["usedBytes"] > 0


def test_a_container_that_ends_starts_again(remote):
    node, _ = remote
    node.apply(JOB)
    last = "{.status.containerStatuses[0].lastState.terminated}"
    state = wait_until("restart", lambda: node.jsonpath("pod", "crash", last), timeout=60)
    assert json.loads(state)["exitCode"] == 3 and json.loads(state)["message"] == "reason\n"
    node.kubectl("delete", "pod", "crash", timeout=60)


def test_restarts_on_both_sides(remote):
    node, containerd = remote
    ready(node, "web")
    before = node.jsonpath("pod", "web", "{.status.containerStatuses[0].containerID} {.status.podIP}")
    node.restart(signal.SIGKILL)
    ready(node, "web")
    containerd.kill()
    reason = "{.status.conditions[?(@.type=='Ready')].message}"
    wait_until(
        "NotReady", lambda: "container runtime is down" in node.jsonpath("node", "node-1", reason), timeout=90, interval=1
    )
    # What runs goes on meanwhile.
    assert node.netns.run("curl", "-s", "http://192.0.2.10:18080").stdout == "made\n"
    containerd.start()
    wait_until("Ready", node.is_ready, timeout=60)
    after = node.jsonpath("pod", "web", "{.status.containerStatuses[0].containerID} {.status.podIP}")
    assert after == before, run("tail", "-n", "60", containerd.dir + "/log").stdout + node.tail(30)
    assert node.kubectl("exec", "web", "--", "echo", "back").stdout == "back\n"


def test_a_pod_goes_without_a_trace(remote):
    node, containerd = remote
    node.kubectl("delete", "pod", "web", timeout=90)
    try:
        wait_until("containers gone", lambda: containerd.ctr("containers", "ls", "-q").stdout == "")
    except harness.Failed as error:
        raise harness.Failed(f"{error}\n{containerd.ctr('containers', 'ls').stdout}\n{node.tail(40)}") from None
    wait_until("cgroups gone", lambda: not node.pids())
    wait_until("veth gone", lambda: "veth" not in node.netns.run("ip", "-o", "link", "show", "master", "cni0").stdout)
