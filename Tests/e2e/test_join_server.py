"""How nodes join, seen with curl and openssl: the server's side alone."""

import hashlib
import json
import os
import re
import subprocess
import time

import harness
import pytest
from conftest import Cluster
from harness import Failed, run, wait_until

URL = "https://192.0.2.10:6443"


@pytest.fixture(scope="module")
def server():
    server = harness.Node("join").create()
    try:
        yield server.start()
    finally:
        server.destroy()


def token(server, name="token"):
    with open(os.path.join(server.data, "server", name)) as file:
        return file.read().strip()


def password(server):
    return token(server).rsplit(":", 1)[1]


def ca_file(server):
    path = os.path.join(server.dir, "ca.pem")
    with open(path, "w") as file:
        file.write(server.netns.run("curl", "-sfk", URL + "/cacerts").stdout)
    return path


def curl(server, path, *args, code=200, user="node", secret=None):
    """The body of an answer with the expected code."""
    body = os.path.join(server.dir, "body")
    credential = ["-u", f"{user}:{secret or password(server)}"] if user else []
    done = server.netns.run(
        "curl", "-s", "--cacert", ca_file(server), "-o", body, "-w", "%{http_code}", *credential, *args, URL + path
    )
    text = open(body, "rb").read().decode(errors="replace") if os.path.exists(body) else ""
    if done.stdout != str(code):
        raise Failed(f"{path}: {done.stdout} instead of {code}: {text}")
    return text


def sign(server, path, node=None, node_password="pw", code=200, ip=None, **kw):
    key, csr = (os.path.join(server.dir, name) for name in ("csr.key", "csr.der"))
    if not os.path.exists(csr):
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
            "-keyout", key, "-outform", "DER", "-out", csr)  # fmt: skip
    headers = ["-H", "Content-Type:", "--data-binary", "@" + csr]
    if node:
        headers += ["-H", f"k3s-Node-Name: {node}", "-H", f"k3s-Node-Password: {node_password}"]
    if ip:
        headers += ["-H", f"k3s-Node-IP: {ip}"]
    return curl(server, path, *headers, code=code, **kw)


def describe(server, pem):
    return run("openssl", "x509", "-noout", "-subject", "-issuer", "-ext", "subjectAltName,extendedKeyUsage", input=pem).stdout


def k3s(server, *args, check=True):
    return server.netns.run(harness.BINARY, *args, check=check, env={**os.environ, "KUBECONFIG": server.kubeconfig})


def test_the_ca_is_what_the_token_says(server):
    ca = server.netns.run("curl", "-sfk", URL + "/cacerts").stdout
    assert token(server).startswith("K10" + hashlib.sha256(ca.encode()).hexdigest() + "::server:")
    assert token(server, "node-token") == token(server, "agent-token") == token(server)
    assert os.stat(os.path.join(server.data, "server", "token")).st_mode & 0o777 == 0o600
    assert curl(server, "/ping", user=None) == "pong"


def test_the_log_says_how_to_join_but_not_the_token(server):
    log = open(server.log).read()
    assert re.search(r"To join agent node to cluster: k3s agent -s https://\S+:6443 -t \$\{AGENT_NODE_TOKEN\}", log)
    assert "server/agent-token" in log and password(server) not in log


def test_config_in_the_originals_form(server):
    config = json.loads(curl(server, "/v1-k3s/config"))
    assert config["ClusterIPRange"]["IP"] == "10.42.0.0" and config["ClusterIPRange"]["Mask"] == "//8AAA=="
    assert config["ClusterDNS"] == "10.43.0.10" and config["ClusterDomain"] == "cluster.local"
    assert len(config["IPSECPSK"]) == 96
    assert json.loads(curl(server, "/v1-k3s/apiservers")) == ["192.0.2.10:6443"]
    assert wait_until("ready", lambda: curl(server, "/v1-k3s/readyz")) == "ok"


def test_certificates_for_a_node(server):
    serving = describe(server, sign(server, "/v1-k3s/serving-kubelet.crt", "joiner-1", ip="192.0.2.11"))
    assert "CN = joiner-1" in serving and "k3s-server-ca" in serving
    assert "IP Address:192.0.2.11" in serving and "DNS:joiner-1" in serving and "TLS Web Server" in serving
    client = describe(server, sign(server, "/v1-k3s/client-kubelet.crt", "joiner-1"))
    assert "O = system:nodes, CN = system:node:joiner-1" in client and "k3s-client-ca" in client
    assert "CN = system:kube-proxy" in describe(server, sign(server, "/v1-k3s/client-kube-proxy.crt"))
    assert "CN = system:k3s-controller" in describe(server, sign(server, "/v1-k3s/client-k3s-controller.crt"))


