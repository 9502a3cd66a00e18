"""Files, certificates and start-up of the server as k3s has them."""

import json
import os
import stat

from harness import run, wait_until


def mode(path):
    return oct(stat.S_IMODE(os.stat(path).st_mode))


def test_files_are_where_k3s_has_them(node):
    tls = os.path.join(node.data, "server", "tls")
    for name in ("client-ca", "server-ca", "request-header-ca", "client-admin", "serving-kube-apiserver"):
        assert os.path.exists(f"{tls}/{name}.crt"), name
        assert mode(f"{tls}/{name}.key") == "0o600", name
    assert mode(node.kubeconfig) == "0o600"
    assert mode(os.path.join(node.data, "server", "token")) == "0o600"
    token = open(os.path.join(node.data, "server", "token")).read().strip()
    assert token.startswith("K10") and "::server:" in token
    assert os.path.exists(os.path.join(node.data, "server", "db", "state.db"))
    verify = run("openssl", "verify", "-CAfile", f"{tls}/server-ca.crt", f"{tls}/serving-kube-apiserver.crt")
    assert "OK" in verify.stdout
    text = run("openssl", "x509", "-in", f"{tls}/serving-kube-apiserver.crt", "-noout", "-ext", "subjectAltName").stdout
    for name in ("kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", "10.43.0.1", "192.0.2.10"):
        assert name in text
    key = os.path.join(node.data, "server", "tls", "client-admin.key")
    assert "PRIVATE KEY" in open(key).read()
    assert "PRIVATE KEY" not in node.tail(10_000)
    assert token.split(":")[-1] not in node.tail(10_000)


def test_anonymous_requests_are_refused(node):
    code = node.netns.run("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://127.0.0.1:6443/api/v1/pods").stdout
    assert code == "401"
    ca = node.netns.run("curl", "-sk", "https://127.0.0.1:6443/cacerts").stdout
    assert ca == open(os.path.join(node.data, "server", "tls", "server-ca.crt")).read()


def test_the_clusters_own_objects(node):
    names = node.jsonpath("namespaces", "{.items[*].metadata.name}").split()
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(names)
    assert node.jsonpath("service", "kubernetes", "{.spec.clusterIP}") == "10.43.0.1"
    assert node.jsonpath("endpointslice", "kubernetes", "{.endpoints[0].addresses[0]}") == "192.0.2.10"
    assert "kube-root-ca.crt" in node.jsonpath("configmaps", "{.items[*].metadata.name}")
    labels = node.jsonpath("node", "node-1", "{.metadata.labels}")
    assert '"node-role.kubernetes.io/control-plane":"true"' in labels and '"node.kubernetes.io/instance-type":"k3s"' in labels
    assert node.jsonpath("node", "node-1", "{.spec.podCIDR}") == "10.42.0.0/24"
    lease = node.kubectl("-n", "kube-node-lease", "get", "lease", "node-1", "-o", "jsonpath={.spec.holderIdentity}").stdout
    assert lease == "node-1"
    assert "control-plane" in node.kubectl("get", "nodes").stdout


def test_flags_of_the_listener_and_the_kubeconfig(own_node):
    node = own_node
    node.flags += [
        "--https-listen-port", "7443", "--tls-san", "k3s.test,192.0.2.77", "--write-kubeconfig-mode", "0640", "--token", "chosen-secret",
        "--bind-address", "127.0.0.1", "--disable", "traefik,servicelb",
    ]  # fmt: skip
    node.start()
    assert mode(node.kubeconfig) == "0o640"
    assert "https://127.0.0.1:7443" in open(node.kubeconfig).read()
    certificate = os.path.join(node.data, "server", "tls", "serving-kube-apiserver.crt")
    text = run("openssl", "x509", "-in", certificate, "-noout", "-ext", "subjectAltName").stdout
    assert "k3s.test" in text and "192.0.2.77" in text
    assert open(os.path.join(node.data, "server", "token")).read().strip().endswith("::server:chosen-secret")
    listening = node.netns.run("ss", "-Hltn").stdout
    assert "127.0.0.1:7443" in listening and "0.0.0.0:7443" not in listening
    # The same folder again: the same CA, so the kubeconfig of before is still good.
    before = open(os.path.join(node.data, "server", "tls", "server-ca.crt")).read()
    node.restart()
    assert open(os.path.join(node.data, "server", "tls", "server-ca.crt")).read() == before


def test_a_server_without_a_node_needs_no_root(own_node):
    node = own_node
    node.flags.append("--disable-agent")
    run("chown", "-R", "nobody", node.dir)
    run("chmod", "755", node.dir)
    command = node.command
    node.command = lambda: node.netns.command("setpriv", "--reuid=65534", "--clear-groups", *command()[2:])
    node.is_ready = lambda: node.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"
    node.start()
    node.kubectl("create", "configmap", "c", "--from-literal=a=b")
    assert node.kubectl("get", "nodes", "-o", "name").stdout == ""


def test_version_and_help():
    from harness import BINARY

    assert run(BINARY, "--version").stdout.startswith("k3s version v1.36.")
    assert "server" in run(BINARY, "--help").stdout
    assert "--data-dir" in run(BINARY, "server", "--help").stdout
    assert run(BINARY, "nonsense", check=False).returncode == 1


def test_check_config(tmp_path):
    from harness import BINARY

    found = run(BINARY, "check-config", check=False)
    assert "STATUS: pass" in found.stdout and "- nf_tables: masquerade: works" in found.stdout, found.stdout
    assert "\033[" not in found.stdout
    report = json.loads(run(BINARY, "check-config", "-o", "json").stdout)
    assert report["status"] == "pass" and report["failures"] == 0
    config = tmp_path / "config"
    config.write_text("CONFIG_NAMESPACES=y\n")
    found = run(BINARY, "check-config", str(config), check=False)
    failures = sum(line.endswith("(fail)") for line in found.stdout.splitlines()[:-1])
    assert found.returncode == failures + 1 > 10, found.stdout
    missing = run(BINARY, "check-config", str(tmp_path / "none"), check=False)
    assert missing.returncode == 1 and "cannot find kernel config" in missing.stderr


def test_configuration_file(own_node, tmp_path):
    from harness import BINARY

    config = tmp_path / "config.yaml"
    config.write_text("node-label: [from=file]\ntls-san: file.example\nservicelb-namespace: lb\nnonsense: 1\n")
    own_node.start(extra=("--config", str(config), "--node-label", "also=line"))
    labels = json.loads(own_node.kubectl("get", "node", "node-1", "-o", "json").stdout)["metadata"]["labels"]
    assert labels["from"] == "file" and labels["also"] == "line"
    log = own_node.tail()
    assert "--servicelb-namespace is accepted, but has no effect yet" in log
    assert "Unknown flag --nonsense found in config.yaml" in log
    config.write_text("node-label: {a: b}\n")
    refused = run(BINARY, "server", "--config", str(config), check=False)
    assert refused.returncode == 1 and str(config) in refused.stderr and "node-label" in refused.stderr


def test_health(node):
    for path in ("healthz", "livez", "readyz"):
        wait_until(path, lambda path=path: node.kubectl("get", "--raw", "/" + path).stdout == "ok")
    checks = node.kubectl("get", "--raw", "/readyz?verbose").stdout
    assert "[+]poststarthook/rbac/bootstrap-roles ok" in checks and "[+]shutdown ok" in checks
    assert node.kubectl("get", "--raw", "/livez/poststarthook/bootstrap-controller").stdout == "ok"
