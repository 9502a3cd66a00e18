"""Images: pulled from a registry with TLS and a password, imported from files, and refused when they are wrong."""

import json
import os
import subprocess

import harness
import harness_images
import pytest
from harness import run, wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  imagePullSecrets: [{name: pull}]
  containers: [{name: c, image: "%s", imagePullPolicy: %s, command: %s}]
"""


def pod(name, image, policy="IfNotPresent", command='["sh", "-c", "echo ran"]'):
    return POD % (name, image, policy, command)


@pytest.fixture(scope="module")
def registry_node():
    """A node beside Debian's docker-registry; both speak over loopback of their namespace."""
    node = harness.Node("reg").create()
    process = None
    try:
        folder = os.path.join(node.dir, "registry")
        os.makedirs(folder)
        key, cert = folder + "/key.pem", folder + "/cert.pem"
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
            "-out", cert, "-subj", "/CN=registry", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        )  # fmt: skip
        with open(folder + "/htpasswd", "w") as f:
            f.write(run("htpasswd", "-Bbn", "user", "secret").stdout)
        with open(folder + "/config.yml", "w") as f:
            f.write(f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/store}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:5000", tls: {{certificate: {cert}, key: {key}}}}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
""")
        log = open(folder + "/log", "w")
        process = subprocess.Popen(
            node.netns.command("docker-registry", "serve", folder + "/config.yml"), stdout=log, stderr=log
        )
        probe = lambda: node.netns.run("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://127.0.0.1:5000/v2/").stdout == "401"
        wait_until("registry", probe)
        layer = harness_images.busybox_layer()
        top = harness_images._tar([("etc/.wh.group", "file", b"", 0o644), ("bin/extra", "hard", "bin/busybox", 0o755)][:1])
        archive = os.path.join(folder, "busybox.tar")
        harness_images.docker_archive(archive, "localhost/team/app:v1", [layer, top])
        for target, extra in (("team/app:v1", ()), ("library/mirrored:v1", ())):
            node.netns.run(
                "skopeo", "copy", "--dest-creds", "user:secret", "--dest-tls-verify=false", *extra, "docker-archive:" + archive,
                "docker://localhost:5000/" + target,
            )  # fmt: skip
        with open(node.registries, "w") as f:
            f.write(f"""
mirrors:
  docker.io: {{endpoint: ["https://localhost:5000"]}}
configs:
  "localhost:5000":
    auth: {{username: user, password: secret}}
    tls: {{ca_file: {cert}}}
""")
        node.registry, node.certificate = folder, cert
        node.start()
        yield node
    finally:
        if process:
            process.kill()
            process.wait()
        node.destroy()


def phase(node, name):
    return node.jsonpath("pod", name, "{.status.phase}")


def waiting(node, name):
    return node.jsonpath("pod", name, "{.status.containerStatuses[0].state.waiting}")


def test_pull_with_tls_and_password(registry_node):
    node = registry_node
    node.apply(pod("direct", "localhost:5000/team/app:v1"))
    wait_until("done", lambda: phase(node, "direct") == "Succeeded", timeout=60)
    assert node.kubectl("logs", "direct").stdout == "ran\n"
    assert "Successfully pulled image" in node.kubectl("get", "events").stdout
    status = json.loads(node.kubectl("get", "pod", "direct", "-o", "json").stdout)["status"]["containerStatuses"][0]
    assert status["imageID"].startswith("localhost:5000/team/app@sha256:")
    # The upper layer's whiteout hides a file of the lower one.
    node.apply(pod("whiteout", "localhost:5000/team/app:v1", command='["sh", "-c", "ls /etc"]'))
    wait_until("done", lambda: phase(node, "whiteout") == "Succeeded")
    assert node.kubectl("logs", "whiteout").stdout.split() .count("group") == 0


def test_pull_through_a_mirror_of_docker_io(registry_node):
    node = registry_node
    node.apply(pod("mirrored", "mirrored:v1"))
    wait_until("done", lambda: phase(node, "mirrored") == "Succeeded", timeout=60)


def test_image_that_does_not_exist(registry_node):
    node = registry_node
    node.apply(pod("missing", "localhost:5000/team/none:v9"))
    wait_until("ErrImagePull", lambda: "ImagePull" in waiting(node, "missing"), timeout=60)
    wait_until("event", lambda: "not found" in node.kubectl("describe", "pod", "missing").stdout)
    wait_until("back-off", lambda: "ImagePullBackOff" in waiting(node, "missing"), timeout=60)
    node.kubectl("delete", "pod", "missing")


def test_bad_image_name(registry_node):
    node = registry_node
    node.apply(pod("badname", "UPPER CASE"))
    wait_until("InvalidImageName", lambda: "InvalidImageName" in waiting(node, "badname"))
    node.kubectl("delete", "pod", "badname")


def test_image_with_a_wrong_digest(registry_node):
    node = registry_node
    archive = os.path.join(node.registry, "other.tar")
    harness_images.docker_archive(archive, "localhost/team/bad:v1", [harness_images.busybox_layer([("x", "file", b"1", 0o644)])])
    node.netns.run(
        "skopeo", "copy", "--dest-creds", "user:secret", "--dest-tls-verify=false", "docker-archive:" + archive, "docker://localhost:5000/team/bad:v1"
    )
    # Damage the newest layer in the registry's own store.
    blobs = run("find", node.registry + "/store", "-name", "data", "-size", "+100k").stdout.split()
    newest = max(blobs, key=os.path.getmtime)
    with open(newest, "r+b") as f:
        f.seek(5000)
        f.write(b"damage")
    node.apply(pod("damaged", "localhost:5000/team/bad:v1"))
    wait_until("refused", lambda: "ImagePull" in waiting(node, "damaged"), timeout=60)
    text = node.kubectl("describe", "pod", "damaged").stdout
    assert "digest" in text, text
    node.kubectl("delete", "pod", "damaged")


def test_never_pull(registry_node):
    node = registry_node
    node.apply(pod("never", "localhost:5000/team/absent:v1", policy="Never"))
    wait_until("ErrImageNeverPull", lambda: "ErrImageNeverPull" in waiting(node, "never"))
    node.kubectl("delete", "pod", "never")


def test_command_that_is_not_in_the_image(registry_node):
    node = registry_node
    node.apply(pod("nocommand", "localhost:5000/team/app:v1", command='["/no/such/program"]'))
    state = lambda: node.kubectl("get", "pod", "nocommand", "-o", "jsonpath={.status.containerStatuses[0].state}").stdout
    wait_until("StartError", lambda: "StartError" in state() or "RunContainerError" in state())
    assert "no such file or directory" in state()
    node.kubectl("delete", "pod", "nocommand")


def test_hostile_archives_are_refused_and_the_others_imported(own_node):
    node = own_node
    folder = os.path.join(node.data, "agent", "images")
    victim = os.path.join(node.dir, "victim")
    harness_images.hostile_archive(folder + "/dots.tar", "docker.io/library/dots:v1", "../" * 30 + victim[1:])
    link = [("out", "link", node.dir, 0o777), ("out/victim", "file", b"owned", 0o644)]
    harness_images.hostile_archive(folder + "/link.tar", "docker.io/library/link:v1", link)
    with open(folder + "/garbage.tar", "wb") as f:
        f.write(b"this is not an archive" * 100)
    node.start()
    node.apply(pod("fine", "busybox:test"))
    wait_until("imported", lambda: phase(node, "fine") == "Succeeded")
    assert not os.path.exists(victim)
    assert "garbage.tar" in node.tail(400)
