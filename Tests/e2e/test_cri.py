"""The CRI socket, asked by a client of another make (grpcio)."""

import base64
import ctypes
import json
import os
import socket
import struct
import threading
import urllib.parse

import cri
import pytest
from harness import run, wait_until

BUSYBOX = "docker.io/library/busybox:test"


@pytest.fixture
def client(node):
    client = cri.Client(os.path.join(node.dir, "run", "containerd", "containerd.sock"))
    yield client
    client.close()


class Pod:
    """A sandbox of the test's own, and containers in it."""

    def __init__(self, node, client, name, **more):
        self.client = client
        self.logs = os.path.join(node.dir, "cri-logs", name)
        self.config = dict(
            metadata=dict(name=name, uid="uid-" + name, namespace="cri", attempt=1), hostname=name,
            log_directory=self.logs, labels={"app": name}, annotations={"note": "ü"},
            linux=dict(security_context=dict(namespace_options=dict(pid=1))), **more,
        )  # fmt: skip
        self.id = client.RunPodSandbox(config=self.config).pod_sandbox_id

    def create(self, name, command, **more):
        config = dict(
            metadata=dict(name=name, attempt=0), image=dict(image=BUSYBOX), command=["sh", "-c", command],
            log_path=name + ".log", labels={"name": name}, **more,
        )  # fmt: skip
        made = self.client.CreateContainer(pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return made.container_id

    def start(self, name, command, **more):
        container = self.create(name, command, **more)
        self.client.StartContainer(container_id=container)
        return container

    def status(self, container):
        return self.client.ContainerStatus(container_id=container).status

    def log(self, name):
        with open(os.path.join(self.logs, name + ".log")) as f:
            return [line.split(" ", 3)[3].rstrip("\n") for line in f]

    def remove(self):
        self.client.StopPodSandbox(pod_sandbox_id=self.id)
        self.client.RemovePodSandbox(pod_sandbox_id=self.id)


@pytest.fixture
def pod(node, client, request):
    pod = Pod(node, client, request.node.name.replace("_", "-")[5:40])
    yield pod
    pod.remove()


def test_version_and_status(node, client):
    version = client.Version(version="v1")
    assert version.runtime_api_version == "v1" and version.runtime_name and version.runtime_version
    status = client.Status(verbose=True)
    assert {c.type: c.status for c in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert status.features.supplemental_groups_policy
    assert json.loads(status.info["config"])["containerdRootDir"].startswith(node.data)
    assert client.RuntimeConfig().linux.cgroup_driver == 1
    client.UpdateRuntimeConfig(runtime_config=dict(network_config=dict(pod_cidr="10.9.0.0/24")))


def test_life_of_a_pod(node, client, pod):
    seen = []
    events = client.GetContainerEvents(deadline=120)
    following = threading.Thread(target=lambda: cri.code(lambda: [seen.append(e) for e in events]))
    following.start()
    sandbox = client.PodSandboxStatus(pod_sandbox_id=pod.id, verbose=True)
    assert sandbox.status.state == 0 and sandbox.status.network.ip.startswith("10.42.")
    assert sandbox.status.annotations == {"note": "ü"} and json.loads(sandbox.info["info"])["networkNamespace"]
    # An event before the stream is open is nobody's.
    wait_until("the stream is open", lambda: pod.start(f"probe-{len(os.listdir(pod.logs))}", "exit 0") and seen)

    container = pod.create("main", 'echo "hello $WHO"; trap "exit 7" TERM; sleep 1000 & wait',
                           envs=[dict(key="WHO", value="world")])  # fmt: skip
    assert pod.status(container).state == 0
    client.StartContainer(container_id=container)
    status = pod.status(container)
    assert status.state == 1 and status.started_at > status.created_at > 0
    assert status.image.image == BUSYBOX and status.image_id.startswith("sha256:")
    wait_until("the log", lambda: pod.log("main") == ["hello world"])
    done = client.ExecSync(container_id=container, cmd=["sh", "-c", "hostname; echo no >&2; exit 3"])
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"life-of-a-pod\n", b"no\n")
    assert cri.code(lambda: client.ExecSync(container_id=container, cmd=["sleep", "100"], timeout=1))[0] == "DEADLINE_EXCEEDED"
    large = client.ExecSync(container_id=container, cmd=["head", "-c", "6000000", "/dev/zero"])
    assert len(large.stdout) == 6_000_000

    running = client.ListContainers(filter=dict(state=dict(state=1), pod_sandbox_id=pod.id)).containers
    assert [c.id for c in running] == [container]
    assert [c.id for c in client.ListContainers(filter=dict(label_selector={"name": "main"}, id=container[:12])).containers] == [container]
    streamed = [c.id for part in client.StreamContainers() for c in part.containers]
    assert sorted(streamed) == sorted(c.id for c in client.ListContainers().containers)

    client.UpdateContainerResources(container_id=container, linux=dict(memory_limit_in_bytes=64 << 20))
    assert pod.status(container).resources.linux.memory_limit_in_bytes == 64 << 20
    stats = client.ContainerStats(container_id=container).stats
    assert stats.memory.working_set_bytes.value > 0 and stats.memory.available_bytes.value < 64 << 20
    assert client.ContainerStats(container_id=container).stats.cpu.HasField("usage_nano_cores")
    whole = client.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux
    assert whole.network.default_interface.name == "eth0" and whole.process.process_count.value >= 1
    described = {d.name: list(d.label_keys) for d in client.ListMetricDescriptors().descriptors}
    metrics = next(p for p in client.ListPodSandboxMetrics().pod_metrics if p.pod_sandbox_id == pod.id)
    for metric in metrics.container_metrics[0].metrics:
        assert len(described[metric.name]) == len(metric.label_values)

    client.StopContainer(container_id=container, timeout=20)
    status = pod.status(container)
    assert (status.state, status.exit_code, status.reason) == (2, 7, "Error") and status.finished_at
    client.RemoveContainer(container_id=container)
    client.RemoveContainer(container_id=container)
    client.StopPodSandbox(pod_sandbox_id=pod.id)
    assert client.PodSandboxStatus(pod_sandbox_id=pod.id).status.state == 1
    mine = lambda: [e.container_event_type for e in seen if e.container_id == container]  # noqa: E731
    wait_until("the events", lambda: mine() == [0, 1, 2, 3])
    events.cancel()
    following.join()


def test_errors_have_containerds_codes(client, pod):
    assert cri.code(lambda: client.PodSandboxStatus(pod_sandbox_id="nothing")) == (
        "NOT_FOUND", 'an error occurred when try to find sandbox "nothing": not found')  # fmt: skip
    assert cri.code(lambda: client.ContainerStatus(container_id="nothing"))[0] == "NOT_FOUND"
    assert cri.code(lambda: client.StartContainer(container_id="nothing"))[0] == "NOT_FOUND"
    for gone in (client.StopContainer, client.RemoveContainer):
        gone(container_id="nothing")
    client.RemovePodSandbox(pod_sandbox_id="nothing")
    code, text = cri.code(lambda: client.RunPodSandbox(config=pod.config))
    assert code == "UNKNOWN" and "is reserved for" in text and pod.id in text
    assert "no runtime for" in cri.code(lambda: client.RunPodSandbox(config=pod.config, runtime_handler="gvisor"))[1]
    made = dict(metadata=dict(name="x"), image=dict(image="nowhere/none:1"))
    assert cri.code(lambda: client.CreateContainer(pod_sandbox_id=pod.id, config=made))[0] == "NOT_FOUND"
    container = pod.start("short", "exit 4")
    wait_until("its end", lambda: pod.status(container).exit_code == 4)
    for call, fields in ((client.Exec, dict(cmd=["true"])), (client.Attach, {}), (client.ExecSync, dict(cmd=["true"]))):
        assert "CONTAINER_EXITED" in cri.code(lambda: call(container_id=container, **fields))[1]
    assert "CONTAINER_EXITED" in cri.code(lambda: client.StartContainer(container_id=container))[1]
    code, text = cri.code(lambda: pod.create("bad", "true", linux=dict(security_context=dict(run_as_username="ghost"))))
    assert "ghost" in text and code == "UNKNOWN"
    assert cri.code(lambda: client.CheckpointContainer(container_id=container))[0] == "UNIMPLEMENTED"


def test_images(client):
    listed = client.ListImages().images
    image = next(i for i in listed if BUSYBOX in i.repo_tags)
    assert image.size > 0 and image.id.startswith("sha256:") and image.pinned
    status = client.ImageStatus(image=dict(image="busybox:test"), verbose=True)
    assert status.image.id == image.id and "Cmd" in json.loads(status.info["info"])["imageSpec"]["config"]
    assert not client.ImageStatus(image=dict(image="nowhere/none:1")).HasField("image")
    client.RemoveImage(image=dict(image="nowhere/none:1"))
    assert cri.code(lambda: client.PullImage(image=dict(image="UPPER case")))[0] == "INVALID_ARGUMENT"
    code, text = cri.code(lambda: client.PullImage(image=dict(image="127.0.0.1:1/none:1"), auth=dict(auth="!")))
    assert (code, text) == ("UNKNOWN", "invalid auth config")
    code, text = cri.code(lambda: client.PullImage(image=dict(image="127.0.0.1:1/none:1")))
    assert code in ("UNAVAILABLE", "UNKNOWN") and "127.0.0.1:1" in text
    usage = client.ImageFsInfo()
    assert usage.image_filesystems[0].used_bytes.value > 0 and usage.image_filesystems[0].fs_id.mountpoint


def test_the_kubelets_pods_are_there(ns, client):
    ns("run", "seen", "--image=busybox:test", "--restart=Never", "--", "sleep", "1000")
    ns("wait", "pod/seen", "--for=condition=Ready", "--timeout=60s")
    found = client.ListPodSandbox(filter=dict(label_selector={"io.kubernetes.pod.namespace": ns.name})).items
    assert [p.metadata.name for p in found] == ["seen"]
    inside = client.ListContainers(filter=dict(pod_sandbox_id=found[0].id)).containers
    assert [c.metadata.name for c in inside] == ["seen"]


def test_security_and_mounts(node, client, pod):
    shared = os.path.join(node.dir, "shared")
    os.makedirs(shared, exist_ok=True)
    container = pod.start(
        "careful", "sleep 1000",
        mounts=[
            dict(container_path="/data", host_path=shared),
            dict(container_path="/web", image=dict(image="web:test"), image_sub_path="www"),
        ],
        stop_signal=10,
        linux=dict(
            resources=dict(memory_limit_in_bytes=32 << 20, cpu_shares=512, oom_score_adj=500),
            security_context=dict(
                run_as_username="web", no_new_privs=True, readonly_rootfs=True,
                capabilities=dict(drop_capabilities=["ALL"]), masked_paths=["/proc/version"], seccomp=dict(profile_type=0),
            ),
        ),
    )  # fmt: skip
    shell = lambda text: client.ExecSync(container_id=container, cmd=["sh", "-c", text]).stdout.decode()  # noqa: E731
    assert shell("id -u; cat /web/index.html; cat /proc/version").split() == ["1001", "hello"]
    assert "CapEff:\t0000000000000000" in shell("cat /proc/self/status")
    assert shell("touch /x 2>&1; cat /proc/1/oom_score_adj").split()[-1] == "500"
    status = pod.status(container)
    assert (status.user.linux.uid, status.user.linux.gid, status.stop_signal) == (1001, 1002, 10)
    assert [m.container_path for m in status.mounts] == ["/data", "/web"]
    # A path that leads out of the image leads to nothing, or stays inside.
    outside = [dict(container_path="/w", image=dict(image="web:test"), image_sub_path="../../no-such")]
    assert cri.code(lambda: pod.create("escape", "true", mounts=outside))[0] == "UNKNOWN"
    mounted = lambda: run("grep", "-c", node.data + ".*cri-images", "/proc/self/mounts", check=False).stdout  # noqa: E731
    assert mounted() == "1\n"
    client.RemoveContainer(container_id=container)
    wait_until("its image is let go", lambda: mounted() == "0\n")


def test_devices_by_name(node, client, pod):
    """CDI: a file of the node's says what a device's name stands for."""
    os.makedirs("/var/run/cdi", exist_ok=True)
    kind = f"k3s-test-{os.getpid()}.example/thing"
    path = f"/var/run/cdi/{kind.replace('/', '-')}.json"
    edits = dict(
        env=["THING=one"], deviceNodes=[dict(path="/dev/thing", hostPath="/dev/full")],
        mounts=[dict(hostPath="/etc/hostname", containerPath="/thing", options=["ro", "bind"])],
    )  # fmt: skip
    with open(path, "w") as f:
        json.dump(dict(cdiVersion="0.6.0", kind=kind, devices=[dict(name="one", containerEdits=edits)]), f)
    try:
        container = pod.start("with", "sleep 1000", CDI_devices=[dict(name=f"{kind}=one")])
        script = "echo $THING; cat /thing; echo x > /dev/thing || echo full"
        out = client.ExecSync(container_id=container, cmd=["sh", "-c", script]).stdout.decode().split()
        with open("/etc/hostname") as f:
            assert out == ["one", f.read().strip(), "full"]
        code, text = cri.code(lambda: pod.create("without", "true", CDI_devices=[dict(name=f"{kind}=two")]))
        assert code == "UNKNOWN" and f"unresolvable CDI devices {kind}=two" in text
    finally:
        os.unlink(path)


def test_the_log_is_opened_again(client, pod):
    container = pod.start("logger", "n=0; while [ $n -lt 1000 ]; do echo $n; n=$((n+1)); usleep 10000; done")
    path = os.path.join(pod.logs, "logger.log")
    wait_until("a line", lambda: pod.log("logger"))
    os.rename(path, path + ".1")
    client.ReopenContainerLog(container_id=container)
    wait_until("a new file", lambda: pod.log("logger"))
    with open(path + ".1") as f:
        first = [line.split(" ", 3)[3].rstrip("\n") for line in f]
    both = first + pod.log("logger")
    assert both == [str(n) for n in range(len(both))]
    client.StopContainer(container_id=container)
    assert cri.code(lambda: client.ReopenContainerLog(container_id=container))[1].endswith("container is not running")


def test_sandboxes_outlive_the_server(own_node):
    own_node.start()
    path = os.path.join(own_node.dir, "run", "containerd", "containerd.sock")
    client = cri.Client(path)
    pod = Pod(own_node, client, "lasting")
    container = pod.start("main", "sleep 1000")
    address = client.PodSandboxStatus(pod_sandbox_id=pod.id).status.network.ip
    client.close()
    own_node.restart()
    client = cri.Client(path)
    wait_until("the socket", lambda: cri.code(client.Version)[0] == "OK")
    sandbox = lambda: client.PodSandboxStatus(pod_sandbox_id=pod.id).status  # noqa: E731
    wait_until("its address", lambda: sandbox().network.ip == address)
    assert sandbox().state == 0
    assert client.ContainerStatus(container_id=container).status.state == 1
    pod.client = client
    pod.remove()
    assert not client.ListPodSandbox(filter=dict(id=pod.id)).items
    client.close()


# Streams


def connect(node, url, protocol):
    """A WebSocket in the node's network, for the loopback is the node's; the client's end is as simple as can be."""
    place = urllib.parse.urlsplit(url)
    libc = ctypes.CDLL(None, use_errno=True)
    made = []

    def inside():
        with open(node.netns.path) as namespace:
            assert libc.setns(namespace.fileno(), 0) == 0
        made.append(socket.create_connection((place.hostname, place.port), timeout=30))

    thread = threading.Thread(target=inside)  # a thread of its own: it does not come back
    thread.start()
    thread.join()
    wire = made[0]
    key = base64.b64encode(os.urandom(16)).decode()
    wire.sendall(
        f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
    )
    reader = wire.makefile("rb")
    status = reader.readline().decode()
    while reader.readline() not in (b"\r\n", b""):
        pass
    return wire, reader, status


def send(wire, payload):
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    wire.sendall(bytes([0x82, 0x80 | len(payload)]) + mask + masked)


def receive(reader, until=None):
    """All messages by channel, to the end, or until channel 0 ends with some bytes."""
    channels = {}
    while not (until and channels.get(0, b"").endswith(until)) and (head := reader.read(2)):
        size = head[1] & 127
        if size == 126:
            size = struct.unpack(">H", reader.read(2))[0]
        payload = reader.read(size)
        if head[0] & 15 == 8:
            break
        if head[0] & 15 in (1, 2) and payload:
            channels[payload[0]] = channels.get(payload[0], b"") + payload[1:]
    return channels


def test_exec_and_attach_stream(node, client, pod):
    container = pod.start("main", "while read line; do echo got $line; done", stdin=True)
    url = client.Exec(container_id=container, cmd=["sh", "-c", "cat; echo err >&2; exit 5"], stdin=True, stdout=True, stderr=True).url
    assert url.startswith("http://127.0.0.1:")
    wire, reader, status = connect(node, url, "v5.channel.k8s.io")
    assert " 101 " in status
    send(wire, b"\x00some input\n")
    send(wire, b"\xff\x00")
    channels = receive(reader)
    assert channels[1] == b"some input\n" and channels[2] == b"err\n"
    assert json.loads(channels[3])["details"]["causes"][0]["message"] == "5"
    # A URL is good for one use.
    assert " 404 " in connect(node, url, "v5.channel.k8s.io")[2]
    assert cri.code(lambda: client.Exec(container_id=container, cmd=["sh"], stdout=True, stderr=True, tty=True)) == (
        "INVALID_ARGUMENT", "tty and stderr cannot both be true")  # fmt: skip
    assert cri.code(lambda: client.Attach(container_id=container))[0] == "INVALID_ARGUMENT"

    wire, reader, status = connect(node, client.Attach(container_id=container, stdin=True, stdout=True).url, "v4.channel.k8s.io")
    assert " 101 " in status
    send(wire, b"\x00attached\n")
    wait_until("the log", lambda: "got attached" in pod.log("main"))
    client.StopContainer(container_id=container)
    assert b"got attached" in receive(reader).get(1, b"")


def test_port_forward_streams(node, client, pod):
    pod.start("web", "mkdir -p /tmp/w; echo forwarded > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w")
    url = client.PortForward(pod_sandbox_id=pod.id, port=[8080]).url
    wire, reader, status = connect(node, url + "?ports=8080", "v4.channel.k8s.io")
    assert " 101 " in status
    send(wire, b"\x00GET / HTTP/1.0\r\n\r\n")
    # Both channels begin with the port's number.
    answer = receive(reader, until=b"\r\n\r\nforwarded\n")[0]
    assert answer[:2] == struct.pack("<H", 8080)
