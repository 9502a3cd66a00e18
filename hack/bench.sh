#!/bin/bash
# Prints the project's figures: the node's from bin/k3s with the real kubectl, then those of the modules.
set -eu
cd "$(dirname "$0")/.."
# The product's own flags come from the Makefile: others would have everything compiled again.
RELEASE=${RELEASE:--c release}
hack/e2e.sh --collect-only -q >/dev/null
.test/venv/bin/python hack/bench_node.py "$@"
.test/venv/bin/python hack/bench_workloads.py
echo
python3 hack/bench_host_tools.py bin/k3s
if [ "${BENCH_MODULES:-1}" = 1 ]; then
    swift build $RELEASE --product RuntimeProbe >/dev/null
    swift build $RELEASE --product image-exerciser >/dev/null
    echo
    python3 hack/bench_runtime.py .build/release/RuntimeProbe
    swift build $RELEASE --product store-exerciser >/dev/null
    echo
    folder=$(mktemp -d)
    .build/release/store-exerciser bench "$folder"
    .build/release/store-exerciser read "$folder"
    rm -rf "$folder"
    swift build $RELEASE --product api-exerciser >/dev/null
    echo
    python3 hack/bench_api.py bin/k3s .build/release/api-exerciser
    swift build $RELEASE --product scheduler-exerciser >/dev/null
    .build/release/scheduler-exerciser
    swift build $RELEASE --product network-exerciser >/dev/null
    .build/release/network-exerciser
fi
