"""Helm against the server: a chart of ours is installed, upgraded, rolled back and uninstalled, with hooks and --wait."""

import json
import os

import pytest
from harness import WORK, run, wait_until

HELM = os.path.join(WORK, "helm", "helm")

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '1'\ndescription: For the tests\n",
    "values.yaml": "replicas: 1\ngreeting: hello\nbroken: false\n",
    "templates/config.yaml": """
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}, kube: {{ .Capabilities.KubeVersion.Minor | quote }}}
data:
  greeting: {{ .Values.greeting | quote }}
  revision: "{{ .Release.Revision }}"
""",
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {greeting: {{ .Values.greeting | quote }}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: web:test
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {port: http, path: /}, periodSeconds: 1}
""",
    "templates/service.yaml": """
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80, targetPort: http}]
""",
    "templates/hooks.yaml": """
{{- range $hook := list "pre-install" "post-upgrade" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.Release.Name }}-{{ $hook }}
  annotations: {helm.sh/hook: {{ $hook }}, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "busybox:test", command: [{{ ternary "false" "true" $.Values.broken | quote }}]}]
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-before-delete
  annotations: {helm.sh/hook: pre-delete}
""",
}


@pytest.fixture
def helm(ns, tmp_path):
    """helm in the namespace; `helm.chart` is the folder of the chart."""
    chart = tmp_path / "web"
    for name, text in FILES.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    env = {
        **ns.node.environment(), "HELM_CACHE_HOME": str(tmp_path / "cache"), "HELM_CONFIG_HOME": str(tmp_path / "config"),
        "HELM_DATA_HOME": str(tmp_path / "data"),
    }  # fmt: skip

    def call(*args, check=True):
        command = ns.node.netns.command(HELM, "--namespace", ns.name, *args)
        return run(*command, check=check, timeout=150, env=env)

    call.chart = str(chart)
    return call


def releases(helm):
    return {r["name"]: (r["revision"], r["status"]) for r in json.loads(helm("list", "-o", "json").stdout)}


def greeting(ns):
    return ns.jsonpath("configmap", "shop-config", "{.data.greeting} {.data.revision}")


def test_install_upgrade_rollback_uninstall(helm, ns):
    out = helm("install", "shop", helm.chart, "--wait", "--timeout", "120s").stdout
    assert "STATUS: deployed" in out and "REVISION: 1" in out
    # --wait: whatever was installed is ready by now, and the hook before it has run.
    assert ns.jsonpath("deployment", "shop", "{.status.readyReplicas}") == "1"
    assert ns.jsonpath("job", "shop-pre-install", "{.status.succeeded}") == "1"
    assert greeting(ns) == "hello 1"
    assert releases(helm) == {"shop": ("1", "deployed")}
    status = json.loads(helm("status", "shop", "-o", "json").stdout)
    assert status["info"]["status"] == "deployed" and status["namespace"] == ns.name

    helm("upgrade", "shop", helm.chart, "--wait", "--timeout", "120s", "--set", "greeting=hi,replicas=2")
    assert ns.jsonpath("deployment", "shop", "{.status.readyReplicas}/{.spec.replicas}") == "2/2"
    assert ns.jsonpath("job", "shop-post-upgrade", "{.status.succeeded}") == "1"
    assert greeting(ns) == "hi 2"
    assert json.loads(helm("get", "values", "shop", "-o", "json").stdout) == {"greeting": "hi", "replicas": 2}

    helm("rollback", "shop", "1", "--wait", "--timeout", "120s")
    assert greeting(ns) == "hello 1" and ns.jsonpath("deployment", "shop", "{.spec.replicas}") == "1"
    history = json.loads(helm("history", "shop", "-o", "json").stdout)
    assert [(h["revision"], h["status"]) for h in history] == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert history[2]["description"] == "Rollback to 1"
    assert "owner=helm" in ns("get", "secrets", "--show-labels").stdout

    out = helm("uninstall", "shop", "--wait", "--timeout", "120s").stdout
    assert 'release "shop" uninstalled' in out
    assert releases(helm) == {}
    for kind in ("deployment", "service", "secret"):
        wait_until(f"no {kind}", lambda: ns("get", kind, "-o", "name").stdout == "")
    # Hooks are not part of the release: what ran before the deletion stays.
    assert "shop-before-delete" in ns("get", "configmap", "-o", "name").stdout


def test_a_failed_hook_fails_the_release(helm, ns):
    failed = helm("install", "bad", helm.chart, "--set", "broken=true", "--timeout", "60s", check=False)
    assert failed.returncode == 1 and "failed" in failed.stderr, failed.stderr
    assert releases(helm) == {"bad": ("1", "failed")}
    # Nothing after the hook was made.
    assert ns("get", "deployment", "-o", "name").stdout == ""
    helm("upgrade", "--install", "bad", helm.chart, "--set", "broken=false", "--wait", "--timeout", "120s")
    assert releases(helm)["bad"] == ("2", "deployed")


def test_somebody_elses_object_is_not_taken_over(helm, ns):
    ns("create", "configmap", "shop-config", "--from-literal=a=b")
    failed = helm("install", "shop", helm.chart, check=False)
    assert failed.returncode == 1 and "exists and cannot be imported into the current release" in failed.stderr, failed.stderr
    shown = helm("template", "shop", helm.chart, "--validate", check=False)
    assert shown.returncode == 0 or "cannot be imported" in shown.stderr, shown.stderr
