#!/usr/bin/env python3
"""The API server's figures: starts `k3s server --disable-agent` with an empty data directory on a port of loopback and has
api-exerciser measure it.  Usage: bench_api.py K3S EXERCISER [quick]"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(port, tls, process):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server has ended with {process.returncode}")
        try:
            context.load_cert_chain(f"{tls}/client-admin.crt", f"{tls}/client-admin.key")
            urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=context, timeout=5).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not become ready")


def main():
    k3s, exerciser, *rest = sys.argv[1:]
    folder = tempfile.mkdtemp(prefix="k3s-bench-api-")
    port = free_port()
    tls = f"{folder}/data/server/tls"
    log = open(f"{folder}/log", "wb")
    server = subprocess.Popen(
        [k3s, "server", "--disable-agent", "--data-dir", f"{folder}/data", "--bind-address", "127.0.0.1",
         "--advertise-address", "127.0.0.1", "--node-ip", "127.0.0.1", "--https-listen-port", str(port),
         "--write-kubeconfig", f"{folder}/kubeconfig"],
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        wait_ready(port, tls, server)
        # Idle is what it is after it has given back what the start took, which is also what it comes back to.
        time.sleep(45)
        print("API server (8 clients over TLS, ConfigMaps of 1 KB, SQLite with full durability)")
        if os.environ.get("BENCH_PAUSE"):
            print(server.pid, port, tls, flush=True)
            time.sleep(float(os.environ["BENCH_PAUSE"]))
        subprocess.run([exerciser, str(server.pid), str(port), tls, *rest], check=True)
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(30)
        shutil.rmtree(folder)


main()
