"""The cluster's names, as programs in pods and on the host see them."""

import json
import os
import subprocess
import sys

import harness_images
from harness import run, wait_until
from test_workloads import pod

HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  selector: {app: peers}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: peer-a, labels: {app: peers}}
spec:
  hostname: alpha
  subdomain: peers
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "web:test"}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: peers.NAMESPACE.svc.cluster.local}
"""


def import_bash(node):
    """Debian's bash with its libraries: a program that asks the C library for names (the static busybox cannot)."""
    files = ["/bin/bash"] + [w for w in run("ldd", "/bin/bash").stdout.split() if w.startswith("/")]
    extra = []
    for path in files:
        with open(path, "rb") as f:
            extra.append((path.lstrip("/"), "file", f.read(), 0o755))
    layers = [harness_images.busybox_layer(), harness_images._tar(extra)]
    target = os.path.join(node.data, "agent", "images", "bash.tar")
    harness_images.docker_archive(target + ".new", "docker.io/library/bash:test", layers)
    os.rename(target + ".new", target)
    wait_until("the image", lambda: "bash:test" in node.kubectl("get", "node", "node-1", "-o", "yaml").stdout)


def dig(ns, *arguments):
    done = ns.node.netns.run("dig", "@10.43.0.10", "+time=2", "+tries=1", "+short", *arguments, check=False)
    return done.stdout.split()


def test_names_lead_to_services_from_pods_and_from_the_host(ns):
    import_bash(ns.node)
    ns.apply(pod("client", "sleep 600").replace("busybox:test", "bash:test"))
    ns.apply(HEADLESS.replace("NAMESPACE", ns.name))
    ns("expose", "pod", "peer-a", "--name=web", "--port=80", "--target-port=8080")
    ns("wait", "pod/client", "pod/peer-a", "--for=condition=Ready", "--timeout=60s")
    resolver = ns("exec", "client", "--", "cat", "/etc/resolv.conf").stdout
    assert "nameserver 10.43.0.10\n" in resolver
    assert f"search {ns.name}.svc.cluster.local svc.cluster.local cluster.local" in resolver
    assert "options ndots:5" in resolver

    address = ns.jsonpath("service", "web", "{.spec.clusterIP}")
    peer = ns.jsonpath("pod", "peer-a", "{.status.podIP}")
    wait_until("the service's name", lambda: dig(ns, f"web.{ns.name}.svc.cluster.local") == [address])
    wait_until("the pod's name", lambda: dig(ns, f"alpha.peers.{ns.name}.svc.cluster.local") == [peer])
    assert dig(ns, f"peers.{ns.name}.svc.cluster.local") == [peer]
    assert dig(ns, f"elsewhere.{ns.name}.svc.cluster.local")[-1] == peer
    assert dig(ns, "SRV", f"_http._tcp.peers.{ns.name}.svc.cluster.local")[2:] == [
        "8080",
        f"alpha.peers.{ns.name}.svc.cluster.local.",
    ]
    assert dig(ns, "-x", address) == [f"web.{ns.name}.svc.cluster.local."]
    assert dig(ns, "+tcp", "kubernetes.default.svc.cluster.local") == ["10.43.0.1"]
    assert dig(ns, f"{peer.replace('.', '-')}.{ns.name}.pod.cluster.local") == [peer]
    assert dig(ns, "node-1") == ["192.0.2.10"]

    # Programs in a pod: by the full name, by the short one and its search path, and what is not there.
    lookup = ns("exec", "client", "--", "nslookup", f"web.{ns.name}.svc.cluster.local").stdout
    assert address in lookup, lookup
    script = "exec 3<>/dev/tcp/web/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert ns("exec", "client", "--", "bash", "-c", script).stdout.endswith("hello\n")
    missing = ns("exec", "client", "--", "nslookup", f"missing.{ns.name}.svc.cluster.local", check=False)
    assert "NXDOMAIN" in missing.stdout + missing.stderr

    # The objects by which clients find the name server.
    ns.node.kubectl("get", "service", "kube-dns", "-n", "kube-system")
    slice_ = json.loads(
        ns.node.kubectl(
            "get", "endpointslices", "-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns", "-o", "json"
        ).stdout
    )["items"][0]
    assert slice_["endpoints"][0]["addresses"] == ["10.42.0.1"]
    gateway = ns.node.netns.run("dig", "@10.42.0.1", "+short", "kubernetes.default.svc.cluster.local")
    assert gateway.stdout == "10.43.0.1\n"

    # A name that goes is gone.
    ns("delete", "service", "web")
    wait_until("no name", lambda: dig(ns, f"web.{ns.name}.svc.cluster.local") == [])


def test_custom_configuration_counts_and_what_is_not_understood_is_an_event(ns):
    data = {
        "mine.override": "hosts {\n  192.0.2.77 printer.test\n  fallthrough\n}\n"
        "rewrite name api.test kubernetes.default.svc.cluster.local\n",
        "bad.server": "example.test {\n  template IN A\n}\n",
    }
    configmap = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns-custom", "namespace": "kube-system"},
        "data": data,
    }
    ns.node.kubectl("apply", "-f", "-", input=json.dumps(configmap))
    try:
        wait_until("the host's name", lambda: dig(ns, "printer.test") == ["192.0.2.77"])
        assert dig(ns, "api.test") == ["10.43.0.1"]
        wait_until(
            "an event",
            lambda: 'bad.server, line 2: plugin "template" is not supported'
            in ns.node.kubectl("get", "events", "-n", "kube-system", "-o", "jsonpath={.items[*].message}").stdout,
        )
    finally:
        ns.node.kubectl("delete", "configmap", "coredns-custom", "-n", "kube-system")
    wait_until("the name is gone", lambda: dig(ns, "printer.test") == [])


LISTENER = """
import socket, time
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET, kind)
    s.bind(("0.0.0.0", 53))
    if kind == socket.SOCK_STREAM: s.listen()
    globals()[str(kind)] = s
print("up", flush=True)
time.sleep(600)
"""


def test_another_name_server_on_port_53_does_not_matter(own_node):
    """dnsmasq, Pi-hole and named take port 53 of every address; the cluster's names are served all the same."""
    other = subprocess.Popen(
        own_node.netns.command(sys.executable, "-c", LISTENER), stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert other.stdout.readline() == "up\n"
        own_node.start()
        assert "port 53 of 10.43.0.10 is taken by another program" in own_node.tail(200)
        own_node.kubectl("apply", "-f", "-", input=pod("client", "sleep 600"))
        own_node.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
        lookup = lambda: own_node.kubectl(
            "exec", "client", "--", "nslookup", "kubernetes.default.svc.cluster.local", check=False
        ).stdout
        wait_until("the name from a pod", lambda: "10.43.0.1" in lookup().split("Name:")[-1])
        host = own_node.netns.run("dig", "@10.43.0.10", "+short", "kubernetes.default.svc.cluster.local").stdout
        assert host == "10.43.0.1\n"
    finally:
        other.kill()
        other.wait()
