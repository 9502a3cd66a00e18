"""`k3s server --rootless`: a node of a normal user, who has ids of his own (/etc/subuid) or none but his own, with no cgroups."""

import json
import os
import pwd
import shutil
import signal
import socketserver
import subprocess
import sys
import time

import harness
import harness_images
import pytest
from conftest import BUSYBOX, import_images
from harness import run, wait_until
from test_pod_network import fetch, resolve

WORLD = "192.0.2.10"  # the host's address: what pods see as the world


class RootlessNode(harness.Node):
    """A server of user `user`, in a network namespace that plays the host's."""

    def __init__(self, name, user, with_ids, flags=()):
        super().__init__(name, flags)
        self.user, self.with_ids = user, with_ids
        # Where the user may write.
        self.dir = f"/var/tmp/k3s-{self.name}"
        self.home = os.path.join(self.dir, "home")
        self.runtime = os.path.join(self.dir, "runtime")
        self.data = os.path.join(self.home, ".rancher", "k3s")
        self.kubeconfig = os.path.join(self.home, ".kube", "k3s.yaml")
        self.log = os.path.join(self.dir, "server.log")
        self.services = []

    def create(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        kind = [] if self.with_ids else ["--system"]
        run("useradd", *kind, "--no-create-home", "--home-dir", self.home, "--shell", "/bin/sh", "--user-group", self.user)
        self.netns.create()
        for folder in (self.home, self.runtime, self.data + "/agent/images"):
            os.makedirs(folder)
        import_images(self)
        # Names of the host are answered on its loopback address, as by systemd-resolved.
        with open(self.dir + "/resolv.conf", "w") as f:
            f.write("nameserver 127.0.0.1\n")
        with open(self.dir + "/index.html", "w") as f:
            f.write("the world\n")
        folder = os.path.join(self.data, "etc", "rancher", "k3s")
        os.makedirs(folder)
        with open(folder + "/registries.yaml", "w") as f:
            f.write('mirrors: {"somewhere.example:5000": {endpoint: ["http://somewhere.example:5000"]}}\n')
        self.own()
        self.serve("names", [sys.executable, os.path.abspath(__file__), "names", WORLD])
        self.serve("web", ["busybox", "httpd", "-f", "-p", f"{WORLD}:8000", "-h", self.dir])
        return self

    def own(self):
        run("chown", "-R", f"{self.user}:", self.dir)

    def serve(self, name, command):
        log = open(os.path.join(self.dir, name + ".log"), "w")
        self.services.append(subprocess.Popen(self.netns.command(*command), stdout=log, stderr=log))

    def as_user(self, *command, **variables):
        environment = {
            "HOME": self.home, "XDG_RUNTIME_DIR": self.runtime, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "USER": self.user, **variables,
        }  # fmt: skip
        words = [f"{name}={value}" for name, value in environment.items()]
        inner = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "env", "-i", *words, *command]
        script = f'mount --bind {self.dir}/resolv.conf /etc/resolv.conf && exec "$@"'
        return self.netns.command("unshare", "--mount", "sh", "-c", script, "sh", *inner)

    def command(self):
        return self.as_user(harness.BINARY, "server", "--rootless", "--node-name", self.node_name, *self.flags)

    def curl(self, url, *options):
        return self.netns.run("curl", "-s", "-m", "5", *options, url, check=False).stdout

    def processes(self):
        """All of the user's, by the ids that he has outside."""
        ids = {pwd.getpwnam(self.user).pw_uid} | self.subordinate_ids()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.stat(f"/proc/{entry}").st_uid in ids:
                        with open(f"/proc/{entry}/cmdline") as f:
                            found.append((int(entry), f.read().replace("\0", " ")))
                except OSError:
                    pass
        return found

    def subordinate_ids(self):
        with open("/etc/subuid") as f:
            for line in f:
                name, start, count = line.strip().split(":")
                if name == self.user:
                    return set(range(int(start), int(start) + int(count)))
        return set()

    def destroy(self):
        for service in self.services:
            service.kill()
            service.wait()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid, _ in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.netns.delete()
        run("userdel", self.user, check=False)
        if not os.environ.get("K3S_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def rootless():
    node = RootlessNode("rootless", "k3s-test-a", with_ids=True).create()
    try:
        node.start()
        yield node
    finally:
        node.destroy()


POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: %s
    command: %s
    %s
"""


def pod(name, command, image=BUSYBOX, more=""):
    return POD % (name, name, image, json.dumps(command), more)


def ready(node, name):
    wait_until(
        f"{name} Ready", lambda: node.jsonpath("pod", name, "{.status.conditions[?(@.type=='Ready')].status}") == "True",
        timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shell(rootless):
    rootless.apply(pod("shell", ["sh", "-c", "echo started; id; exec sleep 100000"]))
    ready(rootless, "shell")
    return lambda command: rootless.kubectl("exec", "shell", "--", "sh", "-c", command, check=False)


def test_a_pod_runs_and_is_the_user_outside(rootless, shell):
    assert rootless.kubectl("logs", "shell").stdout.startswith("started\nuid=0(root)")
    uid = pwd.getpwnam("k3s-test-a").pw_uid
    sleeping = [pid for pid, line in rootless.processes() if line.startswith("sleep 100000")]
    assert [os.stat(f"/proc/{pid}").st_uid for pid in sleeping] == [uid]
    assert shell("cat /proc/self/uid_map").stdout.split()[:3] == ["0", str(uid), "1"]
    # Everything that is the user's, but the test's own services.
    assert shell("test -c /dev/null && echo x > /dev/null && head -c 4 /dev/urandom | wc -c").stdout.strip() == "4"
    assert shell("touch /new && stat -c %u /new").stdout == "0\n"


def test_a_pod_of_another_user_has_its_id(rootless):
    rootless.apply(pod("web-user", ["sh", "-c", "id -u; sleep 100000"], more="securityContext: {runAsUser: 1001}"))
    ready(rootless, "web-user")
    assert rootless.kubectl("logs", "web-user").stdout == "1001\n"
    shifted = [pid for pid, line in rootless.processes() if "sleep 100000" in line]
    # The first of the user's ids is the container's 1.
    assert min(rootless.subordinate_ids()) + 1000 in {os.stat(f"/proc/{pid}").st_uid for pid in shifted}


def test_names_and_services_are_there_for_pods(rootless, shell):
    rootless.apply(pod("web", ["httpd", "-f", "-p", "8080", "-h", "/www"], image="docker.io/library/web:test"))
    rootless.apply("""
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, type: NodePort, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
""")
    ready(rootless, "web")
    wait_until("an answer by name", lambda: fetch(rootless.kubectl, "shell", "web", 80) == "hello\n")


def test_a_node_port_is_served_on_the_host(rootless):
    test_names = rootless.jsonpath("service", "web", "{.spec.ports[0].nodePort}")
    assert test_names == "30080"
    wait_until("an answer", lambda: rootless.curl(f"http://{WORLD}:30080/") == "hello\n")
    assert rootless.curl("http://127.0.0.1:30080/") == "hello\n"


def test_a_load_balancers_low_port_is_ten_thousand_higher_on_the_host(rootless):
    rootless.apply("""
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {selector: {app: web}, type: LoadBalancer, ports: [{port: 81, targetPort: 8080}]}
""")
    wait_until("an address", lambda: rootless.jsonpath("service", "balanced", "{.status.loadBalancer.ingress[*].ip}") == "127.0.0.1")
    wait_until("an answer", lambda: rootless.curl("http://127.0.0.1:10081/") == "hello\n")
    rootless.kubectl("delete", "service", "balanced")
    wait_until("the port is closed", lambda: rootless.curl("http://127.0.0.1:10081/", "-w", "%{http_code}") == "000")


def test_a_host_port_is_served_on_the_host(rootless):
    rootless.apply(
        pod("host-port", ["httpd", "-f", "-p", "8080", "-h", "/www"], image="docker.io/library/web:test",
            more="ports: [{containerPort: 8080, hostPort: 8085}]")
    )  # fmt: skip
    ready(rootless, "host-port")
    wait_until("an answer", lambda: rootless.curl(f"http://{WORLD}:8085/") == "hello\n")


def test_datagrams_reach_a_node_port(rootless):
    # The node's name server, which there is no pod of.
    rootless.apply("""
apiVersion: v1
kind: Service
metadata: {name: names}
spec: {type: NodePort, ports: [{port: 53, protocol: UDP, nodePort: 30090}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names, labels: {kubernetes.io/service-name: names}}
addressType: IPv4
ports: [{port: 53, protocol: UDP}]
endpoints: [{addresses: ["10.42.0.1"], conditions: {ready: true}}]
""")
    dig = lambda: rootless.netns.run(
        "dig", "@127.0.0.1", "-p", "30090", "+short", "+tries=1", "+time=1", "kubernetes.default.svc.cluster.local", check=False
    ).stdout  # fmt: skip
    wait_until("an answer", lambda: dig() == "10.43.0.1\n")


def get(address, port, path):
    return f"printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port}"


def test_pods_reach_the_world_by_tcp_and_by_name(rootless, shell):
    assert shell(get(WORLD, 8000, "index.html")).stdout.endswith("the world\n")
    assert resolve(rootless.kubectl, "shell", "somewhere.example") == WORLD
    # What there is no way for is refused, and not waited for.
    start = time.monotonic()
    assert shell(f"nc -w 5 {WORLD} 8001 < /dev/null; nc -w 5 10.41.0.2 8000 < /dev/null").stdout == ""
    assert time.monotonic() - start < 9


def test_large_transfers_arrive_whole(rootless, shell):
    size = 64 << 20
    with open(rootless.dir + "/large", "wb") as f:
        f.write(os.urandom(1 << 20) * (size >> 20))
    wanted = run("md5sum", rootless.dir + "/large").stdout.split()[0]
    # The answer's header comes first; a busybox that has to find the end of it takes minutes.
    header = int(shell(f"{get(WORLD, 8000, 'large')} | wc -c").stdout) - size
    received = shell(f"{get(WORLD, 8000, 'large')} | tail -c +{header + 1} | md5sum").stdout.split()[0]
    assert received == wanted


def test_an_image_is_pulled_from_a_registry_outside(rootless):
    folder = rootless.dir + "/registry"
    os.makedirs(folder)
    with open(folder + "/config.yml", "w") as f:
        f.write(f'version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/store}}}}\nhttp: {{addr: "{WORLD}:5000"}}\n')
    rootless.serve("registry/log", ["docker-registry", "serve", folder + "/config.yml"])
    wait_until("registry", lambda: rootless.curl(f"http://{WORLD}:5000/v2/", "-w", "%{http_code}").endswith("200"))
    layer = harness_images.busybox_layer([("etc/owned", "file", b"", 0o644)])
    # A second layer that deletes: whiteouts and opaque directories are made without privileges.
    top = harness_images._tar([("etc/.wh.group", "file", b"", 0o644), ("www/.wh..wh..opq", "file", b"", 0o644), ("www/new", "file", b"1\n", 0o644)])
    archive = folder + "/app.tar"
    harness_images.docker_archive(archive, "app:v1", [layer, top])
    rootless.netns.run("skopeo", "copy", "--dest-tls-verify=false", "docker-archive:" + archive, f"docker://{WORLD}:5000/team/app:v1")
    rootless.apply(pod("pulled", ["sh", "-c", "ls /www; ls /etc; sleep 100000"], image="somewhere.example:5000/team/app:v1"))
    ready(rootless, "pulled")
    assert rootless.kubectl("logs", "pulled").stdout.split() == ["new", "hostname", "hosts", "owned", "passwd", "resolv.conf"]


def test_what_a_node_has_not_it_says(rootless):
    log = rootless.tail(1000)
    assert "no cgroups are delegated to this user" in log
    rootless.apply(pod("private", ["true"]).replace("spec:", "spec:\n  hostUsers: false", 1))
    wait_until("an event", lambda: "not possible on a rootless node" in rootless.kubectl("get", "events").stdout)
    rootless.kubectl("delete", "pod", "private", "--force")


def test_the_parent_is_small(rootless):
    parent = [pid for pid, line in rootless.processes() if rootless.process.pid == pid]
    assert parent == [rootless.process.pid]
    with open(f"/proc/{rootless.process.pid}/smaps_rollup") as f:
        sizes = {line.split()[0]: int(line.split()[1]) for line in f if line.endswith("kB\n")}
    assert sizes["Private_Dirty:"] < 1024, sizes


def test_a_user_with_one_id_runs_root_only_and_all_of_it_ends_with_the_parent():
    node = RootlessNode("oneid", "k3s-test-b", with_ids=False).create()
    try:
        assert node.subordinate_ids() == set()
        node.start()
        assert "this user has one id only" in node.tail(1000)
        node.apply(pod("shell", ["sh", "-c", "echo started; exec sleep 100000"]))
        ready(node, "shell")
        assert node.kubectl("exec", "shell", "--", "id", "-u").stdout == "0\n"
        node.apply(pod("other", ["id"], more="securityContext: {runAsUser: 1001}"))
        wait_until("an event", lambda: "has no such id" in node.kubectl("get", "events").stdout)
        code = node.stop()
        assert code == 0
        wait_until("no process is left", lambda: not node.processes())
        with open("/proc/mounts") as f:
            assert node.dir not in f.read()
        # Again, with what the first has left behind; killed, it takes everything along as well.
        node.start()
        ready(node, "shell")
        node.process.kill()
        node.process.wait()
        wait_until("no process is left", lambda: not node.processes())
    finally:
        node.destroy()


def test_root_needs_no_rootless(tmp_path):
    done = run(harness.BINARY, "server", "--rootless", "--data-dir", str(tmp_path), check=False)
    assert done.returncode == 1 and "this is root" in done.stderr


@pytest.fixture(scope="module")
def delegated(tmp_path_factory):
    """What came of a server with cgroups of its own: on this machine they may be version 1's."""
    image = str(tmp_path_factory.mktemp("images") / "busybox.tar")
    harness_images.docker_archive(image, BUSYBOX, [harness_images.busybox_layer()])
    done = subprocess.run(
        [os.path.join(harness.ROOT, "hack", "vm.sh"), "-m", "1024", "-t", "250", "-f", harness.BINARY + ":/bin/k3s",
         "-f", image + ":/images/busybox.tar", "-f", os.path.join(os.path.dirname(os.path.abspath(__file__)), "rootless_cgroups.sh:/test.sh"),
         "--", "/bin/busybox", "sh", "/test.sh"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    print(done.stdout, done.stderr)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_delegated_cgroups_limit_pods(delegated):
    assert "/k3s-node/kubepods/" in delegated["limit"] and "/k3s-node/kubepods/" in delegated["quota"]
    assert delegated["limited"] == "OOMKilled"
    assert delegated["warnings"] == "0" and delegated["exit"] == "0"


class Names(socketserver.BaseRequestHandler):
    """Answers every question for an A record with one address."""

    def handle(self):
        query, socket = self.request
        end = query.index(b"\0", 12) + 5
        is_address = query[end - 4 : end - 2] == b"\0\x01"
        answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04" + bytes(map(int, self.server.address.split("."))) if is_address else b""
        header = query[:2] + b"\x81\x80\0\x01" + (b"\0\x01" if is_address else b"\0\0") + b"\0\0\0\0"
        socket.sendto(header + query[12:end] + answer, self.client_address)


if __name__ == "__main__":


    server = socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names)
    server.address = sys.argv[2]
    server.serve_forever()
