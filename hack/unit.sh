#!/bin/bash
# The unit tests, one module at a time: each in a process of its own, so that one module's blocking tests (child
# processes, mounts) do not starve another's timers on a small machine. Then what depends on the kernel once more in a
# virtual machine: cgroup v2 and Debian 12's kernel, whatever this machine has.
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
echo "== cgroup v2 (virtual machine)"
hack/vm-tests.sh
case $? in
0) ;;
77) ;; # it has said why
*) failed="$failed virtual-machine" ;;
esac
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
