"""k3s secrets-encrypt: from key to key, with what is on the disk in between."""

import json
import os
import signal
import sqlite3

import pytest
from harness import BINARY, wait_until


def command(node, *args, check=True):
    return node.netns.run(BINARY, "secrets-encrypt", *args, "--server", node.url, "--data-dir", node.data, check=check)


def status(node):
    return json.loads(command(node, "status", "-o", "json").stdout)


def stored(node):
    """All that the database has of secrets, also what is superseded. The server has it for itself: restarts it."""
    node.stop()
    path = os.path.join(node.data, "server", "db", "state.db")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute("select value from log where key like '/registry/secrets/%'")
        return b"".join(row[0] for row in rows if row[0])
    finally:
        connection.close()
        node.start()


@pytest.mark.parametrize("provider", ["aescbc", "secretbox"])
def test_rotate_keys(own_node, provider):
    own_node.flags += ("--secrets-encryption", "--secrets-encryption-provider", provider)
    own_node.start()
    own_node.kubectl("create", "secret", "generic", "mine", "--from-literal=word=plain-text-word")
    rows = stored(own_node)
    assert rows.startswith(b"k8s:enc:" + provider.encode()) and b"cGxhaW4tdGV4dC13b3Jk" not in rows
    first = status(own_node)
    assert first["enable"] and first["hashmatch"] and first["stage"] == "start"
    text = command(own_node, "status").stdout
    assert "Encryption Status: Enabled" in text and "Server Encryption Hashes: All hashes match" in text
    wait_until("the node's mark", lambda: own_node.kubectl(
        "get", "nodes", "-o", "jsonpath={.items[0].metadata.annotations.k3s\\.io/encryption-config-hash}"
        ).stdout.startswith("start-"), timeout=60)
    own_node.kubectl("create", "secret", "generic", "gone", "--from-literal=a=b")
    own_node.kubectl("delete", "secret", "gone")
    command(own_node, "rotate-keys")
    second = status(own_node)
    assert second["stage"] == "reencrypt_finished" and second["activekey"] != first["activekey"]
    assert "inactivekeys" not in second
    # The old key is gone, and nothing needs it.
    own_node.stop(signal.SIGKILL)
    own_node.start()
    word = own_node.kubectl("get", "secret", "mine", "-o", "jsonpath={.data.word}").stdout
    assert word == "cGxhaW4tdGV4dC13b3Jk"
    assert "SecretsUpdateComplete" in own_node.kubectl("get", "events").stdout


def test_the_classic_way_and_disabling(own_node):
    own_node.flags += ("--secrets-encryption",)
    own_node.start()
    own_node.kubectl("create", "secret", "generic", "mine", "--from-literal=word=plain-text-word")
    refused = command(own_node, "rotate", check=False)
    assert refused.returncode == 1 and "incorrect stage: start found on node" in refused.stderr
    for verb, said in [("prepare", "prepare completed successfully"), ("rotate", "rotate completed successfully"),
                       ("reencrypt", "reencryption started")]:
        assert command(own_node, verb).stdout.strip() == said
        own_node.restart()
    wait_until("the end of reencryption", lambda: status(own_node)["stage"] in ("reencrypt_finished", "rotate"), timeout=60)
    assert command(own_node, "disable").stdout.strip() == "secrets-encryption disabled"
    assert not status(own_node)["enable"]
    assert b"cGxhaW4tdGV4dC13b3Jk" in stored(own_node)
    own_node.restart()
    assert own_node.kubectl("get", "secret", "mine", "-o", "jsonpath={.data.word}").stdout == "cGxhaW4tdGV4dC13b3Jk"
    assert command(own_node, "enable").stdout.strip() == "secrets-encryption enabled"
    own_node.kubectl("delete", "secret", "mine")


def test_without_encryption(own_node):
    own_node.start()
    assert command(own_node, "status").stdout.strip() == "Encryption Status: Disabled, no configuration file found"
    refused = command(own_node, "rotate-keys", check=False)
    assert refused.returncode == 1 and "--secrets-encryption" in refused.stderr
