"""What a container finds inside: files, environment, identity, limits; and the volumes."""

import json

from harness import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {tier: front}, annotations: {note: hi}}
spec:
  terminationGracePeriodSeconds: 1
  hostAliases: [{ip: 192.0.2.99, hostnames: [alias.test]}]
  securityContext: {runAsUser: 1001, fsGroup: 2000, supplementalGroups: [3000]}
  initContainers:
  - name: prepare
    image: busybox:test
    command: [sh, -c, "echo prepared > /scratch/init"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "trap 'exit 0' TERM; echo $(GREETING) $NAME; while :; do sleep 1; done"]
    workingDir: /tmp
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: GREETING, value: "hello-$(NAME)"}
    - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: cm, key: k}}}
    - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: s, key: password}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    envFrom: [{configMapRef: {name: cm}, prefix: CM_}]
    resources: {limits: {cpu: 100m, memory: 32Mi}}
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
    - {name: cm, mountPath: /etc/cm}
    - {name: cm, mountPath: /etc/one, subPath: k}
    - {name: s, mountPath: /etc/secret, readOnly: true}
    - {name: all, mountPath: /etc/all}
    - {name: memory, mountPath: /memory}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: cm, configMap: {name: cm}}
  - {name: s, secret: {secretName: s, defaultMode: 0440}}
  - name: all
    projected:
      sources:
      - serviceAccountToken: {path: token, audience: test, expirationSeconds: 3600}
      - configMap: {name: cm, items: [{key: k, path: deep/k}]}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
"""


def test_what_a_container_finds(ns):
    ns("create", "configmap", "cm", "--from-literal=k=v1")
    ns("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    ns.apply(POD)
    ns("wait", "pod/p", "--for=condition=Ready", "--timeout=60s")

    def sh(script):
        return ns("exec", "p", "-c", "main", "--", "sh", "-c", script).stdout.strip()

    assert ns("logs", "p").stdout.strip() == "hello-p p"
    assert sh("echo $FROM_MAP $FROM_SECRET $MEMORY $CM_k") == "v1 hunter2 33554432 v1"
    assert sh("echo $ADDRESS") == ns.jsonpath("pod", "p", "{.status.podIP}")
    assert sh("echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT") == "10.43.0.1:443"
    assert sh("id -u; id -g; id -G").split() [:2] == ["1001", "1002"]
    groups = sh("id -G").split()
    assert "2000" in groups and "3000" in groups
    assert sh("pwd; hostname").split() == ["/tmp", "p"]
    assert sh("cat /scratch/init /etc/cm/k /etc/one /etc/secret/password").split() == ["prepared", "v1v1hunter2"]
    assert sh("stat -c %a -L /etc/secret/password") == "440"
    assert "alias.test" in sh("cat /etc/hosts")
    resolv = sh("cat /etc/resolv.conf")
    assert "nameserver 10.43.0.10" in resolv and f"search {ns.name}.svc.cluster.local svc.cluster.local cluster.local" in resolv
    assert "ndots:5" in resolv
    assert sh("cat /etc/all/labels") == 'tier="front"' and sh("cat /etc/all/deep/k") == "v1"
    assert sh("cat /etc/all/token").count(".") == 2
    assert sh("touch /x 2>&1 || true") == "touch: /x: Read-only file system"
    assert "tmpfs" in sh("df /memory")
    status = sh("cat /proc/self/status")
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0 and fields["NoNewPrivs"] == "1"
    assert sh("cat /proc/kcore 2>&1 | head -c 1; ls /proc/acpi 2>/dev/null | wc -l").endswith("0")
    assert sh("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace") == ns.name
    # A mounted ConfigMap follows its object; a subPath does not.
    ns("create", "configmap", "cm", "--from-literal=k=v2", "-o", "yaml", "--dry-run=client")
    ns("patch", "configmap", "cm", "-p", '{"data":{"k":"v2"}}')
    wait_until("new value", lambda: sh("cat /etc/cm/k") == "v2", timeout=90)
    assert sh("cat /etc/one") == "v1"
    pod = json.loads(ns("get", "pod", "p", "-o", "json").stdout)
    assert pod["status"]["qosClass"] == "Burstable"  # an init container without requests counts
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert pod["status"]["containerStatuses"][0]["containerID"].startswith("containerd://")


def test_a_service_account_token_opens_the_api(ns):
    ns.apply("""
apiVersion: v1
kind: Pod
metadata: {name: api}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", command: [sleep, "600"]}]
""")
    ns("wait", "pod/api", "--for=condition=Ready", "--timeout=60s")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    token = ns("exec", "api", "--", "cat", folder + "/token").stdout
    ca = ns("exec", "api", "--", "cat", folder + "/ca.crt").stdout
    with open(ns.node.dir + "/sa-ca.crt", "w") as f:
        f.write(ca)

    def get(path):
        return ns.node.netns.run(
            "curl", "-s", "-m", "5", "--cacert", ns.node.dir + "/sa-ca.crt", "-H", "Authorization: Bearer " + token,
            "https://127.0.0.1:6443" + path,
        ).stdout  # fmt: skip

    assert f"system:serviceaccount:{ns.name}:default" in get(f"/api/v1/namespaces/{ns.name}/pods")
    ns("create", "rolebinding", "view", "--clusterrole=view", f"--serviceaccount={ns.name}:default")
    wait_until("allowed", lambda: json.loads(get(f"/api/v1/namespaces/{ns.name}/pods"))["kind"] == "PodList")
    assert json.loads(get(f"/api/v1/namespaces/{ns.name}/secrets"))["code"] == 403
    # The service address of the API answers inside the pod network too.
    code = ns("exec", "api", "--", "sh", "-c", "nc -w 2 10.43.0.1 443 < /dev/null && echo open").stdout
    assert code.strip() == "open"
    # The token dies with its pod.
    ns("delete", "pod", "api", "--grace-period=0", "--force")
    wait_until("token refused", lambda: json.loads(get("/api"))["code"] == 401)


def test_hooks_and_probes(ns):
    ns.apply("""
apiVersion: v1
kind: Pod
metadata: {name: hooks}
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: c
    image: busybox:test
    command: [sh, -c, "sleep 600"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started > /tmp/hook"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping > /proc/1/fd/1"]}}
    startupProbe: {exec: {command: [cat, /tmp/hook]}, periodSeconds: 1, failureThreshold: 20}
    readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [sh, -c, "! test -e /tmp/dead"]}, periodSeconds: 1, failureThreshold: 1}
""")
    wait_until("started", lambda: ns.jsonpath("pod", "hooks", "{.status.containerStatuses[0].started}") == "true")
    assert ns.jsonpath("pod", "hooks", "{.status.containerStatuses[0].ready}") == "false"
    ns("exec", "hooks", "--", "touch", "/tmp/ready")
    ns("wait", "pod/hooks", "--for=condition=Ready", "--timeout=30s")
    ns("exec", "hooks", "--", "touch", "/tmp/dead")
    wait_until("restart", lambda: ns.jsonpath("pod", "hooks", "{.status.containerStatuses[0].restartCount}") == "1", timeout=60)
    assert "Unhealthy" in ns("get", "events").stdout
    ns("delete", "pod", "hooks")
    assert "Killing" in ns("get", "events").stdout


def test_host_network(ns):
    ns.apply("""
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", command: [sleep, "600"]}]
""")
    ns("wait", "pod/host", "--for=condition=Ready", "--timeout=60s")
    assert ns.jsonpath("pod", "host", "{.status.podIP}") == "192.0.2.10"
