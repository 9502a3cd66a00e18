"""Deployments, pods and services with the real kubectl."""

import json
import os
import subprocess
import time

from harness import run, wait_until

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: web:test
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {memory: 32Mi}}
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: %s
  containers:
  - name: main
    image: busybox:test
    command: ["sh", "-c", %s]
"""


def pod(name, script, restart="Always"):
    return POD % (name, restart, json.dumps(script))


def test_a_deployment_runs_and_is_reached_through_its_service(ns):
    ns.apply(DEPLOYMENT)
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    ns("expose", "deployment", "web", "--port=80", "--target-port=http")
    address = ns.jsonpath("service", "web", "{.spec.clusterIP}")
    assert address.startswith("10.43.")
    wait_until("two endpoints", lambda: len(ns.jsonpath("endpoints", "web", "{.subsets[*].addresses[*].ip}").split()) == 2)
    slices = ns.jsonpath("endpointslices", "{.items[*].endpoints[*].addresses[0]}").split()
    assert sorted(slices) == sorted(ns.jsonpath("endpoints", "web", "{.subsets[*].addresses[*].ip}").split())
    ns.apply(pod("client", "sleep 600"))
    ns("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")

    # Debian's static busybox has a wget that needs the C library's name service; nc does not.
    def fetch(pod):
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} 80"
        return ns("exec", pod, "--", "sh", "-c", script, check=False)

    wait_until("an answer", lambda: fetch("client").stdout.endswith("hello\n"))
    # A pod reaches itself through its service as well (hairpin), and the host does.
    first = ns.jsonpath("pods", "-l", "app=web", "{.items[0].metadata.name}")
    wait_until("an answer to itself", lambda: fetch(first).stdout.endswith("hello\n"))
    assert ns.node.netns.run("curl", "-s", "-m", "3", f"http://{address}/").stdout == "hello\n"
    # With no endpoint left the connection is refused at once, not timed out.
    ns("scale", "deployment/web", "--replicas=0")
    ns("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=60s")
    wait_until("refusal", lambda: "refused" in fetch("client").stderr)
    rules = ns.node.netns.run("nft", "list", "ruleset").stdout
    assert "table" in rules and address in rules


def test_scale_roll_undo_restart_pause(ns):
    ns.apply(DEPLOYMENT)
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    ns("scale", "deployment/web", "--replicas=4")
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    wait_until("four", lambda: ns.jsonpath("deployment", "web", "{.status.readyReplicas}") == "4")
    ns("set", "env", "deployment/web", "COLOR=blue")
    ns("rollout", "status", "deployment/web", "--timeout=90s")
    history = ns("rollout", "history", "deployment/web").stdout
    assert "1 " in history and "2 " in history
    sets = json.loads(ns("get", "rs", "-o", "json").stdout)["items"]
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 4]
    ns("rollout", "undo", "deployment/web")
    ns("rollout", "status", "deployment/web", "--timeout=90s")
    assert "COLOR" not in ns.jsonpath("deployment", "web", "{.spec.template.spec.containers[0].env}")
    before = ns.jsonpath("deployment", "web", "{.metadata.annotations.deployment\\.kubernetes\\.io/revision}")
    assert before == "3"
    ns("rollout", "pause", "deployment/web")
    ns("set", "env", "deployment/web", "COLOR=red")
    time.sleep(1)
    assert len(json.loads(ns("get", "rs", "-o", "json").stdout)["items"]) == 2
    ns("rollout", "resume", "deployment/web")
    ns("rollout", "status", "deployment/web", "--timeout=90s")
    ns("rollout", "restart", "deployment/web")
    ns("rollout", "status", "deployment/web", "--timeout=90s")
    assert "Available" in ns("describe", "deployment", "web").stdout
    ns("delete", "deployment", "web")
    wait_until("pods gone", lambda: ns("get", "pods", "-o", "name").stdout == "", timeout=60)
    assert ns("get", "rs", "-o", "name").stdout == ""


def test_a_rollout_to_a_bad_image_keeps_the_old_pods(ns):
    ns.apply(DEPLOYMENT)
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    ns("patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:missing","imagePullPolicy":"Never"}]}}}}')
    wait_until("ErrImageNeverPull", lambda: "ErrImageNeverPull" in ns("get", "pods").stdout)
    assert ns.jsonpath("deployment", "web", "{.status.availableReplicas}") == "2"
    ns("rollout", "undo", "deployment/web")
    ns("rollout", "status", "deployment/web", "--timeout=60s")


def test_output_forms(ns):
    ns.apply(DEPLOYMENT)
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    table = ns("get", "deployment", "web").stdout.split("\n")
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:4] == ["web", "2/2", "2", "2"]
    wide = ns("get", "pods", "-o", "wide").stdout.split("\n")
    assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert wide[1].split()[1:4] == ["1/1", "Running", "0"]
    assert "10.42.0." in wide[1] and "node-1" in wide[1]
    assert "kind: Deployment" in ns("get", "deployment", "web", "-o", "yaml").stdout
    assert json.loads(ns("get", "deployment", "web", "-o", "json").stdout)["spec"]["replicas"] == 2
    assert ns("get", "all").stdout.count("web") >= 4
    assert "NAMESPACE" in ns("get", "pods", "-A").stdout
    assert ns("get", "pods", "-l", "app=nope").stderr.startswith("No resources found")
    assert "Ready" in ns.node.kubectl("get", "nodes", "-o", "wide").stdout
    description = ns("describe", "pod/" + wide[1].split()[0]).stdout
    assert "Scheduled" in description and "Started" in description and "Successfully assigned" in description


def test_watch_shows_changes(ns):
    watch = subprocess.Popen(
        ns.node.kubectl_command("-n", ns.name, "get", "pods", "-w", "--no-headers"), stdout=subprocess.PIPE, text=True, env=ns.node.environment()
    )
    try:
        time.sleep(1)
        ns.apply(pod("short", "echo done", "Never"))
        seen = []
        while not any("Completed" in line for line in seen) and len(seen) < 20:
            seen.append(watch.stdout.readline())
        assert any("ContainerCreating" in line or "Pending" in line for line in seen), seen
    finally:
        watch.kill()
        watch.wait()


def test_label_annotate_patch_edit_replace(ns):
    ns("create", "configmap", "c", "--from-literal=a=1")
    ns("label", "configmap", "c", "x=y")
    ns("annotate", "configmap", "c", "note=hi")
    ns("patch", "configmap", "c", "--type=json", "-p", '[{"op":"add","path":"/data/b","value":"2"}]')
    ns("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"a":null}}')
    assert json.loads(ns.jsonpath("configmap", "c", "{.data}")) == {"b": "2"}
    env = dict(ns.node.environment(), KUBE_EDITOR="sed -i s/b:/edited:/")
    run(*ns.node.kubectl_command("-n", ns.name, "edit", "configmap", "c"), env=env)
    assert "edited" in ns.jsonpath("configmap", "c", "{.data}")
    text = ns("get", "configmap", "c", "-o", "yaml").stdout
    ns("replace", "-f", "-", input=text.replace('"2"', '"3"'))
    assert '"3"' in ns.jsonpath("configmap", "c", "{.data}")
    ns("label", "configmap", "c", "x-")
    assert ns.jsonpath("configmap", "c", "{.metadata.labels}") == ""


def test_questions_about_the_api(node, ns):
    resources = node.kubectl("api-resources").stdout
    for name in ("pods", "deployments", "endpointslices", "leases", "rolebindings"):
        assert name in resources
    assert "apps/v1" in node.kubectl("api-versions").stdout
    assert "replicas" in node.kubectl("explain", "deployment.spec").stdout
    assert "KIND:" in node.kubectl("explain", "pod.spec.containers").stdout
    assert node.kubectl("auth", "can-i", "create", "pods").stdout.strip() == "yes"
    denied = node.kubectl("auth", "can-i", "list", "secrets", "--as", "nobody", check=False)
    assert denied.stdout.strip() == "no"
    assert "system:admin" in node.kubectl("auth", "whoami").stdout
    assert "v1.36" in node.kubectl("version").stdout
    assert "is running at" in node.kubectl("cluster-info").stdout


def test_rbac_refuses_what_no_role_allows(ns):
    refused = ns("get", "pods", "--as", "jane", check=False)
    assert 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace' in refused.stderr
    ns("create", "role", "reader", "--verb=get,list", "--resource=pods")
    ns("create", "rolebinding", "jane", "--role=reader", "--user=jane")
    wait_until("allowed", lambda: ns("get", "pods", "--as", "jane", check=False).returncode == 0)
    assert ns("delete", "pod", "x", "--as", "jane", check=False).returncode != 0


def test_a_pod_restarts_and_backs_off(ns):
    ns.apply(pod("crash", "echo once; exit 3"))
    wait_until("CrashLoopBackOff", lambda: "CrashLoopBackOff" in ns("get", "pod", "crash").stdout, timeout=60)
    status = json.loads(ns("get", "pod", "crash", "-o", "json").stdout)["status"]["containerStatuses"][0]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert ns("logs", "crash", "--previous").stdout == "once\n"
    assert "BackOff" in ns("get", "events").stdout


def test_run_to_completion(ns):
    ns.apply(pod("once", "echo bye; exit 0", "Never"))
    ns("wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert ns("logs", "once").stdout == "bye\n"
    assert "Completed" in ns("get", "pod", "once").stdout
    ns.apply(pod("fails", "exit 7", "OnFailure").replace("OnFailure", "Never"))
    ns("wait", "pod/fails", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    assert ns.jsonpath("pod", "fails", "{.status.containerStatuses[0].state.terminated.exitCode}") == "7"


def test_kubectl_run_with_input(ns):
    done = ns("run", "-i", "--rm", "echo", "--image=busybox:test", "--restart=Never", "--", "cat", input="through\n", timeout=60)
    assert "through" in done.stdout


def test_memory_limit_ends_in_oomkilled(ns):
    text = pod("greedy", "exec tail -c 100m /dev/zero", "Never")
    ns.apply(text.replace("    command:", "    resources: {limits: {memory: 16Mi}}\n    command:"))
    reason = "{.status.containerStatuses[0].state.terminated.reason}"
    wait_until("end", lambda: ns.jsonpath("pod", "greedy", reason), timeout=60)
    assert ns.jsonpath("pod", "greedy", reason) == "OOMKilled"


def test_twenty_replicas(ns):
    ns.apply(DEPLOYMENT.replace("replicas: 2", "replicas: 20"))
    ns("rollout", "status", "deployment/web", "--timeout=120s")
    addresses = ns.jsonpath("pods", "-l", "app=web", "{.items[*].status.podIP}").split()
    assert len(set(addresses)) == 20


def test_deleting_a_namespace_takes_everything_with_it(node):
    node.kubectl("create", "namespace", "doomed")
    node.kubectl("-n", "doomed", "apply", "-f", "-", input=DEPLOYMENT)
    node.kubectl("-n", "doomed", "rollout", "status", "deployment/web", "--timeout=60s")
    node.kubectl("delete", "namespace", "doomed", "--timeout=60s", timeout=90)
    assert node.kubectl("get", "pods", "-n", "doomed", "-o", "name").stdout == ""
    leftover = [m for m in open("/proc/mounts") if "doomed" in m]
    assert leftover == []
    assert os.path.isdir(os.path.join(node.dir, "logs"))
    wait_until("logs gone", lambda: not [d for d in os.listdir(os.path.join(node.dir, "logs")) if d.startswith("doomed_")])
