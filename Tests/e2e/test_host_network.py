"""What pods have of the node's own network, and what is left of a pod's network when the server dies."""

import os
import signal
import subprocess

from harness import wait_until
from test_workloads import pod

WEB = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: web:test
    ports: [%(ports)s]
"""
HOST = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  hostNetwork: true
  dnsPolicy: %(policy)s
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", command: [sleep, "600"]}]
"""


def curl(node, url):
    return node.netns.run("curl", "-s", "-m", "3", url, check=False).stdout


def test_host_ports_are_of_an_address_and_a_protocol(ns):
    tcp = "{containerPort: 8080, hostPort: 8091, hostIP: 192.0.2.10}"
    udp = "{containerPort: 8080, hostPort: 8091, hostIP: 192.0.2.10, protocol: UDP}"
    ns.apply(WEB % {"name": "tcp", "ports": tcp})
    ns.apply(WEB % {"name": "udp", "ports": udp})
    ns("wait", "pod/tcp", "pod/udp", "--for=condition=Ready", "--timeout=60s")
    wait_until("an answer on the host's port", lambda: curl(ns.node, "http://192.0.2.10:8091/") == "hello\n")
    assert curl(ns.node, "http://10.42.0.1:8091/") == "", "another address of the node"
    # Every address is the named one as well: no room for a second pod.
    ns.apply(WEB % {"name": "late", "ports": "{containerPort: 8080, hostPort: 8091}"})
    why = lambda: ns.jsonpath("pod", "late", "{.status.conditions[?(@.type=='PodScheduled')].message}")
    wait_until("why it waits", lambda: "didn't have free ports for the requested pod ports" in why())
    ns("delete", "pod", "tcp", "--wait")
    ready = lambda: ns.jsonpath("pod", "late", "{.status.conditions[?(@.type=='Ready')].status}") == "True"
    wait_until("the late pod is ready", ready, timeout=60)
    wait_until("the port is the other's", lambda: curl(ns.node, "http://10.42.0.1:8091/") == "hello\n")


def test_names_for_pods_in_the_hosts_network(ns):
    for name, policy in (("plain", "ClusterFirst"), ("cluster", "ClusterFirstWithHostNet"), ("default", "Default")):
        ns.apply(HOST % {"name": name, "policy": policy})
    ns("wait", "pod/plain", "pod/cluster", "pod/default", "--for=condition=Ready", "--timeout=60s")
    resolver = lambda name: ns("exec", name, "--", "cat", "/etc/resolv.conf").stdout
    assert "nameserver 10.43.0.10\n" in resolver("cluster")
    assert f"search {ns.name}.svc.cluster.local svc.cluster.local cluster.local" in resolver("cluster")
    # As upstream: in the host's network ClusterFirst means the host's own servers.
    assert "10.43.0.10" not in resolver("plain") and resolver("plain") == resolver("default")
    found = ns("exec", "cluster", "--", "nslookup", "kubernetes.default.svc.cluster.local").stdout
    assert "10.43.0.1\n" in found
    assert ns.jsonpath("pod", "plain", "{.status.podIP}") == "192.0.2.10"


def test_what_a_killed_server_left_is_removed(own_node):
    """Pods that are made and deleted while the server is killed, and what only a process killed between two steps leaves."""
    node = own_node.start()
    names = [f"p{n}" for n in range(6)]
    for n, name in enumerate(names):
        port = "{containerPort: 8080, hostPort: %d}" % (8100 + n)
        node.kubectl("apply", "-f", "-", input=WEB % {"name": name, "ports": port})
    node.kubectl("wait", "pod/p0", "pod/p1", "pod/p2", "--for=condition=Ready", "--timeout=60s")
    kept = node.jsonpath("pod", "p0", "{.status.podIP}")
    node.kubectl("delete", "pod", *names[1:], "--wait=false")
    node.stop(signal.SIGKILL)
    inside = node.netns.run
    inside("ip", "link", "add", "veth0badcafe", "type", "veth", "peer", "name", "leak0")
    inside("ip", "link", "set", "veth0badcafe", "master", "cni0")
    inside("nft", "add element ip k3s-pods hostports { tcp . 8199 : 10.42.0.199 . 80 }")
    inside("nft", "add rule ip k3s-proxy output drop")
    inside("ip", "route", "add", "10.42.99.0/24", "via", "10.42.99.0", "dev", "flannel.1", "onlink", "proto", "107")
    node.start()
    for name in names[1:]:
        wait_until(f"{name} is gone", lambda: node.kubectl("get", "pod", name, check=False).returncode != 0, timeout=60)
    ends = lambda: [line.split(":")[1] for line in inside("ip", "-o", "link", "show", "master", "cni0").stdout.splitlines()]
    wait_until("one pod's interface on the bridge", lambda: len(ends()) == 1, timeout=60)
    rules = lambda: inside("nft", "list", "ruleset").stdout
    ports = lambda: [n for n in range(8100, 8200) if f"tcp . {n} :" in rules()]
    wait_until("one pod's port", lambda: ports() == [8100], timeout=60)
    assert "drop" not in inside("nft", "list", "chain", "ip", "k3s-proxy", "output").stdout
    wait_until("no foreign route", lambda: "10.42.99.0" not in inside("ip", "route").stdout, timeout=60)
    wait_until("the pod that stays", lambda: curl(node, "http://192.0.2.10:8100/") == "hello\n")
    assert node.jsonpath("pod", "p0", "{.status.podIP}") == kept
    # Addresses are given back: a new pod has none that is in use.
    node.kubectl("apply", "-f", "-", input=pod("next", "sleep 600"))
    node.kubectl("wait", "pod/next", "--for=condition=Ready", "--timeout=60s")
    assert node.jsonpath("pod", "next", "{.status.podIP}") != kept


def test_one_brings_ones_own_name_server(own_node):
    own_node.flags = ["--disable=coredns"]
    own_node.start()
    found = own_node.kubectl("get", "service", "kube-dns", "-n", "kube-system", check=False)
    assert "NotFound" in found.stderr
    dig = own_node.netns.run("dig", "@10.43.0.10", "+time=1", "+tries=1", "kubernetes.default.svc.cluster.local", check=False)
    assert dig.returncode != 0
    # Pods ask the address all the same: the other server has it.
    own_node.kubectl("apply", "-f", "-", input=pod("client", "sleep 600"))
    own_node.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    assert "nameserver 10.43.0.10\n" in own_node.kubectl("exec", "client", "--", "cat", "/etc/resolv.conf").stdout


WIREGUARD = subprocess.run(["unshare", "-n", "ip", "link", "add", "w", "type", "wireguard"], capture_output=True).returncode


def test_a_kernel_without_wireguard_is_told(own_node):
    if WIREGUARD == 0 or os.path.exists("/sys/module/wireguard"):
        return
    own_node.flags = ["--flannel-backend=wireguard-native"]
    own_node.start(wait=False)
    wait_until("what is missing", lambda: "CONFIG_WIREGUARD" in own_node.tail(200), timeout=60)
    assert own_node.process.poll() is None, "the API goes on"
