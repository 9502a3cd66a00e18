"""`k3s agent`: machines that join a server, run its pods, and go on without it."""

import json
import os
import signal
import subprocess
import time

import harness
import pytest
from conftest import Cluster
from harness import wait_until

SPREAD = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: spread}
spec:
  selector: {matchLabels: {app: spread}}
  template:
    metadata: {labels: {app: spread}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: busybox:test
        command: [sh, -c, "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"]
"""
WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web-%(node)s, labels: {app: web}}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "web:test"}]
"""


def pod_on(cluster, node):
    pods = json.loads(cluster.server.kubectl("get", "pods", "-l", "app=spread", "-o", "json").stdout)["items"]
    return next(p for p in pods if p["spec"].get("nodeName") == node)


def logged(cluster, pod):
    """Numbers of the lines so far; the log has no gap."""
    lines = cluster.server.kubectl("logs", pod).stdout.split("\n")[:-1]
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(1, len(numbers) + 1)), "the log has a gap"
    return len(numbers)


@pytest.fixture(scope="module")
def joined(cluster):
    """Server and one agent with a pod each."""
    cluster.agent(2)
    cluster.server.apply(SPREAD)
    cluster.server.kubectl("rollout", "status", "daemonset/spread", "--timeout=60s")
    return cluster


def test_an_agent_is_a_node_like_others(joined):
    server, agent = joined.server, joined.agent(2)
    node = json.loads(server.kubectl("get", "node", "node-2", "-o", "json").stdout)
    addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
    assert addresses == {"InternalIP": "192.0.2.12", "Hostname": "node-2"}
    assert "node-role.kubernetes.io/control-plane" not in node["metadata"]["labels"]
    assert node["spec"]["podCIDR"] == "10.42.1.0/24"
    files = os.path.join(agent.data, "agent")
    for name in (
        "client-ca.crt", "server-ca.crt", "serving-kubelet.crt", "serving-kubelet.key", "client-kubelet.crt", "client-kubelet.key",
        "client-kube-proxy.crt", "client-kube-proxy.key", "client-k3s-controller.crt", "client-k3s-controller.key",
        "kubelet.kubeconfig", "kubeproxy.kubeconfig", "k3scontroller.kubeconfig",
    ):  # fmt: skip
        assert os.stat(os.path.join(files, name)).st_mode & 0o777 == 0o600, name
    # What the files say is enough for any client, through the agent's load balancer.
    done = agent.netns.run(server.kubectl_binary, "--kubeconfig", files + "/kubelet.kubeconfig", "get", "node", "node-2", "-o", "name")
    assert done.stdout == "node/node-2\n"
    chain = agent.netns.run("openssl", "x509", "-in", files + "/serving-kubelet.crt", "-noout", "-ext", "subjectAltName").stdout
    assert "192.0.2.12" in chain and "DNS:node-2" in chain


