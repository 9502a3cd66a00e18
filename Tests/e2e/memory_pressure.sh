#!/bin/busybox sh
# In the virtual machine of test_memory_pressure.py: a server, and pods that take its memory. Prints what came of them, a line
# each: "pid", "NAME=VALUE". Memory can only be made scarce where nothing else runs.
set -u
exec 2>&1
ip link add eth0 type veth peer name eth1
ip addr add 10.9.0.1/24 dev eth0
ip link set eth0 up && ip link set eth1 up
ip route add default via 10.9.0.2
hostname vm
mkdir -p /run/data/agent/images
ln -s /images/busybox.tar /run/data/agent/images/busybox.tar
# A server that is killed must not take the test with it, and nothing starts it again.
k3s server --data-dir /run/data --node-name vm --node-ip 10.9.0.1 --write-kubeconfig /run/kubeconfig --log /run/k3s.log \
    --kubelet-arg=eviction-hard=memory.available\<300Mi --kubelet-arg=eviction-pressure-transition-period=15s \
    --kubelet-arg=housekeeping-interval=1s &
server=$!
export KUBECONFIG=/run/kubeconfig

# until SECONDS COMMAND...: tries once a second.
until_true() {
    local left=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "gave up: $*"; k3s kubectl get pods,events -A; tail -20 /run/k3s.log; return 1; }
        sleep 1
    done
}
is() { [ "$(k3s kubectl get "$1" "$2" -o "jsonpath=$3")" = "$4" ]; }
condition='{.status.conditions[?(@.type=="MemoryPressure")].status}'
pod() { # NAME COMMAND RESOURCES
    k3s kubectl create -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
  containers:
  - {name: c, image: "docker.io/library/busybox:test", command: [sh, -c, "$2"], resources: $3, volumeMounts: [{name: memory, mountPath: /memory}]}
P
}

until_true 120 is node vm '{.status.conditions[?(@.type=="Ready")].status}' True || exit 1
until_true 30 k3s kubectl get serviceaccount default
small='{requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 1, memory: 64Mi}}'
pod modest 'exec sleep 10000' "$small"
until_true 60 is pod modest '{.status.phase}' Running || exit 1
echo "before=$(k3s kubectl get node vm -o "jsonpath=$condition")"
free=$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
echo "available: $free MiB"

# What lies in a volume in memory stays until the pod goes.
pod hog "dd if=/dev/zero of=/memory/file bs=1M count=$((free - 150)) && exec sleep 10000" '{}'
until_true 120 is pod hog '{.status.reason}' Evicted || exit 1
echo "hog=$(k3s kubectl get pod hog -o 'jsonpath={.status.phase} {.status.reason} {.status.message}')"
echo "event=$(k3s kubectl get events --field-selector reason=Evicted -o 'jsonpath={.items[0].involvedObject.name}')"
tainted() { k3s kubectl get node vm -o 'jsonpath={.spec.taints[*].key}' | grep memory-pressure; }
until_true 15 tainted
echo "pressure=$(k3s kubectl get node vm -o "jsonpath=$condition")"
echo "taint=$(k3s kubectl get node vm -o 'jsonpath={.spec.taints[*].key}')"
until_true 90 is node vm "$condition" False || exit 1
echo "after=$(k3s kubectl get node vm -o "jsonpath=$condition")"

# Faster than any eviction: the kernel ends it, and nothing else.
pod greedy 'sleep 1; exec tail /dev/zero' '{}'
gone() { is pod greedy '{.status.phase}' Failed; }
until_true 120 gone || exit 1
echo "greedy=$(k3s kubectl get pod greedy -o 'jsonpath={.status.reason}{.status.containerStatuses[0].state.terminated.reason}')"
echo "modest=$(k3s kubectl get pod modest -o 'jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}')"
if kill -0 $server; then echo "server=alive"; else echo "server=gone"; fi
kill $server
wait $server
