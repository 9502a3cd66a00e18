"""The Python client library against the server: list, watch, create, exec."""

import os
import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent("""
    import sys, time, threading
    from kubernetes import client, config, watch
    from kubernetes.stream import stream
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    ns = sys.argv[1]
    assert [n.metadata.name for n in core.list_node().items] == ["node-1"]
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="py", labels={"from": "python"}),
        spec=client.V1PodSpec(termination_grace_period_seconds=0, containers=[
            client.V1Container(name="c", image="busybox:test", command=["sh", "-c", "echo hi; sleep 600"])]))
    version = core.list_namespaced_pod(ns).metadata.resource_version
    core.create_namespaced_pod(ns, pod)
    phases = []
    for event in watch.Watch().stream(core.list_namespaced_pod, ns, resource_version=version, timeout_seconds=60):
        phases.append((event["type"], event["object"].status.phase))
        if event["object"].status.phase == "Running" and event["object"].status.container_statuses[0].ready:
            break
    assert phases[0] == ("ADDED", "Pending"), phases
    out = stream(core.connect_get_namespaced_pod_exec, "py", ns, command=["sh", "-c", "echo out; echo err >&2"],
                 stderr=True, stdin=False, stdout=True, tty=False)
    assert "out" in out and "err" in out, out
    shell = stream(core.connect_get_namespaced_pod_exec, "py", ns, command=["cat"], stderr=True, stdin=True,
                   stdout=True, tty=False, _preload_content=False)
    shell.write_stdin("echoed\\n")
    deadline = time.time() + 10
    seen = ""
    while "echoed" not in seen and time.time() < deadline:
        shell.update(timeout=1)
        if shell.peek_stdout(): seen += shell.read_stdout()
    shell.close()
    assert "echoed" in seen, seen
    assert core.read_namespaced_pod_log("py", ns) == "hi\\n"
    try:
        core.read_namespaced_pod("absent", ns)
        raise SystemExit("no error")
    except client.ApiException as e:
        assert e.status == 404
    many = [client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"m{i:03}", labels={"n": str(i % 2)}), data={"k": "v"}) for i in range(25)]
    for m in many: core.create_namespaced_config_map(ns, m)
    page = core.list_namespaced_config_map(ns, limit=10, label_selector="n in (0,1)")
    names, token = [c.metadata.name for c in page.items], page.metadata._continue
    assert page.metadata.remaining_item_count in (None, 15)
    while token:
        page = core.list_namespaced_config_map(ns, limit=10, label_selector="n in (0,1)", _continue=token)
        names += [c.metadata.name for c in page.items]
        token = page.metadata._continue
    assert names == [f"m{i:03}" for i in range(25)], names
    core.delete_collection_namespaced_config_map(ns, label_selector="n=1")
    assert len(core.list_namespaced_config_map(ns, label_selector="n").items) == 13
    deployment = apps.create_namespaced_deployment(ns, client.V1Deployment(
        metadata=client.V1ObjectMeta(name="d"),
        spec=client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels={"a": "d"}),
            template=client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"a": "d"}), spec=pod.spec))))
    apps.patch_namespaced_deployment_scale("d", ns, {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment_scale("d", ns).spec.replicas == 2
    print("all well")
""")


def test_the_python_client(ns, tmp_path):
    script = tmp_path / "client.py"
    script.write_text(SCRIPT)
    env = dict(ns.node.environment())
    done = subprocess.run(
        ns.node.netns.command(sys.executable, str(script), ns.name), capture_output=True, text=True, timeout=150, env=env
    )
    assert done.returncode == 0 and "all well" in done.stdout, done.stdout + done.stderr
    assert os.path.exists(ns.node.kubeconfig)


DYNAMIC = textwrap.dedent("""
    import sys
    from kubernetes import config, dynamic
    from kubernetes.client import api_client
    from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError
    ns = sys.argv[1]
    client = dynamic.DynamicClient(api_client.ApiClient(configuration=config.load_kube_config()))
    maps = client.resources.get(api_version="v1", kind="ConfigMap")
    deployments = client.resources.get(api_version="apps/v1", kind="Deployment")
    assert maps.namespaced and "watch" in maps.verbs and "scale" in deployments.subresources
    assert client.resources.get(api_version="v1", kind="Node").get(name="node-1").kind == "Node"
    def body(name, value):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"by": "dynamic"}},
                "data": {"a": value}}
    made = maps.create(body=body("one", "1"), namespace=ns)
    version = made.metadata.resourceVersion
    try:
        maps.create(body=body("one", "1"), namespace=ns)
        raise SystemExit("made twice")
    except ConflictError as e:
        assert e.status == 409
    maps.patch(body={"data": {"b": "2"}}, name="one", namespace=ns, content_type="application/merge-patch+json")
    applied = maps.server_side_apply(body=body("one", "3"), name="one", namespace=ns, field_manager="dyn", force_conflicts=True)
    assert applied.data.a == "3" and applied.data.b == "2", applied
    maps.create(body=body("two", "1"), namespace=ns)
    changed = maps.get(name="one", namespace=ns).to_dict()
    changed["data"]["a"] = "4"
    maps.replace(body=changed, namespace=ns)
    maps.delete(name="two", namespace=ns)
    seen = []
    for event in maps.watch(namespace=ns, label_selector="by=dynamic", resource_version=version, timeout=60):
        seen.append((event["type"], event["object"].metadata.name, event["object"].data.a))
        if event["type"] == "DELETED": break
    assert seen == [("MODIFIED", "one", "1"), ("MODIFIED", "one", "3"), ("ADDED", "two", "1"), ("MODIFIED", "one", "4"),
                    ("DELETED", "two", "1")], seen
    assert [m.metadata.name for m in maps.get(namespace=ns, label_selector="by=dynamic").items] == ["one"]
    bad = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
           "template": {"metadata": {"labels": {"a": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    try:
        deployments.create(body=bad, namespace=ns)
        raise SystemExit("it was taken")
    except UnprocessibleEntityError as e:
        assert b"`selector` does not match template `labels`" in e.body, e.body
    bad["spec"]["replicas"] = 0
    bad["spec"]["template"]["metadata"]["labels"] = {"a": "b"}
    deployments.create(body=bad, namespace=ns)
    deployments.scale.patch(name="d", namespace=ns, body={"spec": {"replicas": 2}}, content_type="application/merge-patch+json")
    assert deployments.scale.get(name="d", namespace=ns).spec.replicas == 2
    deployments.delete(name="d", namespace=ns)
    maps.delete(namespace=ns, label_selector="by=dynamic")
    try:
        maps.get(name="one", namespace=ns)
        raise SystemExit("still there")
    except NotFoundError:
        print("all well")
""")


def test_the_dynamic_client(ns, tmp_path):
    script = tmp_path / "dynamic.py"
    script.write_text(DYNAMIC)
    done = subprocess.run(
        ns.node.netns.command(sys.executable, str(script), ns.name), capture_output=True, text=True, timeout=150,
        env=dict(ns.node.environment()),
    )  # fmt: skip
    assert done.returncode == 0 and "all well" in done.stdout, done.stdout + done.stderr
