"""Network policies with the real kubectl: who reaches whom, by packets."""

import pytest
from harness import wait_until
from test_dns import import_bash

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: %(name)s}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: bash:test
    command: [sh, -c, "mkdir -p /www; echo %(name)s > /www/index.html; httpd -p 8081 -h /www; exec httpd -f -p 8080 -h /www"]
    ports: [{name: web, containerPort: 8080}]
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{port: 80, targetPort: web}]}
"""


def policy(name, spec):
    return f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}}}
spec: {spec}
"""


@pytest.fixture
def pods(ns):
    import_bash(ns.node)
    for name in "abc":
        ns.apply(POD % {"name": name})
    ns.apply(SERVICE)
    for name in "abc":
        ns("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    return {name: ns.jsonpath("pod", name, "{.status.podIP}") for name in "abc"}


def fetch(ns, source, url):
    """What a web server says to a pod; None: nothing."""
    host, _, port = url.removeprefix("http://").partition(":")
    script = f"exec 3<>/dev/tcp/{host}/{port or 80} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
    done = ns("exec", source, "--", "timeout", "2", "bash", "-c", script, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else None


def resolves(ns, source, name="kubernetes.default.svc.cluster.local"):
    return ns("exec", source, "--", "timeout", "3", "nslookup", name, check=False).returncode == 0


def test_ingress(ns, pods):
    a = f"http://{pods['a']}"
    wait_until("an open cluster", lambda: fetch(ns, "b", a + ":8080") == "a")
    ns.apply(policy("deny", "{podSelector: {matchLabels: {app: a}}}"))
    wait_until("default deny", lambda: fetch(ns, "b", a + ":8080") is None)
    assert fetch(ns, "b", "http://a") is None, "the service leads to the pod that is isolated"
    assert fetch(ns, "a", f"http://{pods['b']}:8080") == "b", "what the pod itself asks for is answered"
    assert fetch(ns, "a", f"http://a.{ns.name}.svc") == "a", "a pod reaches itself"
    node = ns.node.netns.run("curl", "-s", "-m", "3", a + ":8080", check=False)
    assert node.stdout == "a\n", "the node reaches its pods"
    ns.apply(
        policy(
            "allow",
            "{podSelector: {matchLabels: {app: a}}, "
            "ingress: [{from: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: web}]}]}",
        )
    )
    wait_until("b is let in", lambda: fetch(ns, "b", a + ":8080") == "a")
    assert fetch(ns, "b", "http://a") == "a"
    assert fetch(ns, "b", a + ":8081") is None, "another port"
    assert fetch(ns, "c", a + ":8080") is None, "another pod"
    ns("label", "pod", "c", "app=b", "--overwrite")
    wait_until("c is let in by its label", lambda: fetch(ns, "c", a + ":8080") == "a")
    ns("delete", "networkpolicy", "--all")
    wait_until("all is open again", lambda: fetch(ns, "b", a + ":8081") == "a")
    tables = lambda: ns.node.netns.run("nft", "list", "tables").stdout
    wait_until("no tables without policies", lambda: "k3s-policy" not in tables())


def test_blocks_and_namespaces(ns, pods):
    a = f"http://{pods['a']}:8080"
    ns.apply(
        policy(
            "blocks",
            "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{ipBlock: {cidr: 10.42.0.0/16, "
            f"except: [{pods['b']}/32]}}}}], ports: [{{port: 8080, endPort: 8090}}]}}]}}",
        )
    )
    wait_until("the exception is kept out", lambda: fetch(ns, "b", a) is None)
    assert fetch(ns, "c", a) == "a"
    ns.apply(
        policy(
            "blocks",
            "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{namespaceSelector: "
            "{matchLabels: {team: x}}, podSelector: {matchLabels: {app: b}}}]}]}",
        )
    )
    wait_until("no namespace of that team", lambda: fetch(ns, "c", a) is None)
    assert fetch(ns, "b", a) is None
    ns("label", "namespace", ns.name, "team=x")
    wait_until("the namespace is of the team", lambda: fetch(ns, "b", a) == "a")
    assert fetch(ns, "c", a) is None


def test_egress_and_names(ns, pods):
    b = f"http://{pods['b']}:8080"
    wait_until("names", lambda: resolves(ns, "a"))
    ns.apply(policy("egress", "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress]}"))
    wait_until("nothing goes out", lambda: fetch(ns, "a", b) is None)
    assert not resolves(ns, "a"), "nor do questions to the cluster's name server"
    assert resolves(ns, "b")
    assert fetch(ns, "b", f"http://{pods['a']}:8080") == "a", "answers go out"
    ns.apply(
        policy(
            "names",
            "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: "
            "{matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], "
            "ports: [{port: 53, protocol: UDP}]}]}",
        )
    )
    wait_until("names are let out as to the pods of kube-dns", lambda: resolves(ns, "a"))
    assert fetch(ns, "a", b) is None
    ns.apply(
        policy(
            "b",
            "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], "
            "egress: [{to: [{podSelector: {matchLabels: {app: b}}}]}]}",
        )
    )
    wait_until("b too", lambda: fetch(ns, "a", b) == "b")
    assert fetch(ns, "a", f"http://{pods['c']}:8080") is None


def test_changed_rules_come_back(ns, pods):
    a = f"http://{pods['a']}:8080"
    ns.apply(policy("deny", "{podSelector: {matchLabels: {app: a}}}"))
    wait_until("default deny", lambda: fetch(ns, "b", a) is None)
    ns.node.netns.run("nft", "delete", "table", "ip", "k3s-policy")
    assert fetch(ns, "b", a) == "a"
    wait_until("repaired", lambda: fetch(ns, "b", a) is None, timeout=60)
