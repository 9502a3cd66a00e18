"""What is wrong is said clearly, with the Status of kube-apiserver or one line and exit code 1; nothing half done is left."""

import json
import os
import subprocess
import time

import pytest
from harness import run


def curl(node, method, path, body=None, content_type="application/json"):
    """With the admin's certificate; returns (code, document)."""
    folder = os.path.join(node.dir, "admin")
    if not os.path.isdir(folder):
        import base64

        import yaml

        os.makedirs(folder)
        config = yaml.safe_load(open(node.kubeconfig))
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        for name, data in (("crt", user["client-certificate-data"]), ("key", user["client-key-data"]), ("ca", cluster["certificate-authority-data"])):
            with open(f"{folder}/{name}", "wb") as f:
                f.write(base64.b64decode(data))
    args = ["curl", "-s", "-m", "20", "--cacert", folder + "/ca", "--cert", folder + "/crt", "--key", folder + "/key", "-X", method, "-w", "\n%{http_code}"]
    if body is not None:
        args += ["-H", "Content-Type: " + content_type, "--data-binary", "@-"]
    done = node.netns.run(*args, "https://127.0.0.1:6443" + path, input=body)
    text, code = done.stdout.rsplit("\n", 1)
    return int(code), json.loads(text) if text.startswith("{") else text


MAP = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"a":"b"}}'
COLLECTION = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    "method, path, body, code, reason, part",
    [
        ("POST", COLLECTION, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}', 422, "Invalid", "name or generateName is required"),
        ("POST", COLLECTION, MAP % "Bad_Name", 422, "Invalid", "a lowercase RFC 1123 subdomain must consist of"),
        ("POST", COLLECTION, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":1}}', 400, "BadRequest", "cannot unmarshal number into Go struct field"),
        ("POST", COLLECTION, '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}', 400, "BadRequest", "cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion"),
        ("POST", COLLECTION, "{broken", 400, "BadRequest", "invalid character"),
        ("POST", COLLECTION + "?fieldValidation=Strict", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}}', 400, "BadRequest", 'unknown field "dta"'),
        ("POST", "/apis/apps/v1/namespaces/default/widgets", "{}", 404, "NotFound", "could not find the requested resource"),
        ("GET", COLLECTION + "/absent", None, 404, "NotFound", 'configmaps "absent" not found'),
        ("POST", "/api/v1/namespaces/nowhere/configmaps", MAP % "x", 404, "NotFound", 'namespaces "nowhere" not found'),
        ("PATCH", COLLECTION + "/kube-root-ca.crt", "{}", 415, "UnsupportedMediaType", "accepted media types"),
        ("GET", COLLECTION + "?labelSelector=a%20b%20c", None, 400, "BadRequest", "unable to parse"),
        ("GET", COLLECTION + "?resourceVersion=nonsense", None, 400, "BadRequest", "resourceVersion"),
        ("DELETE", "/api/v1/namespaces/default", None, 403, "Forbidden", "this namespace may not be deleted"),
    ],
)
def test_requests_that_are_refused(node, method, path, body, code, reason, part):
    kind = "application/json"
    got, status = curl(node, method, path, body, kind)
    assert (got, status["reason"], status["kind"]) == (code, reason, "Status"), status
    assert part in status["message"], status["message"]


def test_a_second_create_and_a_stale_update(node):
    assert curl(node, "POST", COLLECTION, MAP % "twice")[0] == 201
    code, status = curl(node, "POST", COLLECTION, MAP % "twice")
    assert (code, status["reason"], status["message"]) == (409, "AlreadyExists", 'configmaps "twice" already exists')
    _, first = curl(node, "GET", COLLECTION + "/twice")
    changed = dict(first, data={"a": "c"})
    assert curl(node, "PUT", COLLECTION + "/twice", json.dumps(changed))[0] == 200
    code, status = curl(node, "PUT", COLLECTION + "/twice", json.dumps(dict(first, data={"a": "d"})))
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"].endswith("the object has been modified; please apply your changes to the latest version and try again")
    # Nothing of a refused change is stored, and a change that changes nothing makes no revision.
    _, now = curl(node, "GET", COLLECTION + "/twice")
    assert now["data"] == {"a": "c"}
    _, same = curl(node, "PUT", COLLECTION + "/twice", json.dumps(now))
    assert same["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
    assert curl(node, "DELETE", COLLECTION + "/twice")[0] == 200


def test_a_body_of_four_megabytes(node):
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"%s"}}' % ("x" * (4 << 20))
    code, status = curl(node, "POST", COLLECTION, body)
    assert code == 413, status
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"%s"}}' % ("x" * (2 << 20))
    code, status = curl(node, "POST", COLLECTION, body)
    assert code == 422 and "Too long" in status["message"], status
    assert curl(node, "GET", COLLECTION + "/big")[0] == 404


