"""Makes functions.txt.gz: the functions of the product in the order in which the linker is to lay them out.

A server and an agent run with a breakpoint at every function (functions-used.c) while they start, rest, work and rest
again. What runs at rest comes first, then what work needs, then what only a start needs; all else follows in the linker's
own order. So a process at rest touches few pages, and a start from a slow disk reads few.

    hack/text-order/trace.py BINARY    (unstripped, not position-independent; run by `make text-order`)

A name that is no more is ignored by the linker, and a new function lies with those that never run, until this is run again.
"""

import collections
import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "Tests", "e2e"))
START, REST, WORK, REST_AGAIN = range(4)
PLACE = {REST: 0, REST_AGAIN: 1, WORK: 2, START: 3}


def functions(binary):
    """Names by address; identical functions share one."""
    names = collections.defaultdict(list)
    for line in subprocess.run(["readelf", "-sW", binary], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[3] == "FUNC" and fields[2] != "0" and fields[6] != "UND":
            names[int(fields[1], 16)].append(fields[7])
    return names


def wrapper(folder, binary):
    path = os.path.join(folder, "k3s")
    with open(path, "w") as f:
        f.write(
            f"""#!/bin/bash
case "$1" in
server | agent) exec {folder}/functions-used {folder}/used.$1 {folder}/addresses {binary} "$@" ;;
*) exec {binary} "$@" ;;
esac
"""
        )
    os.chmod(path, 0o755)
    return path


def live(cluster):
    """The life of a server and an agent, with the phases as above."""
    agent = cluster.agent()

    def next_phase():
        for machine in (agent, cluster.server):
            os.kill(machine.process.pid, signal.SIGUSR1)

    time.sleep(25)
    next_phase()
    time.sleep(75)
    next_phase()
    kubectl = cluster.server.kubectl
    kubectl("create", "deployment", "d", "--image=busybox:test", "--replicas=4", "--", "sleep", "3600")
    kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    kubectl("expose", "deployment", "d", "--port=80")
    kubectl("get", "pods,services,nodes", "-A", "-o", "wide")
    kubectl("get", "pods", "-o", "yaml")
    kubectl("describe", "pods")
    for pod in kubectl("get", "pods", "-o", "name").stdout.split():
        kubectl("logs", pod)
        kubectl("exec", pod, "--", "true")
    kubectl("scale", "deployment/d", "--replicas=2")
    kubectl("set", "env", "deployment/d", "A=b")
    kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    kubectl("delete", "deployment/d", "service/d")
    time.sleep(10)
    next_phase()
    time.sleep(40)
    for machine in (agent, cluster.server):
        machine.stop(timeout=30)


def main(binary):
    binary = os.path.abspath(binary)
    names = functions(binary)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cc", "-O2", "-o", f"{folder}/functions-used", f"{HERE}/functions-used.c"], check=True)
        with open(f"{folder}/addresses", "w") as f:
            f.writelines(f"{address:x}\n" for address in sorted(names))
        os.environ["K3S_BINARY"] = wrapper(folder, binary)
        import conftest

        cluster = conftest.Cluster("order")
        try:
            live(cluster)
        finally:
            cluster.destroy()
        rank = {}
        for role in ("server", "agent"):
            with open(f"{folder}/used.{role}") as f:
                for when, line in enumerate(f):
                    phase, address = line.split()
                    key = (PLACE[int(phase)], when)
                    address = int(address, 16)
                    rank[address] = min(rank.get(address, key), key)
    counts = collections.Counter(place for place, _ in rank.values())
    print("functions at rest %d, at rest after work %d, for work %d, for the start %d" % tuple(counts[i] for i in range(4)))
    text = "".join(f".text.{name}\n" for address in sorted(rank, key=rank.get) for name in names[address])
    with open(os.path.join(HERE, "functions.txt.gz"), "wb") as f:
        f.write(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
