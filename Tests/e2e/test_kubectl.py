"""The real kubectl, in the versions that k3s 1.36 has to do with: what people type, and what it prints."""

import base64
import json
import os

import pytest
from harness import WORK, run


class Kubectl:
    def __init__(self, node, version, namespace):
        self.node, self.namespace = node, namespace
        self.binary = os.path.join(WORK, f"kubectl-{version}", "bin", "kubectl")

    def __call__(self, *args, check=True, input=None, timeout=60):
        command = self.node.netns.command(self.binary, "-n", self.namespace, *args)
        return run(*command, check=check, input=input, timeout=timeout, env=self.node.environment())

    def out(self, *args, **kw):
        return self(*args, **kw).stdout.strip()

    def json(self, *args, **kw):
        return json.loads(self(*args, "-o", "json", **kw).stdout)


@pytest.fixture(params=["1.36", "1.37"])
def k(request, ns):
    return Kubectl(ns.node, request.param, ns.name)


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {app: x}}\ndata: {a: %s}\n"
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: web, image: "busybox:test", command: [sleep, "600"]}
"""


def test_apply_diff_and_prune(k):
    assert "configmap/one created" in k.out("apply", "-f", "-", input=CONFIG % ("one", "v"))
    assert "configmap/one unchanged" in k.out("apply", "-f", "-", input=CONFIG % ("one", "v"))
    differs = k("diff", "-f", "-", input=CONFIG % ("one", "new"), check=False)
    assert differs.returncode == 1 and "-  a: v" in differs.stdout and "+  a: new" in differs.stdout
    k("apply", "-f", "-", input=CONFIG % ("two", "b"))
    pruned = k.out("apply", "--prune", "-l", "app=x", "--prune-allowlist=core/v1/ConfigMap", "-f", "-", input=CONFIG % ("two", "b"))
    assert "configmap/one pruned" in pruned, pruned
    assert k.out("get", "configmap", "-l", "app=x", "-o", "name") == "configmap/two"
    server = k.out("apply", "--server-side", "--force-conflicts", "-f", "-", input=CONFIG % ("two", "z"))
    assert "configmap/two serverside-applied" in server
    assert k.out("get", "configmap", "two", "-o", "jsonpath={.data.a}") == "z"
    assert "configmap/two serverside-applied (server dry run)" in k.out(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", input=CONFIG % ("two", "other"))  # fmt: skip
    assert k.out("get", "configmap", "two", "-o", "jsonpath={.data.a}") == "z"


def test_what_get_prints(k):
    k("apply", "-f", "-", input=WEB)
    k("wait", "--for=condition=Available", "deployment/web", "--timeout=60s", timeout=90)
    header, row = k.out("get", "deployment", "web", "-o", "wide").splitlines()
    assert header.split() == "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR".split()
    assert row.split()[:4] == ["web", "1/1", "1", "1"] and row.split()[5:] == ["web", "busybox:test", "app=web"]
    header = k.out("get", "pods", "-o", "wide").splitlines()[0]
    assert header.split() == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES".split()
    assert "kind: Deployment" in k.out("get", "deployment", "web", "-o", "yaml")
    assert k.out("get", "deployment", "-o", "jsonpath={range .items[*]}{.metadata.name}:{.spec.replicas}{end}") == "web:1"
    assert k.out("get", "pods", "-o", "custom-columns=NODE:.spec.nodeName", "--no-headers") == "node-1"
    assert k.out("get", "pods", "--field-selector=status.phase=Running", "-o", "name").startswith("pod/web-")
    assert "deployment.apps/web" in k.out("get", "all")
    assert "Replicas:" in k.out("describe", "deployment", "web")
    assert k.out("rollout", "status", "deployment/web", "--timeout=60s", timeout=90).endswith("successfully rolled out")
    k("scale", "deployment/web", "--replicas=0")
    k("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s", timeout=90)
    k("wait", "--for=jsonpath={.spec.replicas}=0", "deployment/web", "--timeout=10s")


def test_patches_of_all_kinds(k):
    k("apply", "-f", "-", input=WEB.replace("replicas: 1", "replicas: 0"))
    k("patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox:test"}]}}}}')
    assert k.out("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}") == "side web"
    k("patch", "deployment", "web", "--type=merge", "-p", '{"metadata":{"labels":{"app":null,"b":"c"}}}')
    assert k.json("get", "deployment", "web")["metadata"]["labels"] == {"b": "c"}
    k("patch", "deployment", "web", "--type=json", "-p", '[{"op":"remove","path":"/spec/template/spec/containers/0"}]')
    assert k.out("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}") == "web"
    k("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    bad = k("patch", "deployment", "web", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":7}]', check=False)
    assert bad.returncode == 1 and "testing value /spec/replicas failed" in bad.stderr, bad.stderr
    k("label", "deployment", "web", "x=y")
    k("annotate", "deployment", "web", "note=text")
    k("set", "image", "deployment/web", "web=web:test")
    assert k.out("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "web:test"


def test_who_may_do_what(k):
    assert k.out("auth", "can-i", "create", "pods") == "yes"
    refused = k("auth", "can-i", "create", "pods", "--as=jane", check=False)
    assert refused.returncode == 1 and refused.stdout.strip() == "no"
    assert "system:admin" in k.out("auth", "whoami")
    assert k.json("auth", "whoami", "--as=jane", "--as-group=friends")["status"]["userInfo"]["username"] == "jane"
    assert "*.*" in k.out("auth", "can-i", "--list")
    k("create", "serviceaccount", "robot")
    token = k.out("create", "token", "robot", "--duration=20m", "--audience=https://kubernetes.default.svc.cluster.local")
    assert token.count(".") == 2
    who = k("--token", token, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", check=False).stdout
    assert who in ("system:admin", f"system:serviceaccount:{k.namespace}:robot")


def test_what_the_server_offers(k):
    lines = k.out("api-resources", "--no-headers").splitlines()
    found = {line.split()[0] for line in lines}
    assert len(lines) >= 60 and {"pods", "deployments", "horizontalpodautoscalers", "certificatesigningrequests"} <= found
    assert "apps/v1" in k.out("api-versions").splitlines()
    assert "po" in next(line.split() for line in lines if line.split()[0] == "pods")
    text = k.out("explain", "deployment.spec.replicas")
    assert "KIND:       Deployment" in text and "FIELD: replicas <integer>" in text
    assert "containers\t<[]Container> -required-" in k.out("explain", "pod.spec")
    absent = k("explain", "pod.spec.nonsense", check=False)
    assert absent.returncode == 1 and 'field "nonsense" does not exist' in absent.stderr
    version = k.json("version")
    assert version["serverVersion"]["minor"].startswith("36")
    assert "is running at" in k.out("cluster-info")


def test_creating_and_replacing(k):
    k("create", "configmap", "m", "--from-literal=a=b")
    k("create", "secret", "generic", "s", "--from-literal=a=b")
    k("create", "deployment", "d", "--image=busybox:test", "--replicas=0")
    k("create", "cronjob", "c", "--image=busybox:test", "--schedule=0 0 1 1 *", "--", "true")
    k("create", "role", "r", "--verb=get", "--resource=pods")
    k("create", "rolebinding", "rb", "--role=r", "--user=jane")
    k("create", "quota", "q", "--hard=pods=10")
    k("create", "poddisruptionbudget", "p", "--selector=app=d", "--min-available=1")
    k("create", "ingress", "i", "--rule=foo.com/*=svc:80")
    k("create", "service", "clusterip", "svc", "--tcp=80:8080")
    k("expose", "deployment", "d", "--port=80")
    k("autoscale", "deployment", "d", "--min=1", "--max=3", "--cpu=50%")
    assert k.json("get", "hpa", "d")["spec"]["maxReplicas"] == 3
    body = k.json("get", "configmap", "m")
    body["data"] = {"a": "replaced"}
    k("replace", "-f", "-", input=json.dumps(body))
    assert k.out("get", "configmap", "m", "-o", "jsonpath={.data.a}") == "replaced"
    twice = k("create", "configmap", "m", check=False)
    assert twice.returncode == 1 and 'configmaps "m" already exists' in twice.stderr
    absent = k("get", "configmap", "absent", check=False)
    assert absent.returncode == 1 and 'Error from server (NotFound): configmaps "absent" not found' in absent.stderr
    k("delete", "configmap,secret,deployment,cronjob,ingress", "--all", "--wait=false")


def test_certificates_are_approved(k, tmp_path):
    name = "approved-" + k.namespace
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "csr"))  # fmt: skip
    request = base64.b64encode((tmp_path / "csr").read_bytes()).decode()
    k("create", "-f", "-", input=json.dumps({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    }))  # fmt: skip
    assert k.out("get", "csr", name, "--no-headers").split()[-1] == "Pending"
    k("certificate", "approve", name)
    k("wait", "--for=jsonpath={.status.certificate}", "csr/" + name, "--timeout=60s", timeout=90)
    assert k.out("get", "csr", name, "--no-headers").split()[-1] == "Approved,Issued"
    (tmp_path / "crt").write_bytes(base64.b64decode(k.out("get", "csr", name, "-o", "jsonpath={.status.certificate}")))
    assert f"CN = {name}" in run("openssl", "x509", "-noout", "-subject", "-in", str(tmp_path / "crt")).stdout
    k("delete", "csr", name)