def test_kubectl_reaches_its_pods(joined):
    server = joined.server
    pod = pod_on(joined, "node-2")["metadata"]["name"]
    follower = subprocess.Popen(
        server.kubectl_command("logs", "-f", pod, "--tail=0"), env=server.environment(), stdout=subprocess.PIPE, text=True
    )
    lines = [follower.stdout.readline() for _ in range(5)]
    follower.kill()
    follower.wait()
    assert all(line.startswith("line ") for line in lines)
    assert server.kubectl("exec", pod, "--", "sh", "-c", "echo $HOSTNAME").stdout == pod + "\n"
    big = "x" * 300_000
    assert server.kubectl("exec", "-i", pod, "--", "cat", input=big).stdout == big
    assert server.kubectl("exec", pod, "--", "sh", "-c", "exit 7", check=False).returncode == 7
    source = os.path.join(server.dir, "copied")
    with open(source, "w") as f:
        f.write(big)
    server.kubectl("exec", "-i", pod, "--", "sh", "-c", "cat > /tmp/copied", input=big)
    assert server.kubectl("exec", pod, "--", "wc", "-c", "/tmp/copied").stdout.split()[0] == "300000"
    server.apply(WEB % {"node": "node-2"})
    server.kubectl("wait", "pod/web-node-2", "--for=condition=Ready", "--timeout=60s")
    forward = subprocess.Popen(
        server.kubectl_command("port-forward", "pod/web-node-2", "18080:8080"),
        env=server.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "Forwarding from" in forward.stdout.readline()
        assert server.netns.run("curl", "-s", "-m", "10", "http://127.0.0.1:18080/").stdout == "hello\n"
    finally:
        forward.kill()
        forward.wait()
    stats = json.loads(server.kubectl("get", "--raw", "/api/v1/nodes/node-2/proxy/stats/summary").stdout)
    assert stats["node"]["nodeName"] == "node-2"


def test_a_server_that_cannot_dial_the_agent_has_the_tunnel(joined):
    server, agent = joined.server, joined.agent(2)
    pod = pod_on(joined, "node-2")["metadata"]["name"]
    for rule in (
        "add table inet block",
        "add chain inet block input { type filter hook input priority 0; }",
        "add rule inet block input ip saddr 192.0.2.10 tcp dport 10250 drop",
    ):
        agent.netns.run("nft", *rule.split(" ", 5) if "{" not in rule else [rule])
    try:
        direct = server.netns.run("curl", "-sk", "-m", "1", "https://192.0.2.12:10250/healthz", check=False)
        assert direct.returncode != 0
        assert server.kubectl("logs", pod, "--tail=1").stdout.startswith("line ")
        assert server.kubectl("exec", pod, "--", "echo", "through").stdout == "through\n"
    finally:
        agent.netns.run("nft", "delete table inet block")


def test_nobody_but_the_api_server_uses_the_agents_port(joined):
    server, agent = joined.server, joined.agent(2)
    code = lambda *a: server.netns.run(
        "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", *a, "https://192.0.2.12:10250/pods", check=False
    ).stdout  # fmt: skip
    assert code() == "401"
    files = os.path.join(agent.data, "agent")
    assert code("--cert", files + "/client-kube-proxy.crt", "--key", files + "/client-kube-proxy.key") == "403"
    admin = os.path.join(server.data, "server", "tls", "client-admin")
    assert code("--cert", admin + ".crt", "--key", admin + ".key") == "200"


def test_an_agent_is_restarted_under_its_pods(joined):
    agent = joined.agent(2)
    pod = pod_on(joined, "node-2")
    name, container = pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["containerID"]
    for sig in (signal.SIGKILL, signal.SIGTERM):
        length = logged(joined, name)
        agent.stop(sig)
        # The second time without a token: it has a certificate.
        agent.token = "" if sig == signal.SIGTERM else None
        agent.start()
        wait_until("log goes on", lambda: logged(joined, name) > length + 20)
        pod = pod_on(joined, "node-2")
        assert pod["status"]["containerStatuses"][0]["containerID"] == container
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    agent.token = None


def test_pods_go_on_without_the_server(joined):
    server, agent = joined.server, joined.agent(2)
    pod = pod_on(joined, "node-2")
    name = pod["metadata"]["name"]
    server.apply(WEB % {"node": "node-2"})
    server.kubectl("wait", "pod/web-node-2", "--for=condition=Ready", "--timeout=60s")
    length = logged(joined, name)
    rss = agent.memory()["Rss"]
    server.stop(signal.SIGKILL)
    # What ends is started again by the agent alone.
    first = httpd(agent)
    assert len(first) == 1
    os.kill(first[0], signal.SIGKILL)
    wait_until("httpd runs again", lambda: httpd(agent) not in ([], first), timeout=60)
    started, ticks = time.monotonic(), cpu_ticks(agent)
    time.sleep(15)
    busy = (cpu_ticks(agent) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - started)
    assert busy < 0.1, f"{busy * 100:.1f} % of a core while the server is away"
    assert agent.process.poll() is None
    # An agent that starts while the server is away waits for it; its containers do not notice.
    agent.stop()
    agent.start(wait=False)
    time.sleep(2)
    assert agent.process.poll() is None
    server.start()
    agent.wait_ready(60)
    wait_until("log goes on", lambda: logged(joined, name) > length + 150, timeout=60)
    again = pod_on(joined, "node-2")
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0
    restarts = lambda: server.jsonpath("pod", "web-node-2", "{.status.containerStatuses[0].restartCount}")
    wait_until("the restart is told", lambda: restarts() == "1", timeout=60)
    wait_until("the lease is renewed", lambda: lease(server, "node-2") != "" and fresh(lease(server, "node-2")), timeout=60)
    wait_until("the tunnel is back", lambda: server.kubectl("exec", name, "--", "true").returncode == 0, timeout=60)
    assert agent.memory()["Rss"] < rss + 4096


def httpd(agent):
    found = []
    for pid in agent.pids():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read().startswith(b"httpd\0"):
                    found.append(pid)
        except OSError:
            pass
    return found


def lease(server, node):
    return server.kubectl("-n", "kube-node-lease", "get", "lease", node, "-o", "jsonpath={.spec.renewTime}").stdout


def fresh(stamp):
    import calendar

    return time.time() - calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) < 15


