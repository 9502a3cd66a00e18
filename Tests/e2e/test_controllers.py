"""Workload kinds beside Deployments, driven by kubectl: what they make runs, and ends where its spec says."""

import json

from harness import wait_until

POD = """
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:test
        imagePullPolicy: Never
        command: [sh, -c, "%(command)s"]
"""


def workload(kind, name, spec, command="trap exit TERM; while true; do sleep 0.1; done"):
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"
        f"  selector: {{matchLabels: {{app: {name}}}}}\n{spec}  template:" + POD % {"name": name, "command": command}
    )


def job(name, spec, command):
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
{spec}
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: busybox:test
        imagePullPolicy: Never
        command: [sh, -c, "{command}"]
"""


def test_a_daemonset_runs_rolls_and_goes_back(ns):
    ns.apply(workload("DaemonSet", "agent", ""))
    ns("rollout", "status", "daemonset/agent", "--timeout=30s")
    assert ns.jsonpath("pods", "-l", "app=agent", "{.items[*].spec.nodeName}") == "node-1"
    ns("set", "env", "daemonset/agent", "A=two")
    ns("rollout", "status", "daemonset/agent", "--timeout=30s")
    assert len(ns("rollout", "history", "daemonset/agent").stdout.strip().splitlines()) == 4
    ns("rollout", "undo", "daemonset/agent")
    ns("rollout", "status", "daemonset/agent", "--timeout=30s")
    assert ns.jsonpath("daemonset", "agent", "{.spec.template.spec.containers[0].env}") == ""
    ns("delete", "daemonset", "agent")
    wait_until("no pods", lambda: not ns("get", "pods", "-o", "name").stdout)


def test_a_statefulset_keeps_its_order_and_its_names(ns):
    ns.apply(workload("StatefulSet", "db", "  serviceName: db\n  replicas: 3\n"))
    ns("rollout", "status", "statefulset/db", "--timeout=60s")
    pods = json.loads(ns("get", "pods", "-o", "json").stdout)["items"]
    assert [p["metadata"]["name"] for p in pods] == ["db-0", "db-1", "db-2"]
    started = [p["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] for p in pods]
    assert started == sorted(started)
    ns("set", "env", "statefulset/db", "A=two")
    ns("rollout", "status", "statefulset/db", "--timeout=60s")
    ns("rollout", "undo", "statefulset/db")
    ns("rollout", "status", "statefulset/db", "--timeout=60s")
    ns("scale", "statefulset/db", "--replicas=1")
    wait_until("one pod", lambda: ns("get", "pods", "-o", "name").stdout.split() == ["pod/db-0"])


def test_jobs_end_as_their_spec_says(ns):
    ns.apply(job("good", "  completions: 3\n  parallelism: 2\n", "exit 0"))
    ns("wait", "--for=condition=complete", "job/good", "--timeout=60s")
    assert ns.jsonpath("job", "good", "{.status.succeeded}") == "3"
    assert "3/3" in ns("get", "job", "good").stdout
    assert ns.jsonpath("pods", "-l", "job-name=good", "{.items[*].metadata.finalizers}") == ""
    ns.apply(job("bad", "  backoffLimit: 0\n", "exit 3"))
    ns("wait", "--for=condition=failed", "job/bad", "--timeout=60s")
    assert ns.jsonpath("job", "bad", '{.status.conditions[?(@.type=="Failed")].reason}') == "BackoffLimitExceeded"
    ns.apply(job("indexed", "  completions: 3\n  parallelism: 3\n  completionMode: Indexed\n", "echo index $JOB_COMPLETION_INDEX on $(hostname)"))
    ns("wait", "--for=condition=complete", "job/indexed", "--timeout=60s")
    assert ns.jsonpath("job", "indexed", "{.status.completedIndexes}") == "0-2"
    logs = ns("logs", "-l", "batch.kubernetes.io/job-name=indexed", "--tail=-1").stdout
    assert sorted(logs.splitlines()) == [f"index {i} on indexed-{i}" for i in range(3)]
    ns("delete", "job", "good")
    wait_until("no pods of the job", lambda: not ns("get", "pods", "-l", "job-name=good", "-o", "name").stdout)


def test_a_job_is_suspended_and_goes_when_its_time_has_come(ns):
    ns.apply(job("pause", "  ttlSecondsAfterFinished: 1\n", "trap exit TERM; while true; do sleep 0.1; done"))
    wait_until("active", lambda: ns.jsonpath("job", "pause", "{.status.active}") == "1")
    ns("patch", "job", "pause", "-p", '{"spec":{"suspend":true}}')
    wait_until("no pods", lambda: not ns("get", "pods", "-o", "name").stdout)
    assert ns.jsonpath("job", "pause", "{.status.failed}") == ""
    ns.apply(job("brief", "  ttlSecondsAfterFinished: 1\n", "exit 0"))
    ns("wait", "--for=delete", "job/brief", "--timeout=60s")


def test_a_cronjob_makes_jobs(ns):
    ns("create", "cronjob", "tick", "--image=busybox:test", "--schedule=@every 1s", "--", "true")
    name = wait_until("a job", lambda: ns.jsonpath("jobs", "{.items[0].metadata.name}"), timeout=30)
    assert name.startswith("tick-")
    ns("wait", "--for=condition=complete", "job/" + name, "--timeout=60s")
    ns("create", "job", "by-hand", "--from=cronjob/tick")
    ns("wait", "--for=condition=complete", "job/by-hand", "--timeout=60s")
    wait_until("it is noted", lambda: ns.jsonpath("cronjob", "tick", "{.status.lastSuccessfulTime}"))
    ns("delete", "cronjob", "tick")
    wait_until("its jobs go", lambda: name not in ns("get", "jobs", "-o", "name").stdout)


def test_a_budget_counts_and_holds_evictions(ns):
    ns.apply(workload("Deployment", "web", "  replicas: 2\n"))
    ns("rollout", "status", "deployment/web", "--timeout=30s")
    ns("create", "poddisruptionbudget", "web", "--selector=app=web", "--max-unavailable=0")
    wait_until("counted", lambda: ns.jsonpath("pdb", "web", "{.status.currentHealthy}") == "2")
    assert ns.jsonpath("pdb", "web", "{.status.disruptionsAllowed}") == "0"
    ns("patch", "pdb", "web", "--type=merge", "-p", '{"spec":{"maxUnavailable":1}}')
    wait_until("one may go", lambda: ns.jsonpath("pdb", "web", "{.status.disruptionsAllowed}") == "1")
