"""Manifests that lie in the server's directory are applied, as Addons."""

import json
import os
import textwrap

from harness import wait_until


def config_map(name, value, namespace="default"):
    return textwrap.dedent(f"""
        apiVersion: v1
        kind: ConfigMap
        metadata: {{name: {name}, namespace: {namespace}}}
        data: {{value: "{value}"}}
        """)


def test_manifests_are_applied_pruned_and_disabled(own_node):
    folder = os.path.join(own_node.data, "server", "manifests")
    os.makedirs(os.path.join(folder, "more"))

    def write(name, text):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)

    def value(name):
        return own_node.kubectl("get", "configmap", name, "-o", "jsonpath={.data.value}", check=False).stdout

    write("first.yaml", config_map("one", 1) + "---" + config_map("two", 2))
    write("more/second.json", json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three", "namespace": "made"}}]}))
    own_node.start()
    wait_until("the manifests to be applied", lambda: value("two") == "2", timeout=60)
    # Files that come while the server runs, and that change.
    write("third.yml", config_map("four", 4))
    write("first.yaml", config_map("one", "changed"))
    wait_until("a new manifest to be applied", lambda: value("four") == "4", timeout=60)
    wait_until("a manifest to be applied again", lambda: value("one") == "changed", timeout=60)
    wait_until("what left the manifest to be deleted", lambda: "two" not in own_node.kubectl(
        "get", "configmaps", "-o", "name").stdout, timeout=60)
    table = own_node.kubectl("get", "addons.k3s.cattle.io", "-n", "kube-system").stdout.splitlines()
    assert table[0].split() == ["NAME", "SOURCE", "CHECKSUM"]
    assert [line.split()[0] for line in table[1:]] == ["first", "second", "third"]
    assert table[1].split()[1] == os.path.join(folder, "first.yaml") and len(table[1].split()[2]) == 64
    events = own_node.kubectl("get", "events", "-n", "kube-system", "--field-selector", "involvedObject.kind=Addon").stdout
    assert "AppliedManifest" in events and "ApplyingManifest" in events
    assert "source" in own_node.kubectl("explain", "addon.spec").stdout

    write("first.yaml.skip", "")
    own_node.stop()
    own_node.start(extra=["--disable", "more,third"])
    wait_until("disabled Addons to be deleted", lambda: own_node.kubectl(
        "get", "addons", "-A", "-o", "name").stdout == "addon.k3s.cattle.io/first\n", timeout=60)
    assert not os.path.exists(os.path.join(folder, "third.yml"))
    assert "four" not in own_node.kubectl("get", "configmaps", "-o", "name").stdout
    assert value("one") == "changed"