def test_what_a_nodes_certificate_may_do(server):
    chain = sign(server, "/v1-k3s/client-kubelet.crt", "joiner-2")
    path = os.path.join(server.dir, "joiner-2.pem")
    with open(path, "w") as file:
        file.write(chain)
    own = ["--cert", path, "--key", os.path.join(server.dir, "csr.key")]

    def api(target, *args, code):
        return curl(server, target, *own, *args, user=None, code=code)

    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "joiner-2"}}
    data = ["-H", "Content-Type: application/json", "--data", json.dumps(node)]
    api("/api/v1/nodes", *data, code=201)
    assert json.loads(api("/api/v1/nodes/joiner-2", code=200))["metadata"]["name"] == "joiner-2"
    api("/api/v1/nodes/node-1", code=403)
    api("/api/v1/secrets", code=403)
    api("/api/v1/namespaces/kube-system/secrets/joiner-2.node-password.k3s", code=403)
    api("/api/v1/pods?fieldSelector=spec.nodeName%3Djoiner-2", code=200)
    api("/api/v1/pods", code=403)
    api("/v1-k3s/config", code=200)
    server.kubectl("delete", "node", "joiner-2")
    # With the node goes its password: another machine may take the name.
    wait_until(
        "name is free", lambda: sign(server, "/v1-k3s/client-kubelet.crt", "joiner-2", "another") or True)  # fmt: skip


def test_wrong_credentials_are_refused(server):
    for args in ({"secret": "wrong", "code": 401}, {"user": None, "code": 403}, {"user": "server", "code": 403}):
        status = json.loads(curl(server, "/v1-k3s/config", **args))
        assert status["kind"] == "Status" and status["message"]
    curl(server, "/v1-k3s/client-kubelet.crt", code=405)
    curl(server, "/v1-k3s/client-kubelet.crt", "--data", "nonsense", code=400)


def test_a_name_is_its_first_nodes(server):
    sign(server, "/v1-k3s/client-kubelet.crt", "joiner-3", "one")
    sign(server, "/v1-k3s/serving-kubelet.crt", "joiner-3", "one")
    text = sign(server, "/v1-k3s/client-kubelet.crt", "joiner-3", "two", code=403)
    assert "hash does not match" in text
    secret = json.loads(
        server.kubectl("-n", "kube-system", "get", "secret", "joiner-3.node-password.k3s", "-o", "json").stdout
    )
    assert secret["type"] == "k3s.cattle.io/node-password" and secret["immutable"] is True
    assert "--node-name" in sign(server, "/v1-k3s/client-kubelet.crt", "node-1", code=403)


def test_bootstrap_tokens(server):
    made = k3s(server, "token", "create", "--ttl", "1h", "--description", "e2e").stdout.strip()
    assert re.fullmatch(r"K10[0-9a-f]{64}::[a-z0-9]{6}\.[a-z0-9]{16}", made)
    bare = made.split("::")[1]
    listed = k3s(server, "token", "list").stdout
    assert re.search(
        rf"^{re.escape(bare)} +59m +\S+Z +authentication,signing +e2e +system:bootstrappers:k3s:default-node-token$",
        listed, re.M), listed  # fmt: skip
    bearer = ["-H", f"Authorization: Bearer {bare}"]
    curl(server, "/v1-k3s/config", *bearer, user=None)
    again = k3s(server, "token", "create", bare, check=False)
    assert again.returncode == 1 and "already exists" in again.stderr
    assert k3s(server, "token", "delete", bare).stdout == f'bootstrap token "{bare[:6]}" deleted\n'
    curl(server, "/v1-k3s/config", *bearer, user=None, code=401)
    gone = k3s(server, "token", "delete", bare, check=False)
    assert gone.returncode == 1 and "failed to delete bootstrap token" in gone.stderr
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}\n", k3s(server, "token", "generate").stdout)
    short = k3s(server, "token", "create", "--ttl", "1s").stdout.strip().split("::")[1]
    wait_until(
        "expired token is removed",
        lambda: short[:6] not in server.kubectl("-n", "kube-system", "get", "secrets", "-o", "name").stdout)  # fmt: skip


# In the server's network namespace: opens tunnels as agents do, says so, holds them until its input ends.
TUNNELS = """
import base64, os, socket, ssl, sys
count, ca, cert, key = int(sys.argv[1]), *sys.argv[2:]
held = []
for i in range(count):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert % i, key)
    sock = context.wrap_socket(socket.create_connection(("192.0.2.10", 6443)), server_hostname="192.0.2.10")
    sock.sendall(("GET /v1-k3s/connect HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
        "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: %s\\r\\n\\r\\n" % base64.b64encode(os.urandom(16)).decode()).encode())
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    held.append(sock)
print("open", flush=True)
sys.stdin.read()
"""


