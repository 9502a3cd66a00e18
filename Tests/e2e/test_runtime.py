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


def crictl_command(node, *args):
    # Streams are on the loopback of the node.
    return node.netns.command(BINARY, "crictl", "--state", os.path.join(node.dir, "run"), *map(str, args))


def crictl(node, *args, check=True, **kw):
    return run(*crictl_command(node, *args), check=check, **kw)


def test_crictl(ns):
    ns.apply(PRIVATE.replace("hostUsers: false", "hostUsers: true"))
    ns("wait", "pod/private", "--for=condition=Ready", "--timeout=60s")
    pods = [line.split() for line in crictl(ns.node, "pods").stdout.splitlines()]
    pod = next(p for p in pods if ns.name in p)
    assert "Ready" in pod and "private" in pod
    listed = [line.split() for line in crictl(ns.node, "ps", "--pod", pod[0]).stdout.splitlines()]
    assert listed[0][:2] == ["CONTAINER", "IMAGE"] and len(listed) == 2
    container = listed[1][0]
    inspected = json.loads(crictl(ns.node, "inspect", container).stdout)
    assert inspected["status"]["state"] == "CONTAINER_RUNNING" and inspected["status"]["id"].startswith(container)
    assert inspected["status"]["createdAt"].startswith("20") and inspected["status"]["finishedAt"] == "0001-01-01T00:00:00Z"
    pid = inspected["info"]["pid"]
    assert os.path.exists(f"/proc/{pid}")
    template = crictl(ns.node, "inspect", "-o", "go-template", "--template", "{{.info.pid}}", container)
    assert template.stdout == f"{pid}\n"
    assert crictl(ns.node, "inspect", "-o", "yaml", container).stdout.startswith("info:\n")
    sandbox = json.loads(crictl(ns.node, "inspectp", pod[0]).stdout)
    assert sandbox["status"]["state"] == "SANDBOX_READY" and sandbox["status"]["metadata"]["namespace"] == ns.name
    assert sandbox["info"]["networkNamespace"]
    listed = json.loads(crictl(ns.node, "ps", "-o", "json", "--pod", pod[0]).stdout)["containers"]
    assert [c["id"][:13] for c in listed] == [container] and listed[0]["metadata"] == {"name": "main", "attempt": 0}
    items = json.loads(crictl(ns.node, "pods", "-o", "json", "--namespace", ns.name).stdout)["items"]
    assert [p["id"][:13] for p in items] == [pod[0]]
    assert crictl(ns.node, "ps", "-aq", "--name", "^main$", "--namespace", ns.name).stdout.strip() == listed[0]["id"]
    done = crictl(ns.node, "exec", container, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    synchronous = crictl(ns.node, "exec", "-s", container, "sh", "-c", "echo out; exit 4", check=False)
    assert (synchronous.returncode, synchronous.stdout) == (4, "out\n\n\n")
    piped = subprocess.run(
        crictl_command(ns.node, "exec", "-i", container, "cat"), input=b"through\n" * 1000, capture_output=True, timeout=30)
    assert piped.stdout == b"through\n" * 1000
    assert container in crictl(ns.node, "stats", container).stdout
    assert "busybox" in crictl(ns.node, "images").stdout
    missing = crictl(ns.node, "inspect", "0123456789", check=False)
    assert missing.returncode == 1 and "code = NotFound" in missing.stderr and "level=fatal" in missing.stderr
    # What is stopped here is the kubelet's to start again.
    crictl(ns.node, "stop", container)
    wait_until("restarted", lambda: ns.jsonpath(
        "pod", "private", "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}") == "1true")


def test_crictl_of_the_node(node):
    info = json.loads(crictl(node, "info").stdout)
    conditions = {c["type"]: c["status"] for c in info["status"]["conditions"]}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}
    assert info["config"]["stateDir"].endswith("/containerd") and {"features", "runtimeHandlers"} <= set(info)
    version = dict(line.split(":  ") for line in crictl(node, "version").stdout.splitlines())
    assert version["RuntimeApiVersion"] == "v1" and version["RuntimeName"] == "k3s"
    images = json.loads(crictl(node, "images", "-o", "json").stdout)["images"]
    busybox = next(i for i in images if "docker.io/library/busybox:test" in i["repoTags"])
    assert int(busybox["size"]) > 0
    image = json.loads(crictl(node, "inspecti", "busybox:test").stdout)
    assert image["status"]["id"] == busybox["id"] and "imageSpec" in image["info"]
    assert "no such image" in crictl(node, "inspecti", "nothing:here", check=False).stderr
    disk = json.loads(crictl(node, "imagefsinfo").stdout)["status"]["imageFilesystems"][0]
    assert int(disk["usedBytes"]["value"]) > 0 and disk["fsId"]["mountpoint"].endswith("/images")
    rows = crictl(node, "statsp").stdout.splitlines()
    assert rows[0].split() == ["POD", "POD", "ID", "CPU", "%", "MEM"]
    # Columns are twenty wide at least, as crictl's tables.
    assert crictl(node, "images").stdout.splitlines()[0].index("TAG") >= 20
    endpoint = "unix://" + os.path.join(node.dir, "run", "containerd", "containerd.sock")
    assert "busybox" in run(BINARY, "crictl", "-r", endpoint, "images").stdout
    with open(os.path.join(node.data, "agent", "etc", "crictl.yaml")) as f:
        assert f"runtime-endpoint: {endpoint}\n" in f.read()
    assert "COMMANDS" in crictl(node, "--help").stdout and "--with-pull" in crictl(node, "run", "--help").stdout
    wrong = crictl(node, "nothing", check=False)
    assert wrong.returncode == 1 and "No help topic for 'nothing'" in wrong.stderr


