"""Server-side apply with the real kubectl: creation, conflicts, force, migration from client-side apply, diff."""

import json

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "busybox:test", command: ["sleep", "600"]}
"""

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {%s}
"""


def managers(ns, *what):
    text = ns("get", *what, "-o", "json", "--show-managed-fields").stdout
    entries = json.loads(text)["metadata"].get("managedFields", [])
    return {(e["manager"], e["operation"], e.get("subresource", "")) for e in entries}


def apply(ns, text, *flags, **kw):
    return ns("apply", "--server-side", "-f", "-", *flags, input=text, **kw)


def test_conflicts_name_the_other_manager_and_force_takes_the_field(ns):
    out = apply(ns, DEPLOYMENT % 0).stdout
    assert "deployment.apps/web serverside-applied" in out
    ns("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"replicas":1}}', "--field-manager=autoscaler")
    refused = apply(ns, DEPLOYMENT % 0, check=False)
    assert refused.returncode == 1
    expected = 'Apply failed with 1 conflict: conflict with "autoscaler" using apps/v1: .spec.replicas'
    assert expected in refused.stderr, refused.stderr
    assert "--force-conflicts" in refused.stderr
    apply(ns, DEPLOYMENT % 0, "--force-conflicts")
    assert ns.jsonpath("deployment", "web", "{.spec.replicas}") == "0"
    assert ("autoscaler", "Update", "") not in managers(ns, "deployment", "web")


def test_what_is_no_longer_applied_is_removed(ns):
    apply(ns, CONFIG % "a: x, b: gone")
    apply(ns, CONFIG % "c: z", "--field-manager=other")
    apply(ns, CONFIG % "a: x")
    assert json.loads(ns("get", "configmap", "settings", "-o", "jsonpath={.data}").stdout) == {"a": "x", "c": "z"}


def test_client_side_apply_is_taken_over(ns):
    ns.apply(DEPLOYMENT % 0)
    assert ("kubectl-client-side-apply", "Update", "") in managers(ns, "deployment", "web")
    out = apply(ns, DEPLOYMENT % 1).stdout
    assert "serverside-applied" in out
    after = managers(ns, "deployment", "web")
    assert ("kubectl", "Apply", "") in after and ("kubectl-client-side-apply", "Update", "") not in after


def test_diff_and_dry_run_change_nothing(ns):
    apply(ns, CONFIG % "a: x")
    same = ns("diff", "--server-side", "-f", "-", input=CONFIG % "a: x", check=False)
    assert same.returncode == 0, same.stdout + same.stderr
    changed = ns("diff", "--server-side", "-f", "-", input=CONFIG % "a: new", check=False)
    assert changed.returncode == 1, changed.stderr
    assert "-  a: x" in changed.stdout and "+  a: new" in changed.stdout
    apply(ns, CONFIG % "a: new", "--dry-run=server")
    assert ns.jsonpath("configmap", "settings", "{.data.a}") == "x"


def test_unknown_fields_are_refused(ns):
    text = (CONFIG % "a: x") + "spec: {x: 1}\n"
    refused = apply(ns, text, "--validate=false", check=False)
    assert refused.returncode == 1
    assert ".spec: field not declared in schema" in refused.stderr, refused.stderr
