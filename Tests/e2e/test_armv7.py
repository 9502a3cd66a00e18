"""A whole node in an ARMv7 machine of 128 MB, emulated. Needs bin/k3s-armv7 (`make armv7`)."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("K3S_ARMV7_BINARY", f"{ROOT}/bin/k3s-armv7")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: docker.io/library/busybox:test
    imagePullPolicy: Never
    command: [sh, -c, 'echo hello from $(hostname); exec sleep 100000']
"""

pytestmark = pytest.mark.skipif(not os.path.exists(BINARY), reason=f"no {BINARY}: make armv7")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machine:
    def __init__(self, folder):
        self.port = free_port()
        self.console = f"{folder}/console"
        self.process = subprocess.Popen(
            [f"{ROOT}/hack/arm/vm.sh", BINARY, str(self.port)],
            stdout=open(self.console, "wb"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def text(self):
        with open(self.console, errors="replace") as file:
            return file.read()

    def kubectl(self, *arguments, **options):
        return subprocess.run(
            ["kubectl", f"--server=https://127.0.0.1:{self.port}", "--insecure-skip-tls-verify", "--token=admin",
             "--kubeconfig=/dev/null", "--request-timeout=60s", *arguments],
            capture_output=True, text=True, timeout=120, **options,
        )  # fmt: skip

    def until(self, what, *arguments, seconds=600, **options):
        """kubectl's output once `what` is in it. An emulated machine takes its time."""
        deadline = time.monotonic() + seconds
        while True:
            run = self.kubectl(*arguments, **options)
            if run.returncode == 0 and what in run.stdout:
                return run.stdout
            assert self.process.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, f"{run.stdout}{run.stderr}\n{self.text()[-3000:]}"
            time.sleep(1)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    machine = Machine(tmp_path_factory.mktemp("armv7"))
    try:
        machine.until("armv7", "get", "nodes")
        yield machine
    finally:
        machine.stop()


def test_a_node_of_128_megabytes_runs_a_pod(machine):
    machine.until("True", "get", "node", "armv7", "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
    machine.until("arm", "get", "node", "armv7", "-o", "jsonpath={.metadata.labels.kubernetes\\.io/arch}")
    machine.until("created", "apply", "-f", "-", input=POD)
    machine.until("Running", "get", "pod", "hello", "-o", "jsonpath={.status.phase}")
    assert machine.until("hello", "logs", "hello") == "hello from hello\n"
    machine.until("inside hello", "exec", "hello", "--", "sh", "-c", "echo inside $(hostname)")
    machine.until("deleted", "delete", "pod", "hello")


def test_half_of_it_is_left_for_pods(machine):
    machine.until("True", "get", "node", "armv7", "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
    deadline = time.monotonic() + 120
    available = 0
    while available < 64 << 10 and time.monotonic() < deadline:
        time.sleep(5)
        available = int(re.findall(r"vm: MemAvailable: +(\d+) kB", machine.text())[-1])
    print(f"available: {available >> 10} MiB")
    assert available >= 64 << 10, machine.text()[-2000:]