def test_crictl_makes_and_removes(node, tmp_path):
    name = "made" + os.urandom(3).hex()
    (tmp_path / "pod.json").write_text(json.dumps({
        "metadata": {"name": name, "namespace": "crictl", "attempt": 1}, "log_directory": str(tmp_path / "logs"),
        "linux": {"security_context": {"namespace_options": {"pid": 1}}}, "unknown": True}))
    script = "mkdir -p /tmp/w; echo forwarded > /tmp/w/index.html; httpd -p 8080 -h /tmp/w; while read l; do echo got $l; done"
    (tmp_path / "container.yaml").write_text(
        "metadata: {name: web}\nimage: {image: 'docker.io/library/busybox:test'}\nlog_path: web.log\nstdin: true\n"
        f"command: [sh, -c, '{script}']\nlabels: {{made: here}}\n")
    pod = crictl(node, "runp", tmp_path / "pod.json").stdout.strip()
    try:
        container = crictl(node, "create", pod, tmp_path / "container.yaml", tmp_path / "pod.json").stdout.strip()
        assert json.loads(crictl(node, "inspect", container).stdout)["status"]["state"] == "CONTAINER_CREATED"
        assert crictl(node, "start", container).stdout == container + "\n"
        assert crictl(node, "ps", "-q", "--label", "made=here", "--state", "running").stdout == container + "\n"

        attached = subprocess.Popen(
            crictl_command(node, "attach", "-i", container), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        attached.stdin.write(b"attached\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == b"got attached\n"
        attached.kill()
        attached.wait()
        wait_until("the log", lambda: "got attached" in crictl(node, "logs", "--tail=1", container).stdout)
        stamped = crictl(node, "logs", "-t", "--since", "10m", container).stdout.splitlines()
        assert stamped[-1].startswith("20") and stamped[-1].endswith(" got attached")
        assert crictl(node, "logs", "--limit-bytes", "3", container).stdout == "got"

        forward = subprocess.Popen(
            crictl_command(node, "port-forward", pod, ":8080", ":8081"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        try:
            lines = [forward.stdout.readline() for _ in range(4)]
            port, other = (next(line.split()[2].split(":")[1] for line in lines if "127.0.0.1" in line and line.endswith(f"-> {to}\n")) for to in (8080, 8081))
            for _ in range(3):
                assert run(*node.netns.command("curl", "-sS", f"http://127.0.0.1:{port}/")).stdout == "forwarded\n"
            assert forward.stdout.readline() == f"Handling connection for {port}\n"
            assert run(*node.netns.command("curl", "-sS", f"http://127.0.0.1:{other}/"), check=False).returncode != 0
            assert "an error occurred forwarding" in forward.stderr.readline()
        finally:
            forward.terminate()
            forward.wait()

        assert crictl(node, "update", "--memory", str(64 << 20), container).stdout == container + "\n"
        resources = json.loads(crictl(node, "inspect", container).stdout)["status"]["resources"]["linux"]
        assert resources["memoryLimitInBytes"] == str(64 << 20)
        assert "please stop it first" in crictl(node, "rm", container, check=False).stderr
        assert crictl(node, "stop", container).stdout == container + "\n"
        assert json.loads(crictl(node, "inspect", container).stdout)["status"]["state"] == "CONTAINER_EXITED"
        assert crictl(node, "rm", container).stdout == container + "\n"
        assert not (tmp_path / "logs" / "web.log").exists()
        assert "please stop it first" in crictl(node, "rmp", pod, check=False).stderr
    finally:
        assert f"Stopped sandbox {pod}" in crictl(node, "stopp", pod).stdout
        assert f"Removed sandbox {pod}" in crictl(node, "rmp", pod).stdout
    assert crictl(node, "inspectp", pod, check=False).returncode == 1

    started = crictl(node, "run", "--no-pull", tmp_path / "container.yaml", tmp_path / "pod.json").stdout.strip()
    pod = json.loads(crictl(node, "ps", "-o", "json", "--id", started).stdout)["containers"][0]["podSandboxId"]
    assert crictl(node, "rmp", "-f", pod).stdout.splitlines()[-1] == f"Removed sandbox {pod}"


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