def cpu_ticks(agent):
    with open(f"/proc/{agent.server_pid()}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def says(agent, text, timeout=60):
    wait_until(f"log says {text!r}", lambda: text in agent.tail(200), timeout=timeout)
    assert agent.process.poll() is None, "it must go on trying"


def test_what_is_wrong_is_said_and_tried_again(joined):
    server = joined.server
    full = server.token()
    agent = harness.Agent(server, 7).create()
    try:
        agent.token = "K10" + "0" * 64 + full[full.index("::") :]
        agent.start(wait=False)
        says(agent, "token CA hash does not match the Cluster CA certificate hash")
        agent.stop()
        agent.token = full[: full.rindex(":") + 1] + "wrong"
        agent.start(wait=False)
        says(agent, "/v1-k3s/config: 40")
        says(agent, "token")
        agent.stop()
        # Somebody else's name.
        agent.token = None
        agent.node_name = "node-2"
        agent.start(wait=False)
        says(agent, "Node password rejected")
        says(agent, "--with-node-id")
        agent.stop()
        # A server that is not there, and then is.
        url, server.address = server.address, "192.0.2.99"
        agent.token, agent.node_name = full, "node-7"
        agent.start(wait=False)
        says(agent, "Failed to validate connection to cluster at https://192.0.2.99:6443")
        server.address = url
        server.netns.run("ip", "addr", "add", "192.0.2.99/24", "dev", "node0")
        agent.wait_ready(60)
        server.netns.run("ip", "addr", "del", "192.0.2.99/24", "dev", "node0")
    finally:
        server.address = "192.0.2.10"
        agent.destroy()
        server.kubectl("delete", "node", "node-7", "--ignore-not-found")


def test_a_short_token_and_an_id(joined):
    server = joined.server
    agent = harness.Agent(server, 8, flags=["--with-node-id", "--node-label", "a=b", "--node-taint", "k=v:NoSchedule"]).create()
    try:
        agent.token = server.token().rsplit(":", 1)[1]
        agent.is_ready = lambda: any(n.startswith("node-8-") for n in server.jsonpath("nodes", "{.items[*].metadata.name}").split())
        agent.start()
        assert "does not include a CA hash" in agent.tail(200)
        node = next(n for n in json.loads(server.kubectl("get", "nodes", "-o", "json").stdout)["items"] if n["metadata"]["name"].startswith("node-8-"))
        assert len(node["metadata"]["name"]) == len("node-8-") + 8
        assert node["metadata"]["labels"]["a"] == "b"
        assert {"key": "k", "value": "v", "effect": "NoSchedule"} in node["spec"]["taints"]
        agent.stop()
        server.kubectl("delete", "node", node["metadata"]["name"])
    finally:
        agent.destroy()


def test_a_node_that_was_deleted_joins_again(joined):
    server = joined.server
    agent = joined.agent(3)
    agent.stop()
    server.kubectl("delete", "node", "node-3")
    secrets = lambda: server.kubectl("-n", "kube-system", "get", "secrets", "-o", "name").stdout
    wait_until("its password is forgotten", lambda: "node-3.node-password" not in secrets())
    # Another machine may have the name now.
    os.unlink(os.path.join(agent.dir, "node-password"))
    agent.start()
    assert "node-3.node-password" in secrets()
    server.kubectl("rollout", "status", "daemonset/spread", "--timeout=60s")
    nodes = lambda: sorted(server.jsonpath("pods", "-l", "app=spread", "{.items[*].spec.nodeName}").split())
    wait_until("a pod on each node", lambda: nodes() == ["node-1", "node-2", "node-3"], timeout=60)
    # While it runs, too: the kubelet registers anew.
    server.kubectl("delete", "node", "node-3")
    wait_until("node-3 is there again", agent.is_ready, timeout=60)


def test_input_that_cannot_be(joined):
    agent = harness.Agent(joined.server, 9).create()
    try:
        def refused(*flags):
            done = subprocess.run(
                agent.netns.command(harness.BINARY, "agent", "--data-dir", agent.data, *flags), capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 1, done
            return done.stderr

        assert "--token is required" in refused("--server", joined.server.url)
        assert "--server is required" in refused("--token", "x")
        assert "https://" in refused("--token", "x", "--server", "http://192.0.2.10:6443")
        config = os.path.join(agent.dir, "config.yaml")
        with open(config, "w") as f:
            f.write("cluster-cidr: 10.0.0.0/8\n")
        assert "flag provided but not defined: -cluster-cidr" in refused("--config", config)
    finally:
        agent.destroy()


def test_memory_of_an_agent(joined):
    """What is its own, and with the mapped pages of the program (a debug build's are no measure), shim included."""
    agent = joined.agent(2)
    agent.restart()
    time.sleep(5)
    memory = agent.memory()
    print(memory)
    assert memory["Anonymous"] <= 10 * 1024, memory
    # A binary that was just made lies in large folios, of which every fault maps the whole: 30 MiB, 23 after it has left the
    # page cache. What it is at rest is printed by `make bench`.
    if os.path.getsize(harness.BINARY) < 30e6:
        assert memory["Rss"] <= 32 * 1024, memory
