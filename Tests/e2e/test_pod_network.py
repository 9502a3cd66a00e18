"""The pod network between nodes: tunnels, names, both address families, other people's plugins, restarts, partitions."""

import json
import os
import shutil
import subprocess
import time

import harness
import pytest
from conftest import BUSYBOX, Cluster, import_images
from harness import run, wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: %(name)s}}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: %(image)s
    command: [httpd, -f, -p, "8080", -h, /www]
    %(more)s
"""


def pod(kubectl, name, node, more=""):
    kubectl("apply", "-f", "-", input=POD % {"name": name, "node": node, "image": "docker.io/library/web:test", "more": more})


def ready(kubectl, *names):
    for name in names:
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout=70)


def ips(kubectl, name):
    return kubectl("get", "pod", name, "-o", "jsonpath={.status.podIPs[*].ip}").stdout.split()


def resolve(kubectl, name, host):
    """The address that the pod's resolver gives (a static busybox's wget and nc cannot resolve)."""
    answer = kubectl("exec", name, "--", "nslookup", host, check=False).stdout
    found = [line.split()[1] for line in answer.split("Name:", 1)[-1].splitlines() if line.startswith("Address: ")]
    return found[0] if "Name:" in answer and found else None


def fetch(kubectl, name, address, port=8080):
    if not address or address[-1].isalpha() and ":" not in address:
        address = resolve(kubectl, name, address)
    script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} {port}"
    answer = kubectl("exec", name, "--", "sh", "-c", script, check=False).stdout
    return answer[-6:] if "200 OK" in answer else ""


def reaches(kubectl, name, address, port=8080):
    wait_until(f"{name} reaches {address}", lambda: fetch(kubectl, name, address, port) == "hello\n", timeout=60)


@pytest.fixture(scope="module")
def pair(cluster):
    """A server and an agent with a pod on each."""
    cluster.agent(2)
    kubectl = cluster.server.kubectl
    pod(kubectl, "one", "node-1")
    pod(kubectl, "two", "node-2")
    ready(kubectl, "one", "two")
    return cluster


def test_pods_on_two_nodes_reach_each_other_by_address_and_by_service_name(pair):
    kubectl = pair.server.kubectl
    reaches(kubectl, "one", ips(kubectl, "two")[0])
    reaches(kubectl, "two", ips(kubectl, "one")[0])
    kubectl("expose", "pod", "two", "--port=80", "--target-port=8080")
    kubectl("expose", "pod", "one", "--port=80", "--target-port=8080")
    reaches(kubectl, "one", "two.default.svc.cluster.local", 80)
    reaches(kubectl, "two", "one.default.svc.cluster.local", 80)
    # The node as well.
    curl = lambda: pair.server.netns.run("curl", "-s", "-m", "2", f"http://{ips(kubectl, 'two')[0]}:8080/", check=False).stdout
    wait_until("the server's node reaches the agent's pod", lambda: curl() == "hello\n")


def test_node_ports_and_host_ports_of_both_nodes_lead_to_the_pod(pair):
    """From a machine outside, over the node that the pod is not on as well; with policy Local over its own node alone."""
    kubectl = pair.server.kubectl
    kubectl("expose", "pod", "two", "--name=outer", "--type=NodePort", "--port=80", "--target-port=8080")
    port = pair.server.jsonpath("service", "outer", "{.spec.ports[0].nodePort}")
    from_outside = lambda address, number: pair.switch.netns.run(
        "curl", "-s", "-m", "2", f"http://{address}:{number}/", check=False
    ).stdout  # fmt: skip
    for address in ("192.0.2.10", "192.0.2.12"):
        wait_until(f"an answer over {address}", lambda: from_outside(address, port) == "hello\n")
    kubectl("patch", "service", "outer", "-p", '{"spec": {"externalTrafficPolicy": "Local"}}')
    wait_until("no answer over the other node", lambda: from_outside("192.0.2.10", port) == "")
    wait_until("an answer over the pod's node", lambda: from_outside("192.0.2.12", port) == "hello\n")
    # A cluster address without a ready endpoint refuses at once, on every node.
    kubectl("create", "service", "clusterip", "nobody", "--tcp=80:80")
    address = pair.server.jsonpath("service", "nobody", "{.spec.clusterIP}")
    for machine in (pair.server, pair.agents[2]):
        # 7: no connection; 28 would be silence.
        code = lambda: machine.netns.run("curl", "-s", "-m", "5", f"http://{address}/", check=False).returncode
        wait_until("a refusal", lambda: code() == 7)
    kubectl("delete", "service", "outer", "nobody")
    ports = 'ports: [{containerPort: 8080, hostPort: 8092}]'
    pod(kubectl, "hosted", "node-2", ports)
    ready(kubectl, "hosted")
    wait_until("an answer on the host port", lambda: from_outside("192.0.2.12", 8092) == "hello\n")
    assert from_outside("192.0.2.10", 8092) == ""
    kubectl("delete", "pod", "hosted")


def in_pod(machine):
    """A command in the network of the only web server among a machine's pods."""
    for pid in machine.pids():
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            if f.read().startswith(b"httpd"):
                return ["nsenter", f"--net=/proc/{pid}/ns/net"]
    raise harness.Failed("no web server runs here")


