#!/bin/bash
# The unit tests, one module at a time: each in a process of its own, so that one module's blocking tests (child
# processes, mounts) do not starve another's timers on a small machine.
set -u
cd "$(dirname "$0")/.."
failed=""
for folder in Tests/*Tests; do
    module=$(basename "$folder")
    echo "== $module"
    log=$(mktemp)
    if timeout 900 swift test --skip-build --filter "^$module\\." >"$log" 2>&1; then
        grep -E "Test run with|skipped" "$log" | tail -20
    else
        grep -vE "^◇|^✔| started\.$" "$log" | tail -60
        failed="$failed $module"
    fi
    rm -f "$log"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
