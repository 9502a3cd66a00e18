"""k3s certificate: check, rotate, rotate-ca."""

import json
import os
import subprocess

from harness import BINARY, run, wait_until


def certificate(node, *args, check=True):
    return node.netns.run(BINARY, "certificate", *args, "--data-dir", node.data, check=check)


def test_check_and_rotate(own_node):
    own_node.start()
    table = certificate(own_node, "check", "--output", "table").stdout.splitlines()
    assert table[0] == ""
    assert table[1].split() == ["FILENAME", "SUBJECT", "USAGES", "EXPIRES", "RESIDUAL", "TIME", "STATUS"]
    admin = next(line for line in table if line.startswith("client-admin.crt"))
    assert "system:admin" in admin and "1 year" in admin and admin.endswith("OK")
    document = json.loads(certificate(own_node, "check", "-o", "json", "--service", "api-server").stdout)
    assert {c["Filename"] for c in document["Certificates"]} == {
        "client-kube-apiserver.crt", "serving-kube-apiserver.crt"}
    assert "client-admin.crt: certificate system:admin (ClientAuth) is ok" in certificate(own_node, "check").stderr
    refused = certificate(own_node, "check", "--service", "nothing", check=False)
    assert refused.returncode == 1 and "service nothing is not recognized" in refused.stderr
    wait_until("the monitor's word", lambda: "CertificateExpirationOK" in own_node.kubectl(
        "get", "events", "--field-selector", "involvedObject.kind=Node").stdout, timeout=60)
    assert "k3s_certificate_expiration_seconds{subject=\"CN=system:admin,O=system:masters\"" in own_node.kubectl(
        "get", "--raw", "/metrics").stdout

    own_node.stop()
    path = os.path.join(own_node.data, "server", "tls", "client-admin.crt")
    with open(path) as f:
        old = f.read()
    out = certificate(own_node, "rotate").stderr
    assert "Successfully backed up certificates to" in out and not os.path.exists(path)
    own_node.start()
    with open(path) as f:
        assert f.read() != old


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True, timeout=60)


def cross_signed(folder, tls, name):
    """A new authority, signed by the old one, whose certificate follows it."""
    new = os.path.join(folder, "tls", name)
    os.makedirs(os.path.dirname(new), exist_ok=True)
    old = os.path.join(tls, name)
    extensions = os.path.join(folder, "extensions")
    with open(extensions, "w") as f:
        f.write("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,digitalSignature,keyEncipherment\n"
                "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", new + ".key", cwd=folder)
    openssl("req", "-new", "-key", new + ".key", "-subj", f"/CN=new-{os.path.basename(name)}", "-out", "request",
            cwd=folder)
    openssl("x509", "-req", "-in", "request", "-CA", old + ".crt", "-CAkey", old + ".key", "-CAcreateserial", "-days",
            "3650", "-extfile", extensions, "-out", new + ".crt", cwd=folder)
    with open(old + ".crt") as f, open(new + ".crt", "a") as out:
        out.write(f.read())


def test_other_authorities(own_node, tmp_path):
    own_node.start()
    tls = os.path.join(own_node.data, "server", "tls")
    own_node.kubectl("create", "configmap", "kept")
    for name in ["server-ca", "client-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca"]:
        cross_signed(str(tmp_path), tls, name)

    def rotate(*args, check=True):
        return own_node.netns.run(
            BINARY, "certificate", "rotate-ca", "--path", str(tmp_path), "--server", own_node.url, *args,
            "--data-dir", own_node.data, check=check)

    # Not signed by the old one: refused without --force, and nothing has changed.
    alone = tmp_path / "alone"
    alone.mkdir()
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=alone",
            "-days", "30", "-keyout", "alone.key", "-out", "alone.crt", cwd=str(alone))
    os.makedirs(alone / "tls")
    for ending in ["key", "crt"]:
        os.rename(alone / f"alone.{ending}", alone / "tls" / f"client-ca.{ending}")
    refused = rotate("--path", str(alone), check=False)
    assert refused.returncode == 1 and "failed to validate new CA certificates and keys" in refused.stderr

    assert rotate().stdout.strip() == "certificates saved to datastore"
    own_node.stop()
    own_node.start()
    with open(os.path.join(tls, "server-ca.crt")) as f, open(tmp_path / "tls" / "server-ca.crt") as new:
        assert f.read() == new.read()
    assert own_node.kubectl("get", "configmap", "kept", "-o", "name").stdout == "configmap/kept\n"
    issuer = run("openssl", "x509", "-noout", "-issuer", "-in", os.path.join(tls, "client-admin.crt")).stdout
    assert "new-client-ca" in issuer
    assert "Using new CA certificates and keys" in own_node.tail(400)