@pytest.mark.parametrize("transport", [[], ["-u", "-b", "20M"]], ids=["tcp", "udp"])
def test_iperf3_between_pods_of_two_nodes(pair, transport):
    two = ips(pair.server.kubectl, "two")[0]
    server = subprocess.Popen([*in_pod(pair.agents[2]), "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    try:
        client = [*in_pod(pair.server), "iperf3", "-J", "-t", "1", *transport, "-c", two]
        wait_until("iperf3 listens", lambda: "5201" in run(*in_pod(pair.agents[2]), "ss", "-ltn").stdout)
        report = json.loads(run(*client, check=False).stdout)
        assert "error" not in report, report
        end = report["end"]
        received = end["sum"] if transport else end["sum_received"]
        assert received["bytes"] > 1_000_000, end
    finally:
        server.kill()
        server.wait()


DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-one}
spec:
  podSelector: {matchLabels: {app: two}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: one}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: keep-in}
spec:
  podSelector: {matchLabels: {app: three}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: one}}}]}]
"""


def test_policies_hold_between_nodes(pair):
    """The receiver's node judges who comes in, the sender's who goes out; selectors mean pods of all nodes."""
    kubectl = pair.server.kubectl
    pod(kubectl, "three", "node-1")
    pod(kubectl, "four", "node-2")
    ready(kubectl, "three", "four")
    one, two, three, four = (ips(kubectl, name)[0] for name in ("one", "two", "three", "four"))
    reaches(kubectl, "three", two)
    reaches(kubectl, "three", four)
    reaches(kubectl, "four", two)
    kubectl("apply", "-f", "-", input=DENY)
    wait_until("a pod of another node that is not selected is refused", lambda: fetch(kubectl, "three", two) == "")
    wait_until("a pod of the same node too", lambda: fetch(kubectl, "four", two) == "")
    reaches(kubectl, "one", two)
    wait_until("what goes out is judged at home", lambda: fetch(kubectl, "three", four) == "")
    reaches(kubectl, "three", one)
    reaches(kubectl, "four", three)
    kubectl("delete", "networkpolicy", "--all")
    reaches(kubectl, "three", two)
    reaches(kubectl, "three", four)
    kubectl("delete", "pod", "three", "four")


def test_nodes_announce_themselves_as_flannel_does(pair):
    nodes = json.loads(pair.server.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    ranges = set()
    for node, address in zip(sorted(nodes, key=lambda n: n["metadata"]["name"]), ("192.0.2.10", "192.0.2.12")):
        said = node["metadata"]["annotations"]
        assert said["flannel.alpha.coreos.com/backend-type"] == "vxlan"
        assert said["flannel.alpha.coreos.com/public-ip"] == address
        data = json.loads(said["flannel.alpha.coreos.com/backend-data"])
        assert data["VNI"] == 1 and len(data["VtepMAC"]) == 17
        ranges.add(node["spec"]["podCIDR"])
    assert len(ranges) == 2
    link = pair.server.netns.run("ip", "-d", "link", "show", "flannel.1").stdout
    assert "mtu 1450" in link and "vxlan id 1" in link and "dstport 8472" in link and "nolearning" in link
    with open(pair.agent(2).subnet_file) as f:
        values = dict(line.split("=") for line in f.read().splitlines())
    assert values["FLANNEL_NETWORK"] == "10.42.0.0/16" and values["FLANNEL_MTU"] == "1450" and values["FLANNEL_IPMASQ"] == "true"
    assert values["FLANNEL_SUBNET"] == pair.server.jsonpath("node", "node-2", "{.spec.podCIDR}").replace(".0/", ".1/")


def test_routes_follow_nodes_and_come_back_with_them(pair):
    def route(number):
        shown = pair.server.netns.run("ip", "route", "show", "dev", "flannel.1").stdout
        cidr = pair.server.jsonpath("node", f"node-{number}", "{.spec.podCIDR}")
        return cidr and cidr in shown

    wait_until("a route to node-2", lambda: route(2))
    pair.server.netns.run("ip", "link", "del", "flannel.1")
    wait_until("the tunnel is repaired", lambda: route(2), timeout=60)
    kubectl = pair.server.kubectl
    reaches(kubectl, "one", ips(kubectl, "two")[0])


FAR = """
apiVersion: v1
kind: Node
metadata:
  name: far
  annotations:
    flannel.alpha.coreos.com/kube-subnet-manager: "true"
    flannel.alpha.coreos.com/backend-type: vxlan
    flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"%(mac)s"}'
    flannel.alpha.coreos.com/public-ip: %(address)s
