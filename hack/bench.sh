#!/bin/bash
# Prints the project's figures: the node's from bin/k3s with the real kubectl, then those of the modules.
set -eu
cd "$(dirname "$0")/.."
hack/e2e.sh --collect-only -q >/dev/null
.test/venv/bin/python hack/bench_node.py "$@"
if [ "${BENCH_MODULES:-1}" = 1 ]; then
    swift build -c release --product RuntimeProbe >/dev/null
    echo
    python3 hack/bench_runtime.py .build/release/RuntimeProbe
    swift build -c release --product store-exerciser >/dev/null
    echo
    folder=$(mktemp -d)
    .build/release/store-exerciser bench "$folder"
    .build/release/store-exerciser read "$folder"
    rm -rf "$folder"
    swift build -c release --product dns-exerciser >/dev/null
    .build/release/dns-exerciser
fi
