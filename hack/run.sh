#!/bin/bash
# Starts the server in the foreground and says what to type in another terminal.
set -eu
binary=$(cd "$(dirname "$0")/.." && pwd)/bin/k3s
if [ "$(id -u)" != 0 ]; then
    echo "containers need root: sudo make run" >&2
    exit 1
fi
cat <<TEXT

Starting k3s. It is ready when it says "Node ... is ready". In another terminal, as root:

    export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
    kubectl get nodes

An image from a tar file:   cp image.tar /var/lib/rancher/k3s/agent/images/ and start again.
Ctrl-C stops the server; pods go on running, and the next start takes them over.

TEXT
exec "$binary" server ${K3S_ARGS:-}
