"""From an API write to the rule that follows from it: run in a node's network namespace with its kubeconfig.

Prints the median milliseconds from before the PATCH of an EndpointSlice is sent to the kernel's message that an element of
the service proxy's map was added, as `nft monitor` sees it, and those to the API's answer.
"""

import base64
import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import yaml

SERVICE = {"metadata": {"name": "watched"}, "spec": {"ports": [{"port": 80}]}}
SLICE = {
    "metadata": {"name": "watched-1", "labels": {"kubernetes.io/service-name": "watched"}},
    "addressType": "IPv4",
    "ports": [{"port": 80, "protocol": "TCP", "name": ""}],
    "endpoints": [{"addresses": ["10.42.9.1"], "conditions": {"ready": True}}],
}


def connect(kubeconfig):
    with open(kubeconfig) as f:
        config = yaml.safe_load(f)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        for name in ("certificate", "key"):
            with open(os.path.join(folder, name), "wb") as f:
                f.write(base64.b64decode(user[f"client-{name}-data"]))
        context.load_cert_chain(os.path.join(folder, "certificate"), os.path.join(folder, "key"))
    host, port = cluster["server"].removeprefix("https://").split(":")
    return http.client.HTTPSConnection(host, int(port), context=context, timeout=10)


def send(connection, method, path, body, kind="application/json"):
    connection.request(method, path, json.dumps(body), {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {text[:300]}")


def main():
    connection = connect(sys.argv[1])
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    send(connection, "POST", "/api/v1/namespaces/default/services", SERVICE)
    send(connection, "POST", slices, SLICE)
    time.sleep(1)
    monitor = subprocess.Popen(["stdbuf", "-oL", "nft", "monitor", "new", "elements"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    rules, answers = [], []
    for number in range(2, 13):
        address = f"10.42.9.{number}"
        started = time.monotonic()
        change = {"endpoints": [{"addresses": [address], "conditions": {"ready": True}}]}
        send(connection, "PATCH", slices + "/watched-1", change, "application/merge-patch+json")
        answers.append((time.monotonic() - started) * 1000)
        for line in monitor.stdout:
            if address in line and "k3s-proxy" in line:
                break
        rules.append((time.monotonic() - started) * 1000)
        time.sleep(0.1)
    monitor.kill()
    monitor.wait()
    print(json.dumps({"rule": statistics.median(rules), "answer": statistics.median(answers)}))


if __name__ == "__main__":
    main()