spec: {podCIDR: 10.42.77.0/24, podCIDRs: [10.42.77.0/24], unschedulable: true}
"""


def test_route_neighbour_and_forwarding_entry_follow_node_objects(pair):
    """A node that comes, has another address and MAC after a reinstallation, and goes: every other node follows."""
    kubectl = pair.server.kubectl

    def entries(machine):
        shown = lambda *command: machine.netns.run(*command, "dev", "flannel.1").stdout
        route = [r for r in shown("ip", "route", "show").splitlines() if r.startswith("10.42.77.0/24 via 10.42.77.0")]
        near = [n.split()[2] for n in shown("ip", "neigh", "show").splitlines() if n.startswith("10.42.77.0 lladdr")]
        far = [f.split()[0] + " " + f.split()[2] for f in shown("bridge", "fdb", "show").splitlines() if " 192.0.2.7" in f]
        return len(route), near, far

    def follows(number, near, far):
        for machine in (pair.server, pair.agents[2]):
            wait_until(f"{near} on {machine.netns.name}", lambda: entries(machine) == (number, near, far))

    kubectl("apply", "-f", "-", input=FAR % {"mac": "5a:0b:6e:00:00:01", "address": "192.0.2.77"})
    try:
        follows(1, ["5a:0b:6e:00:00:01"], ["5a:0b:6e:00:00:01 192.0.2.77"])
        kubectl("apply", "-f", "-", input=FAR % {"mac": "5a:0b:6e:00:00:02", "address": "192.0.2.78"})
        follows(1, ["5a:0b:6e:00:00:02"], ["5a:0b:6e:00:00:02 192.0.2.78"])
    finally:
        kubectl("delete", "node", "far")
    follows(0, [], [])


def test_the_network_survives_restarts_and_a_partition(pair):
    kubectl = pair.server.kubectl
    agent = pair.agents[2]
    mac = lambda: agent.netns.run("cat", "/proc/net/arp", check=False) and agent.netns.run("ip", "-o", "link", "show", "flannel.1").stdout.split("link/ether ")[1].split()[0]
    before = mac()
    agent.restart()
    assert mac() == before
    reaches(kubectl, "one", ips(kubectl, "two")[0])
    pair.switch.unplug(agent)
    assert fetch(kubectl, "one", ips(kubectl, "two")[0]) == ""
    time.sleep(3)
    pair.switch.plug(agent)
    reaches(kubectl, "one", ips(kubectl, "two")[0])


@pytest.fixture
def configured():
    """Makes a server alone, with flags; in a namespace with both address families."""
    made = []

    def make(*flags):
        node = harness.Node(f"net{len(made)}", list(flags)).create()
        made.append(node)
        node.netns.run("ip", "addr", "add", "2001:db8::10/64", "dev", "node0", "nodad")
        node.netns.run("ip", "-6", "route", "add", "default", "via", "2001:db8::1", "dev", "node0")
        import_images(node)
        return node

    yield make
    for node in made:
        node.destroy()


def test_dual_stack_pods_and_services(configured):
    node = configured("--cluster-cidr", "10.42.0.0/16,fd00:42::/56", "--service-cidr", "10.43.0.0/16,fd00:43::/112")
    node.start()
    kubectl = node.kubectl
    assert node.jsonpath("node", "node-1", "{.spec.podCIDRs}") == '["10.42.0.0/24","fd00:42::/64"]'
    assert node.jsonpath("node", "node-1", "{.status.addresses[?(@.type=='InternalIP')].address}") == "192.0.2.10 2001:db8::10"
    for name in ("a", "b"):
        # busybox listens on both families.
        pod(kubectl, name, "node-1")
    ready(kubectl, "a", "b")
    four, six = ips(kubectl, "b")
    assert four.startswith("10.42.0.") and six.startswith("fd00:42::")
    reaches(kubectl, "a", four)
    reaches(kubectl, "a", six)
    links = node.netns.run("ip", "-d", "link", "show", "type", "vxlan").stdout
    assert "flannel.1:" in links and "flannel-v6.1:" in links
    assert "mtu 1430" in node.netns.run("ip", "link", "show", "cni0").stdout


def test_ipv6_only_pods(configured):
    node = configured(
        "--cluster-cidr", "fd00:42::/56", "--service-cidr", "fd00:43::/112", "--node-ip", "2001:db8::10",
        "--flannel-ipv6-masq",
    )  # fmt: skip
    node.start()
    kubectl = node.kubectl
    for name in ("a", "b"):
        pod(kubectl, name, "node-1")
    ready(kubectl, "a", "b")
    assert [ip.startswith("fd00:42::") for ip in ips(kubectl, "b")] == [True]
    reaches(kubectl, "a", ips(kubectl, "b")[0])
    assert node.jsonpath("service", "kubernetes", "{.spec.clusterIP}") == "fd00:43::1"
    kubectl("expose", "pod", "b", "--port=80", "--target-port=8080")
    reaches(kubectl, "a", "b.default.svc.cluster.local", 80)
    # The API server, by its service: what every in-cluster client does.
    hello = lambda: kubectl("exec", "a", "--", "sh", "-c", "nc -w 2 fd00:43::1 443 </dev/null && echo open", check=False).stdout
    wait_until("the API server is reached from a pod", lambda: "open" in hello())
    assert "masquerade" in node.netns.run("nft", "list", "table", "ip6", "k3s-pods").stdout


def test_changing_the_backend_removes_the_old_tunnel(configured):
    node = configured()
    node.start()
    assert node.netns.run("ip", "link", "show", "flannel.1", check=False).returncode == 0
    pod(node.kubectl, "a", "node-1")
    ready(node.kubectl, "a")
    node.stop()
    node.flags = ["--flannel-backend=host-gw"]
    node.start()
    wait_until("no tunnel", lambda: node.netns.run("ip", "link", "show", "flannel.1", check=False).returncode != 0)
    said = lambda: node.jsonpath("node", "node-1", "{.metadata.annotations.flannel\\.alpha\\.coreos\\.com/backend-type}")
    wait_until("the announcement", lambda: said() == "host-gw")
    with open(node.subnet_file) as f:
        assert "FLANNEL_MTU=1500\n" in f.read()
    assert node.jsonpath("pod", "a", "{.status.containerStatuses[0].restartCount}") == "0"


CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "k3s-e2e",
    "plugins": [
        {
            "type": "bridge", "bridge": "cnitest0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ],
}  # fmt: skip
CONF = "/etc/cni/net.d/10-k3s-e2e.conflist"


@pytest.mark.skipif(not os.path.exists("/usr/lib/cni/bridge"), reason="needs containernetworking-plugins")
def test_plugins_of_others_when_the_backend_is_none(configured):
    node = configured("--flannel-backend=none")
    os.makedirs(os.path.join(node.data, "data"))
    os.symlink("/usr/lib/cni", os.path.join(node.data, "data", "cni"))
    leases = "/var/lib/cni/networks/k3s-e2e"
    assert not os.path.exists(CONF)
    try:
        node.start(wait=False)
        why = lambda: node.jsonpath("node", "node-1", "{.status.conditions[?(@.type=='Ready')].message}")
        wait_until("why the node is not ready", lambda: "NetworkPluginNotReady" in why(), timeout=60)
        assert "cni plugin not initialized" in why()
        os.makedirs(os.path.dirname(CONF), exist_ok=True)
        with open(CONF, "w") as f:
            json.dump(CONFLIST, f)
        node.wait_ready(60)
        kubectl = node.kubectl
        pod(kubectl, "a", "node-1")
        pod(kubectl, "b", "node-1")
        ready(kubectl, "a", "b")
        address = ips(kubectl, "b")[0]
        assert address.startswith("10.99.0.")
        reaches(kubectl, "a", address)
        assert "cnitest0" in node.netns.run("ip", "link").stdout
        node.restart()
        assert ips(kubectl, "b") == [address]
        kubectl("delete", "pod", "a", "b", "--wait")
        left = lambda: [n for n in os.listdir(leases) if n[0].isdigit()]
        wait_until("the leases are given back", lambda: left() == [])
        wait_until("nothing is left", lambda: os.listdir(os.path.join(node.data, "agent", "cni", "results")) == [])
    finally:
        if os.path.exists(CONF):
            os.remove(CONF)
        shutil.rmtree(leases, ignore_errors=True)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--flannel-backend=ipsec"], '--flannel-backend: "ipsec": expected none, vxlan, host-gw or wireguard-native'),
        (["--cluster-cidr=10.42.0.0/16,10.44.0.0/16"], "at most one of each address family"),
        (["--cluster-cidr=10.42.0.0/16", "--service-cidr=10.42.128.0/17"], "overlaps --service-cidr"),
        (["--cluster-cidr=fd00:42::/56", "--service-cidr=10.43.0.0/16"], "must have the same address families"),
        (["--cluster-cidr=10.42.0.0/28"], "is divided into a /24 for each node"),
        (["--node-ip=192.0.2.10,192.0.2.11"], "--node-ip: 192.0.2.10,192.0.2.11: expected at most one"),
        (["--flannel-conf=/nonexistent.json"], "--flannel-conf:"),
        (["--flannel-external-ip"], "expected --node-external-ip too"),
    ],
)  # fmt: skip
def test_flags_that_cannot_work_are_refused(tmp_path, flags, words):
    done = run(
        harness.BINARY, "server", "--data-dir", str(tmp_path / "data"), "--state-dir", str(tmp_path / "run"),
        "--node-ip=192.0.2.10" if not any("node-ip=" in f for f in flags) else "--debug", *flags, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and words in done.stderr + done.stdout, done.stderr + done.stdout
    assert not (tmp_path / "data").exists()
