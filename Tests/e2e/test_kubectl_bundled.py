"""`k3s kubectl` against the real kubectl: the same command lines, each in a namespace of its own, print the same."""

import os
import re
import shlex
import subprocess

import harness
import pytest
from harness import WORK, run

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {app: x}}\ndata: {a: '%s', keep: '1'}\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: %s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: %s
        command: [sh, -c, "echo started; exec sleep 600"]
        env: [{name: A, value: "1"}]
        ports: [{containerPort: 80, name: http}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{name: init, image: "busybox:test", command: [sh, -c, "echo from init"]}]
  containers:
  - {name: a, image: "busybox:test", command: [sh, -c, "echo from a; echo again; exec sleep 600"]}
  - {name: b, image: "busybox:test", command: [sh, -c, "echo from b; exec sleep 600"]}
"""
IMAGE = "docker.io/library/busybox:test"

# Lines as a user types them; the second part is standard input. A line that begins with "?" is of one tool as good as of
# the other, and prepares the ground: its output is not compared.
SCRIPTS = {
    "get": [
        ("? apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("? create configmap one --from-literal=a=b",),
        ("? create configmap two --from-literal=a=c --from-literal=b=d",),
        ("? label configmap two app=x tier=back",),
        ("get pods",),
        ("get po,svc",),
        ("get nodes",),
        ("get nodes -o name",),
        ("get configmaps",),
        ("get cm one two",),
        ("get configmap/one deployment/web",),
        ("get cm one nothing",),
        ("get cm nothing",),
        ("get cm nothing --ignore-not-found",),
        ("get nonsense",),
        ("get",),
        ("get cm one -o name",),
        ("get cm,deploy",),
        ("get deploy,cm -o name",),
        ("get deployments.apps",),
        ("get deployments.v1.apps web",),
        ("get deploy -o wide",),
        ("get cm --show-labels",),
        ("get cm -L app,tier",),
        ("get cm -l app=x",),
        ("get cm -l app=nothing",),
        ("get cm --no-headers",),
        ("get cm --sort-by=.metadata.name",),
        ("get cm --field-selector metadata.name=one",),
        ("get all",),
        ("get cm one -o json",),
        ("get cm one -o yaml",),
        ("get cm -o yaml",),
        ("get cm one two -o json",),
        ("get cm two -o jsonpath={.data.a}",),
        ("get cm -o 'jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.data}{\"\\n\"}{end}'",),
        ("get cm two -o 'jsonpath={.data.*}'",),
        ("get cm -o 'jsonpath={.items[?(@.metadata.name==\"two\")].data.b}'",),
        ("get cm -o 'jsonpath={.items[-1:].metadata.name} {..b}'",),
        ("get cm two -o jsonpath-as-json={.data}",),
        ("get cm -o custom-columns=NAME:.metadata.name,A:.data.a,NONE:.data.none",),
        ("get cm -o custom-columns=N:metadata.name --no-headers",),
        ("get deploy web -o 'jsonpath={.spec.template.spec.containers[*].env[0].value}'",),
        ("get cm one -o nonsense",),
        ("get pods --nonsense",),
        ("get pods -z",),
        ("get ns default",),
        ("get ns/default -o name",),
        ("get pods --namespace",),
        ("get sa default -n kube-system",),
        ("get storageclass nothing",),
        ("get deploy web --subresource=scale -o jsonpath={.kind}",),
        ("get --raw /version/nothing",),
        ("get pods one/two",),
        ("get cm one -A",),
    ],
    "apply": [
        ("apply -f -", CONFIG % ("one", "v")),
        ("apply -f -", CONFIG % ("one", "v")),
        ("apply -f -", CONFIG % ("one", "w")),
        ("get cm one -o jsonpath={.data}{.metadata.annotations}",),
        ("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: z}\n"),
        ("get cm one -o jsonpath={.data}{.metadata.labels}",),
        ("apply -f - --dry-run=client", CONFIG % ("two", "v")),
        ("apply -f - --dry-run=server", CONFIG % ("two", "v")),
        ("apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("? patch deploy web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"busybox:test\"}]}}}}'",),
        ("apply -f -", (DEPLOYMENT % ("0", IMAGE)).replace('value: "1"', 'value: "2"')),
        ("get deploy web -o 'jsonpath={.spec.template.spec.containers[*].name} {.spec.template.spec.containers[*].env}'",),
        ("apply -f -", (DEPLOYMENT % ("0", IMAGE)).replace("{app: web}}\n  template", "{app: other}}\n  template")),
        ("apply -f -", "apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n"),
        ("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n"),
        ("apply -f -", "kind: ConfigMap\nmetadata: {name: x}\n"),
        ("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, nonsense: y}\n"),
        ("apply -f /nowhere.yaml",),
        ("apply",),
        ("? create configmap plain --from-literal=a=b",),
        ("apply -f -", CONFIG % ("plain", "v")),
        ("apply --server-side -f -", CONFIG % ("served", "v")),
        ("? patch cm served -p '{\"data\":{\"a\":\"mine\"}}' --field-manager=other",),
        ("apply --server-side -f -", CONFIG % ("served", "q")),
        ("apply --server-side --force-conflicts -f -", CONFIG % ("served", "q")),
        ("apply --prune -l app=x --prune-allowlist=core/v1/ConfigMap -f -", CONFIG % ("plain", "v")),
        ("apply --prune -f -", CONFIG % ("plain", "v")),
        ("apply view-last-applied cm plain",),
        ("apply -f - -o name", CONFIG % ("plain", "v")),
        ("apply -f - -o jsonpath={.data.a}", CONFIG % ("plain", "v2")),
    ],
    "create": [
        ("create -f -", CONFIG % ("one", "v")),
        ("create -f -", CONFIG % ("one", "v")),
        ("create configmap m --from-literal=a=b --from-literal=c=d",),
        ("create configmap m --from-literal=a=b",),
        ("create configmap d --from-literal=a=b --dry-run=client -o yaml",),
        ("create configmap d --from-literal=a=b --dry-run=client",),
        ("create configmap d --from-literal=a=b --dry-run=server",),
        ("create configmap",),
        ("create secret generic s --from-literal=user=me --dry-run=client -o yaml",),
        ("create secret generic s --from-literal=user=me",),
        ("create secret docker-registry r --docker-username=u --docker-password=p --dry-run=client -o yaml",),
        ("create deployment d --image=nginx:1 --replicas=0",),
        ("create deployment d2 --image=registry:5000/x/nginx:1 --port=80 --dry-run=client -o yaml -- sh -c true",),
        ("create deployment d3",),
        ("create job j --image=busybox:test --dry-run=client -o yaml -- true",),
        ("create cronjob c --image=busybox:test --schedule='0 0 1 1 *' -- true",),
        ("create cronjob c2 --image=busybox:test --schedule='0 0 1 1 *' --dry-run=client -o yaml -- true",),
        ("create job from-c --from=cronjob/c --dry-run=client -o jsonpath={.spec.template.spec.containers[0].command}",),
        ("create role r --verb=get,list --resource=pods,deployments.apps --dry-run=client -o yaml",),
        ("create role r --verb=get --resource=pods/log",),
        ("create rolebinding rb --role=r --user=jane",),
        ("create rolebinding rb2 --clusterrole=view --serviceaccount=default:x --dry-run=client -o yaml",),
        ("create clusterrole nothing --verb=get --resource=nodes --dry-run=client -o yaml",),
        ("create clusterrolebinding nothing --clusterrole=view --group=g --dry-run=client -o yaml",),
        ("create quota q --hard=pods=10,cpu=1",),
        ("create quota q2 --hard=pods=10 --dry-run=client -o yaml",),
        ("create poddisruptionbudget p --selector=app=d --min-available=1",),
        ("create pdb p2 --selector=app=d --max-unavailable=10% --dry-run=client -o yaml",),
        ("create priorityclass nothing --value=1000 --dry-run=client -o yaml",),
        ("create ingress i --rule=foo.com/*=svc:80 --rule=foo.com/x=other:http,tls=s --dry-run=client -o yaml",),
        ("create service clusterip svc --tcp=80:8080",),
        ("create service nodeport np --tcp=80 --dry-run=client -o yaml",),
        ("create service externalname en --external-name=example.com --dry-run=client -o yaml",),
        ("create serviceaccount robot",),
        ("create namespace",),
        ("create namespace default",),
        ("create namespace n --dry-run=client -o yaml",),
        ("create -f /nowhere.yaml",),
        ("create",),
        ("create token nobody",),
    ],
    "change": [
        ("? create configmap m --from-literal=a=b",),
        ("? apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("label cm m x=y",),
        ("label cm m x=y",),
        ("label cm m x=z",),
        ("label cm m x=z --overwrite",),
        ("label cm m x- nothing-",),
        ("label cm m",),
        ("label cm --all all=yes",),
        ("label cm m --list",),
        ("annotate cm m note=text",),
        ("annotate cm m note=other",),
        ("annotate cm m note-",),
        ("patch cm m -p '{\"data\":{\"a\":\"c\"}}'",),
        ("patch cm m -p '{\"data\":{\"a\":\"c\"}}'",),
        ("patch cm m --type=merge -p 'data: {a: d}'",),
        ("patch cm m --type=json -p '[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":\"x\"}]'",),
        ("patch cm m --type=json -p '[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"x\"}]' -o jsonpath={.data}",),
        ("patch cm m",),
        ("patch cm nothing -p '{}'",),
        ("patch deploy web --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":0}}'",),
        ("replace -f -", CONFIG % ("m", "replaced")),
        ("get cm m -o jsonpath={.data}",),
        ("replace -f -", CONFIG % ("nothing", "replaced")),
        ("scale deploy web --replicas=0",),
        ("scale deploy/web",),
        ("scale deploy nothing --replicas=1",),
        ("scale deploy/web --replicas=1 --current-replicas=5",),
        ("rollout pause deploy/web",),
        ("rollout pause deploy/web",),
        ("rollout resume deploy/web",),
        ("rollout resume deploy/web",),
        ("rollout history deploy/web",),
        ("rollout status deploy/web",),
        ("? patch deploy web -p '{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"v\":\"2\"}}}}}'",),
        ("? rollout status deploy/web",),
        ("rollout history deployment web",),
        ("rollout undo deploy/web",),
        ("? rollout status deploy/web",),
        ("get deploy web -o jsonpath={.spec.template.metadata.labels}",),
        ("rollout undo deploy/web --to-revision=77",),
        ("rollout restart deploy/web",),
        ("wait --for=jsonpath={.spec.replicas}=0 deploy/web --timeout=20s",),
        ("wait --for=condition=Available deploy/web --timeout=20s",),
        ("wait --for=condition=Nonsense deploy/web --timeout=1s",),
        ("wait --for=delete cm/nothing --timeout=2s",),
        ("wait --for=condition=Ready pod/nothing --timeout=1s",),
        ("wait --for=create cm/m --timeout=2s",),
        ("wait pods",),
    ],
    "delete": [
        ("? create configmap a",),
        ("? create configmap b",),
        ("? create configmap c",),
        ("? label cm b c x=y",),
        ("delete cm a --dry-run=client",),
        ("delete cm a --dry-run=server",),
        ("delete cm a",),
        ("delete cm a",),
        ("delete cm a --ignore-not-found",),
        ("delete cm -l x=y",),
        ("delete cm -l x=y",),
        ("delete cm",),
        ("delete",),
        ("delete cm/kube-root-ca.crt cm/nothing -o name",),
        ("? apply -f -", CONFIG % ("f", "v")),
        ("delete -f -", CONFIG % ("f", "v")),
        ("delete -f -", CONFIG % ("f", "v")),
        ("? apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("delete deploy web --cascade=orphan",),
        ("get rs -o 'jsonpath={.items[*].metadata.ownerReferences}'",),
        ("delete rs --all --cascade=nonsense",),
    ],
    "pods": [
        ("? apply -f -", POD),
        ("wait --for=condition=Ready pod/two --timeout=60s",),
        ("logs two -c a",),
        ("logs two",),
        ("logs two -c init",),
        ("logs two --all-containers",),
        ("logs two --all-containers --prefix",),
        ("logs two -c a --tail=1",),
        ("logs two -c nothing",),
        ("logs nothing",),
        ("logs",),
        ("logs -l app=two -c b",),
        ("logs two -c a --previous",),
        ("exec two -c b -- echo hello",),
        ("exec two -- sh -c 'echo out; echo err >&2; exit 3'",),
        ("exec -i two -c a -- cat", "text\n"),
        ("exec two -- nonsense",),
        ("cp /etc/hostname two:/tmp/name -c a",),
        ("exec two -c a -- wc -l /tmp/name",),
        ("cp two:/etc/nothing /tmp/k3s-cp-nothing -c a",),
        ("cp /nowhere two:/tmp/x -c a",),
        ("cp one two",),
        ("exec two",),
        ("exec two -c nothing -- true",),
        ("? apply -f -", DEPLOYMENT % ("1", IMAGE)),
        ("rollout status deploy/web --timeout=60s",),
        ("logs deploy/web",),
        ("exec deploy/web -- echo hi",),
        ("? scale deploy/web --replicas=0",),
        ("wait --for=delete pod -l app=web --timeout=60s",),
        ("delete pod two --now",),
    ],
    "describe": [
        ("? apply -f -", POD),
        ("? apply -f -", DEPLOYMENT % ("1", IMAGE)),
        ("? wait --for=condition=Ready pod/two --timeout=60s",),
        ("? rollout status deploy/web --timeout=60s",),
        ("? create configmap m --from-literal=a=b",),
        ("? create secret generic s --from-literal=user=me",),
        ("? create quota q --hard=pods=10",),
        ("? create role r --verb=get,list --resource=pods,deployments.apps",),
        ("? create rolebinding rb --role=r --user=jane",),
        ("? create cronjob c --image=busybox:test --schedule='0 0 1 1 *' -- true",),
        ("? create service clusterip svc --tcp=80:8080",),
        ("? create ingress i --rule=foo.com/*=svc:80",),
        ("? create poddisruptionbudget p --selector=app=d --min-available=1",),
        ("describe pod two --show-events=false",),
        ("describe deploy web --show-events=false",),
        ("describe rs -l app=web --show-events=false",),
        ("describe cm m",),
        ("describe secret s",),
        ("describe quota q",),
        ("describe role r",),
        ("describe rolebinding rb",),
        ("describe cronjob c --show-events=false",),
        ("describe service svc",),
        ("describe sa default",),
        ("describe ns default",),
        ("describe endpointslices -l kubernetes.io/service-name=svc",),
        ("describe lease nothing",),
        ("describe pod nothing",),
        ("describe ds",),
        ("describe priorityclass system-node-critical",),
        ("describe",),
        ("describe pdb p --show-events=false",),
    ],
    "rest": [
        ("run p --image=busybox:test --restart=Never --env=A=b --port=80 --dry-run=client -o yaml -- sleep 1",),
        ("run p --image=busybox:test --labels=a=b --command --dry-run=client -o yaml -- sleep 1",),
        ("run p",),
        ("run p --image=x --restart=Sometimes",),
        ("run p --image=busybox:test --restart=Never -- true",),
        ("? apply -f -", DEPLOYMENT % ("0", IMAGE)),
        ("expose deploy web --port=80",),
        ("expose deploy web --port=80",),
        ("expose deploy web --name=web2 --type=NodePort --target-port=http --dry-run=client -o yaml",),
        ("expose cm kube-root-ca.crt",),
        ("set image deploy/web web=other:1",),
        ("set image deploy/web nothing=other:1",),
        ("autoscale deploy web --min=1 --max=3 --cpu=50%",),
        ("auth can-i create pods",),
        ("auth can-i create pods --as=jane",),
        ("auth can-i get nodes",),
        ("auth can-i get nonsense",),
        ("auth can-i create",),
        ("auth whoami",),
        ("auth whoami -o jsonpath={.status.userInfo.username}",),
        ("config current-context",),
        ("config get-contexts",),
        ("config get-contexts -o name",),
        ("config view",),
        ("config view --minify -o jsonpath={.clusters[0].name}",),
        ("config use-context nothing",),
        ("taint node node-1 a=b:NoNonsense",),
        ("taint node node-1 a-",),
        ("taint node node-1 a=b:PreferNoSchedule --dry-run=client",),
        ("cordon node-1 --dry-run=client",),
        ("uncordon node-1",),
        ("uncordon nothing",),
        ("explain deployment.spec.replicas",),
        ("explain pod.spec.nonsense",),
        ("explain configmap",),
        ("explain pod.spec.containers.ports",),
        ("explain nonsense",),
        ("? create configmap m --from-literal=a=b",),
        ("diff -f -", CONFIG % ("m", "w")),
        ("top pods nothing",),
    ],
    "server": [
        ("api-versions",),
        ("api-resources",),
        ("api-resources -o wide --namespaced=false",),
        ("api-resources -o name --api-group=apps",),
        ("cluster-info",),
    ],
}  # fmt: skip


class Tool:
    def __init__(self, node, namespace, *command):
        self.node, self.namespace, self.command = node, namespace, command

    def __call__(self, line, input=None):
        words = shlex.split(line)
        env = dict(self.node.environment(), KUBECTL_KUBERC="false")
        command = self.node.netns.command(*self.command, "-n", self.namespace, *words)
        return subprocess.run(command, capture_output=True, text=True, input=input or "", timeout=120, env=env)


def normalized(text, namespace):
    text = text.replace(namespace, "NS")
    text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID", text)
    text = re.sub(r"(resourceVersion\"?: \"?)\d+", r"\1N", text)
    text = re.sub(r"\bweb-[0-9a-z]{8,10}(-[0-9a-z]{5})?\b", "web-HASH", text)
    text = re.sub(r"\bsvc-[0-9a-z]{5}\b", "svc-HASH", text)
    # Columns of ages are as wide as the ages are.
    text = re.sub(r"[ ]+(\d+[dhms])+\b[ ]*", " AGE ", text)
    text = re.sub(r"[ ]+AGE[ ]+\n", " AGE\n", text)
    text = re.sub(r"(clusterIPs?|ip)(\"?): .*\n", r"\1\2: IP\n", text)
    text = re.sub(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME", text)
    text = re.sub(r"(containerd://|pod-template-hash=)[0-9a-z]+", r"\1ID", text)
    text = re.sub(r"kube-api-access-\w{5}", "kube-api-access-ID", text)
    text = re.sub(r"(LIVE|MERGED)-?\d*|kubectl-diff-\d+/|[+-]\d{4}$", "", text)
    text = re.sub(r"(?m)^(---|\+\+\+|diff) .*$", r"\1", text)
    return re.sub(r"\b10\.4[23]\.\d+\.\d+ *", "IP ", text)


def told(done, namespace):
    return done.returncode, normalized(done.stdout, namespace), normalized(done.stderr, namespace)


_numbers = iter(range(1, 1000))


def compare(node, rows, real_version="1.37"):
    """The rows on which the two differ, as text."""
    number = next(_numbers)
    tools = []
    for name, command in (
        ("real", [os.path.join(WORK, f"kubectl-{real_version}", "bin", "kubectl")]),
        ("ours", [harness.BINARY, "kubectl"]),
    ):
        namespace = f"cmp-{number}-{name}"
        node.kubectl("create", "namespace", namespace)
        harness.wait_until(
            "the default account",
            lambda: node.kubectl("-n", namespace, "get", "cm/kube-root-ca.crt", "sa/default", check=False).returncode == 0,
        )
        tools.append(Tool(node, namespace, *command))
    different = []
    try:
        for row in rows:
            line, *input = row
            if line.startswith("? "):
                for tool in tools:
                    done = Tool(node, tool.namespace, *tools[0].command)(line[2:], *input)
                    assert done.returncode == 0, (line, done.stderr)
                continue
            real, ours = (told(tool(line, *input), tool.namespace) for tool in tools)
            if "--all-containers" in line:
                # The original goes through them in no order.
                real, ours = ((code, sorted(out.splitlines()), error) for code, out, error in (real, ours))
            if real != ours:
                different.append(f"--- kubectl {line}\nreal: {real[0]}\n{real[1]}{real[2]}\nours: {ours[0]}\n{ours[1]}{ours[2]}")
    finally:
        for tool in tools:
            node.kubectl("delete", "namespace", tool.namespace, "--wait=false", check=False)
    return different


@pytest.mark.parametrize("topic", SCRIPTS)
def test_prints_what_kubectl_prints(node, topic):
    different = compare(node, SCRIPTS[topic])
    assert not different, "\n".join(different)


def test_is_kubectl_by_its_name(node, tmp_path):
    link = tmp_path / "kubectl"
    link.symlink_to(harness.BINARY)
    done = run(*node.netns.command(str(link), "get", "nodes", "-o", "name"), env=node.environment())
    assert done.stdout == "node/node-1\n"