def test_idle_tunnels_are_small(server):
    count = 100
    certificate = os.path.join(server.dir, "tunnel-%d.pem")
    chain = sign(server, "/v1-k3s/client-kubelet.crt", "tunneled")
    for i in range(count):
        with open(certificate % i, "w") as file:
            file.write(chain if i == 0 else sign(server, "/v1-k3s/client-kubelet.crt", f"tunneled-{i}"))
    before = server.memory()
    program = subprocess.Popen(
        server.netns.command("python3", "-c", TUNNELS, str(count), ca_file(server), certificate,
            os.path.join(server.dir, "csr.key")), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert program.stdout.readline() == "open\n"
        time.sleep(2)
        after = server.memory()
    finally:
        program.stdin.close()
        program.wait(30)
    each = (after["Anonymous"] - before["Anonymous"]) / count
    print(f"idle tunnel: {each:.1f} KiB each")
    assert each < 64
    assert f"Handling backend connection request [tunneled-{count - 1}]" in open(server.log).read()


# The last one: what was the password before is not after.
def test_rotating_the_token(server):
    old = password(server)
    done = k3s(server, "token", "rotate", "--data-dir", server.data, "--new-token", "rotated-by-test")
    assert "Token rotated, restart k3s nodes with new token" in done.stdout
    assert token(server).endswith("::server:rotated-by-test")
    curl(server, "/v1-k3s/config", secret=old, code=401)
    curl(server, "/v1-k3s/config", secret="rotated-by-test")
    wrong = k3s(server, "token", "rotate", "--token", "nonsense", check=False)
    assert wrong.returncode == 1 and "401" in wrong.stderr


# With an agent, whose pods the server can reach through the tunnel only.


@pytest.fixture(scope="module")
def egress():
    cluster = Cluster("egress", ["--egress-selector-mode", "cluster"])
    try:
        cluster.agent(2)
        cluster.server.netns.run(
            "nft", "add table ip test; add chain ip test out { type filter hook output priority 0; }; "
            "add rule ip test out ip daddr 10.42.1.0/24 drop")  # fmt: skip
        cluster.server.apply(WEB)
        cluster.server.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080")
        cluster.server.kubectl("wait", "--for=condition=Ready", "pod/web", "pod/talker", "--timeout=60s")
        yield cluster
    finally:
        cluster.destroy()


WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "web:test"}]
---
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: "busybox:test", stdin: true, command: [sh, -c, "while read l; do echo heard $l; done"]}
"""


def test_pods_and_services_through_the_tunnel(egress):
    server = egress.server
    assert server.jsonpath("node", "node-2", "{.spec.podCIDR}") == "10.42.1.0/24"
    assert server.jsonpath("node", "node-2", "{.metadata.labels.egress\\.k3s\\.io/cluster}") == "true"
    raw = lambda path: server.kubectl("get", "--raw", path).stdout
    assert raw("/api/v1/namespaces/default/pods/web:8080/proxy/index.html") == "hello\n"
    wait_until(
        "service has its endpoint",
        lambda: raw("/api/v1/namespaces/default/services/web/proxy/index.html") == "hello\n")  # fmt: skip
    assert "kubelet_node_name{node=\"node-2\"}" in raw("/api/v1/nodes/node-2/proxy/metrics")


def test_attach_to_a_pod_of_an_agent(egress):
    server = egress.server
    attached = subprocess.Popen(
        server.kubectl_command("attach", "-i", "talker"), env=server.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        attached.stdin.write("something\n")
        attached.stdin.flush()
        line = attached.stdout.readline()
        while line and not line.startswith("heard"):
            line = attached.stdout.readline()
        assert line == "heard something\n"
    finally:
        attached.kill()
        attached.wait()


@pytest.fixture(scope="module")
def pods_only():
    cluster = Cluster("pods", ["--egress-selector-mode", "pod"])
    try:
        cluster.agent(2)
        cluster.server.netns.run(
            "nft", "add table ip test; add chain ip test out { type filter hook output priority 0; }; "
            "add rule ip test out ip daddr 10.42.1.0/24 drop; add rule ip test out ip daddr 192.0.2.12 tcp dport 8080-9999 drop")  # fmt: skip
        cluster.server.apply(WEB + SHARED)
        cluster.server.kubectl("wait", "--for=condition=Ready", "pod/web", "pod/shared", "--timeout=60s")
        yield cluster
    finally:
        cluster.destroy()


# A pod on the host's network; and a service whose endpoints are no pods, but a program of the node's.
SHARED = """
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  nodeName: node-2
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "web:test", ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: nowhere}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nowhere-1, labels: {kubernetes.io/service-name: nowhere}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.12]}]
ports: [{port: 9999}]
"""


def test_mode_pod_leads_to_the_pods_of_the_agent_and_no_further(pods_only):
    server = pods_only.server
    raw = lambda path, check=True: server.kubectl("get", "--raw", "/api/v1/namespaces/default/" + path, check=check)
    assert raw("pods/web:8080/proxy/index.html").stdout == "hello\n"
    assert raw("pods/shared:8080/proxy/index.html").stdout == "hello\n"
    agent = pods_only.agent(2)
    other = subprocess.Popen(
        agent.netns.command("python3", "-m", "http.server", "--bind", "192.0.2.12", "--directory", agent.dir, "9999"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_until("it listens", lambda: agent.netns.run("curl", "-sf", "-m", "5", "http://192.0.2.12:9999/", check=False).returncode == 0)
        # Modes agent and pod only differ in pods: what is none is refused, whoever listens there.
        refused = raw("services/nowhere/proxy/", check=False)
        assert refused.returncode != 0 and "Directory listing" not in refused.stdout and "Error" in refused.stderr, refused
    finally:
        other.kill()
        other.wait()
    assert raw("pods/shared:8080/proxy/index.html").stdout == "hello\n"
