"""logs, exec, attach, port-forward, cp: over WebSocket as kubectl does by default, and over SPDY as older clients do."""

import os
import pty
import select
import subprocess
import time

import pytest
from harness import wait_until

TALKER = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:test
    command: [sh, -c, "i=0; while :; do i=$((i+1)); echo line $i; echo err $i >&2; sleep 0.2; done"]
  - {name: web, image: "web:test"}
"""

OLD = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


@pytest.fixture
def talker(ns):
    ns.apply(TALKER)
    ns("wait", "pod/talker", "--for=condition=Ready", "--timeout=60s")
    return ns


@pytest.fixture(params=["websocket", "spdy"])
def environment(request, node):
    return dict(node.environment(), **(OLD if request.param == "spdy" else {}))


def popen(ns, *args, env, **kw):
    return subprocess.Popen(ns.node.kubectl_command("-n", ns.name, *args), env=env, **kw)


def test_logs(talker):
    ns = talker
    wait_until("lines", lambda: ns("logs", "talker", "-c", "c").stdout.count("line") > 4)
    assert len(ns("logs", "talker", "-c", "c", "--tail=2").stdout.splitlines()) == 2
    stamped = ns("logs", "talker", "-c", "c", "--tail=1", "--timestamps").stdout
    assert stamped[:4].isdigit() and "T" in stamped
    assert ns("logs", "talker", "-c", "c", "--since=1s").stdout.count("line") < 20
    follower = popen(ns, "logs", "-f", "talker", "-c", "c", "--tail=0", env=ns.node.environment(), stdout=subprocess.PIPE, text=True)
    lines = [follower.stdout.readline() for _ in range(6)]
    follower.kill()
    follower.wait()
    assert all(line.startswith(("line", "err")) for line in lines)
    missing = ns("logs", "talker", "-c", "nope", check=False)
    assert "container nope is not valid for pod talker" in missing.stderr
    many = ns("logs", "talker", check=False)
    assert "Defaulted container" in many.stderr


def test_exec(talker, environment):
    ns = talker

    def sh(*args, **kw):
        process = popen(
            ns, "exec", *args, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate(timeout=30, **kw)
        return process.returncode, out, err

    assert sh("talker", "-c", "c", "--", "sh", "-c", "echo out; echo err >&2; exit 7")[:2] == (7, "out\n")
    assert sh("talker", "-c", "c", "--", "sh", "-c", "echo err >&2")[2].startswith("err")
    assert sh("-i", "talker", "-c", "c", "--", "cat", input="x" * 300_000)[1] == "x" * 300_000
    code, _, err = sh("talker", "-c", "c", "--", "no-such-command")
    assert code != 0 and "executable file not found in $PATH" in err
    code, _, err = sh("talker", "-c", "nope", "--", "true")
    assert code == 1 and "container" in err


def test_exec_with_a_terminal(talker, environment):
    ns = talker
    master, slave = pty.openpty()
    process = popen(ns, "exec", "-it", "talker", "-c", "c", "--", "sh", env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""

    def read_until(text, timeout=15):
        nonlocal seen
        deadline = time.monotonic() + timeout
        while text not in seen and time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    seen += os.read(master, 4096)
                except OSError:
                    break
        assert text in seen, seen

    read_until(b"# ")
    os.write(master, b"tty; echo a$((20+22))b\n")
    read_until(b"a42b")
    assert b"/dev/pts/" in seen or b"/dev/console" in seen
    os.write(master, b"exit 5\n")
    assert process.wait(15) == 5
    os.close(master)


def test_attach(ns, environment):
    ns.apply("""
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", stdin: true, command: [cat]}]
""")
    ns("wait", "pod/echo", "--for=condition=Ready", "--timeout=60s")
    process = popen(ns, "attach", "-i", "echo", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    process.stdin.write(b"round trip\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"round trip\n"
    process.kill()
    process.wait()
    assert ns("logs", "echo").stdout == "round trip\n"


def test_port_forward(talker, environment):
    ns = talker
    process = popen(
        ns, "port-forward", "pod/talker", "18080:8080", "--address=127.0.0.1", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert "Forwarding from" in process.stdout.readline()
        for _ in range(5):
            assert ns.node.netns.run("curl", "-s", "-m", "5", "http://127.0.0.1:18080/").stdout == "hello\n"
    finally:
        process.kill()
        process.wait()


def test_copy(talker, tmp_path):
    ns = talker
    source = tmp_path / "file"
    source.write_bytes(os.urandom(200_000))
    # busybox here has no tar; a plain pipe does the same work as kubectl cp.
    process = popen(
        ns, "exec", "-i", "talker", "-c", "c", "--", "sh", "-c", "cat > /tmp/f && sha256sum /tmp/f", env=ns.node.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = process.communicate(source.read_bytes(), timeout=30)
    import hashlib

    assert out.split()[0].decode() == hashlib.sha256(source.read_bytes()).hexdigest()
