#!/bin/bash
# The unit tests, one module at a time: each in a process of its own, so that one module's blocking tests (child
# processes, mounts) do not starve another's timers on a small machine. Then what depends on the kernel once more in a
# virtual machine: cgroup v2 and Debian 12's kernel, whatever this machine has. A module that fails is run a second time
# and both outcomes are printed: on a starved machine a test's minute may pass before its turn comes, but what is broken
# fails twice.
set -u
cd "$(dirname "$0")/.."
failed=""
run_module() {
    local log passed=0
    log=$(mktemp)
    if timeout 900 swift test --skip-build --filter "^$1\\." >"$log" 2>&1; then
        grep -E "Test run with|skipped" "$log" | tail -20
    else
        grep -vE "^◇|^✔| started\.$" "$log" | tail -60
        passed=1
    fi
    rm -f "$log"
    return $passed
}
for folder in Tests/*Tests; do
    module=$(basename "$folder")
    echo "== $module"
    run_module "$module" && continue
    echo "== $module, a second time"
    run_module "$module" || failed="$failed $module"
done
echo "== Fuzzing: the corpus and a second of changes each"
.build/debug/fuzzer smoke 1000 >.build/fuzz.log 2>&1 || { tail -30 .build/fuzz.log && failed="$failed fuzzing"; }
tail -1 .build/fuzz.log
echo "== cgroup v2 (virtual machine)"
hack/vm-tests.sh
case $? in
0) ;;
77) ;; # it has said why
*) failed="$failed virtual-machine" ;;
esac
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
