"""Logs to a file, completion, and a server with everything disabled."""

import os

from conftest import BUSYBOX
from harness import BINARY, run, wait_until


def test_everything_disabled_still_runs_pods(own_node):
    own_node.flags += [
        "--disable", "coredns,servicelb,traefik", "--disable=local-storage,metrics-server,runtimes",
        "--disable-network-policy", "--disable-helm-controller", "--disable-cloud-controller"]
    own_node.start()
    own_node.kubectl("run", "p", "--image", BUSYBOX, "--command", "--", "sleep", "1000")
    wait_until("the pod to run", lambda: own_node.kubectl(
        "get", "pod", "p", "-o", "jsonpath={.status.phase}").stdout == "Running", timeout=120)
    assert own_node.kubectl("exec", "p", "--", "echo", "hello").stdout == "hello\n"
    # Nobody answers on the address of the cluster's names.
    assert "10.43.0.10" not in own_node.netns.run("ip", "address").stdout


def test_the_log_goes_to_a_file(own_node):
    path = os.path.join(own_node.dir, "log", "k3s.log")
    own_node.flags += ["--log", path, "--vmodule", "NoSuchFile=9"]
    own_node.start()
    with open(path) as f:
        assert "k3s is up and running" in f.read()
    assert "k3s is up and running" not in own_node.tail(1000)
    assert os.stat(path).st_mode & 0o777 == 0o600
    own_node.stop()
    own_node.flags += ["--alsologtostderr"]
    own_node.start()
    assert "k3s is up and running" in own_node.tail(1000)
    with open(path) as f:
        assert f.read().count("k3s is up and running") == 2
    refused = run(BINARY, "server", *own_node.node_flags(), "--log", "/proc/none/log", check=False)
    assert refused.returncode == 1 and "--log" in refused.stderr


def test_completion_in_bash(tmp_path):
    (tmp_path / "k3s").symlink_to(os.path.abspath(BINARY))
    script = """
        source <(k3s completion bash)
        complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _k3s_complete; echo "${COMPREPLY[@]}"; }
        complete_words k3s tok
        complete_words k3s secrets-encrypt rot
        complete_words k3s server --disable-ag
        complete_words k3s server --data-dir ""
    """
    out = run("bash", "-c", script, env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")).stdout
    assert out == "token\nrotate rotate-keys\n--disable-agent\n\n"
