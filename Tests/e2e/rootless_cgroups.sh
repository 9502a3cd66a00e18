#!/bin/busybox sh
# In the virtual machine of test_rootless.py: a rootless server whose user has a cgroup of his own, as systemd's Delegate=yes
# gives one. Prints what came of it, a line each: "NAME=VALUE".
set -u
exec 2>&1
hostname vm
cd /sys/fs/cgroup
echo "+cpu +memory +pids +cpuset +io" >cgroup.subtree_control
mkdir delegated
chown nobody delegated delegated/cgroup.procs delegated/cgroup.subtree_control delegated/cgroup.threads
mkdir -p /tmp/home/.rancher/k3s/agent/images /tmp/session
cp /images/busybox.tar /tmp/home/.rancher/k3s/agent/images/
chown -R nobody /tmp/home /tmp/session
# Inside: as the host's, of which the user may change nothing.
echo nameserver 127.0.0.1 >/etc/resolv.conf
export HOME=/tmp/home XDG_RUNTIME_DIR=/tmp/session
(
    echo 0 >delegated/cgroup.procs
    exec su nobody -s /bin/sh -c 'HOME=/tmp/home; exec k3s server --rootless --node-name vm --log /tmp/home/log'
) &
server=$!
export KUBECONFIG=/tmp/home/.kube/k3s.yaml

# until SECONDS COMMAND...: tries once a second.
until_true() {
    local left=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "gave up: $*"; k3s kubectl get pods,events -A; tail -30 /tmp/home/log; return 1; }
        sleep 1
    done
}
is() { [ "$(k3s kubectl get "$1" "$2" -o "jsonpath=$3")" = "$4" ]; }

until_true 120 is node vm '{.status.conditions[?(@.type=="Ready")].status}' True || exit 1
until_true 30 k3s kubectl get serviceaccount default
k3s kubectl create -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: limited}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
  - {name: c, image: "docker.io/library/busybox:test", command: [sh, -c, "sleep 1; exec tail /dev/zero"],
     resources: {limits: {cpu: 500m, memory: 32Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: modest}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "docker.io/library/busybox:test", command: [sh, -c, "exec sleep 10000"],
     resources: {limits: {cpu: 500m, memory: 48Mi}}}
P
until_true 60 is pod modest '{.status.conditions[?(@.type=="Ready")].status}' True || exit 1
find delegated -name memory.max | while read -r file; do grep -q '^50331648$' "$file" && echo "limit=$file"; done | tail -1
find delegated -name cpu.max | while read -r file; do grep -q '^50000 100000$' "$file" && echo "quota=$file"; done | tail -1
until_true 60 is pod limited '{.status.phase}' Failed || exit 1
echo "limited=$(k3s kubectl get pod limited -o 'jsonpath={.status.containerStatuses[0].state.terminated.reason}')"
echo "message: $(k3s kubectl get pod limited -o 'jsonpath={.status.containerStatuses[0].state.terminated.message}')"
echo "warnings=$(grep -c 'no cgroups are delegated' /tmp/home/log)"
kill $server
wait $server
echo "exit=$?"