def test_yaml_that_kubectl_cannot_apply(node, ns):
    done = ns("apply", "-f", "-", input="kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\nspec: {replica: 3}\n", check=False)
    assert done.returncode == 1 and 'unknown field "spec.replica"' in done.stderr, done.stderr
    done = ns("apply", "-f", "-", input="a: b: c\n", check=False)
    assert done.returncode == 1
    done = ns("apply", "-f", "-", input="kind: Widget\napiVersion: example.com/v1\nmetadata: {name: x}\n", check=False)
    assert 'no matches for kind "Widget" in version "example.com/v1"' in done.stderr
    done = ns("create", "deployment", "x", "--image=busybox", "--replicas=-1", check=False)
    assert done.returncode == 1


def test_deeply_nested_json_is_refused_and_the_server_lives(node):
    code, _ = curl(node, "POST", COLLECTION, '{"a":' * 100_000 + "1" + "}" * 100_000)
    assert code == 400
    assert curl(node, "GET", "/readyz")[0] == 200


def start(node, *flags):
    return run(*node.command(), *flags, check=False, timeout=30)


@pytest.mark.parametrize(
    "flags, part",
    [
        (["--nonsense"], "flag provided but not defined: -nonsense"),
        (["--https-listen-port", "99999"], "--https-listen-port"),
        (["--node-ip", "not-an-address"], "--node-ip"),
        (["--cluster-cidr", "10.42.0.0"], "--cluster-cidr"),
        (["--write-kubeconfig-mode", "9"], "--write-kubeconfig-mode"),
        (["--data-dir", "/proc/nowhere"], "/proc/nowhere"),
        (["--write-kubeconfig", "/proc/nowhere/k3s.yaml"], "/proc/nowhere"),
    ],
)
def test_a_server_that_cannot_start_says_why(own_node, flags, part):
    done = start(own_node, *flags)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if part in line]
    assert lines, done.stderr


def test_a_broken_registries_file(own_node):
    with open(own_node.registries, "w") as f:
        f.write("mirrors:\n  docker.io:\n    endpoint: 5\n")
    done = start(own_node)
    assert done.returncode == 1 and "registries.yaml" in done.stderr and "endpoint" in done.stderr, done.stderr


def test_the_port_is_in_use(own_node):
    holder = subprocess.Popen(own_node.netns.command("busybox", "nc", "-l", "-p", "6443"))
    try:
        time.sleep(0.3)
        done = start(own_node)
        assert done.returncode == 1 and "6443" in done.stderr and "in use" in done.stderr.lower(), done.stderr
    finally:
        holder.kill()
        holder.wait()


def test_a_full_disk_refuses_writes_and_loses_nothing(own_node):
    node = own_node
    run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", node.data)
    node.flags.append("--disable-agent")
    node.process = None
    node.is_ready = lambda: node.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"
    node.start()
    node.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    filler = os.path.join(node.data, "filler")
    with open(filler, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                f.write(b"x" * 512)
        except OSError:
            pass
    failed = None
    for i in range(200):
        done = node.kubectl("create", "configmap", f"f{i}", "--from-literal=a=" + "y" * 60000, check=False)
        if done.returncode != 0:
            failed = done.stderr
            break
    assert failed and "no space is left on the disk" in failed, failed
    os.unlink(filler)
    node.kubectl("create", "configmap", "after", "--from-literal=a=b")
    node.restart()
    assert node.jsonpath("configmap", "kept", "{.data.a}") == "b"
    assert node.jsonpath("configmap", "after", "{.data.a}") == "b"
