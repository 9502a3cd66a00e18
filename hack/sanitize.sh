#!/bin/bash
# The unit tests in builds with a sanitizer: sanitize.sh thread|address [MODULE...]. Slow (a build of its own, and tests at a
# fraction of their speed), so that it is not part of `make test`. What a sanitizer finds fails the module it is found in.
set -u
cd "$(dirname "$0")/.."
kind=$1
shift
case $kind in
# Findings of the runtime library and of OpenSSL's are not ours: hack/sanitize-thread.supp says which. Known: on Linux the
# sanitizer does not see Synchronization's Mutex (a futex in the standard library, which is not instrumented), so that what
# one guards is told as a race; what remains to be looked at is what no Mutex guards.
thread) export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 die_after_fork=0 suppressions=$PWD/hack/sanitize-thread.supp" ;;
address) export ASAN_OPTIONS="detect_leaks=0 abort_on_error=0 exitcode=66" ;;
*)
    echo "$0: \"$kind\" is not thread or address" >&2
    exit 2
    ;;
esac
export K3S_SANITIZED=$kind # what measures the heap is skipped
scratch=.build-$kind
swift build --build-tests --sanitize="$kind" --scratch-path "$scratch" || exit
failed=""
modules=("$@")
[ $# -gt 0 ] || modules=($(cd Tests && echo *Tests))
for module in "${modules[@]}"; do
    echo "== $module ($kind)"
    log=$scratch/$module.log
    # Tests wait longer for what takes longer.
    if ! timeout 2400 swift test --skip-build --sanitize="$kind" --scratch-path "$scratch" --filter "^$module\\." >"$log" 2>&1; then
        grep -vE "^◇|^✔| started\.$" "$log" | grep -E "✘|SUMMARY|WARNING: ThreadSanitizer|ERROR: AddressSanitizer" | sort | uniq -c | sort -rn | head -40
        failed="$failed $module"
    fi
    grep -E "Test run with" "$log" | tail -1
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
