#!/bin/bash
# The tests of the Linux layer, the runtime's live tests and the WireGuard backend in a virtual machine with cgroup v2
# (hack/vm.sh), and those of the systemd cgroup driver in one that systemd runs, from the test bundle that is built
# already. 77: there is no virtual machine here.
#   hack/vm-tests.sh [FILTER]       FILTER: a regular expression of test names, for the machine without systemd alone
#   hack/vm-tests.sh -s [FILTER]    the machine that systemd runs, alone
set -u
cd "$(dirname "$0")/.."
folder=$(swift build --show-bin-path ${SCRATCH:+--scratch-path "$SCRATCH"})
bundle=$folder/k3sPackageTests.xctest
[ -x "$bundle" ] || { echo "hack/vm-tests.sh: $bundle is missing: swift build --build-tests" >&2; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# tests FILTER [OPTION OF vm.sh]...
tests() {
    local filter=$1
    shift
    hack/vm.sh "$@" -m 3072 -t 900 -f "$bundle:/tests/k3sPackageTests.xctest" \
        -f "$folder/RuntimeProbe:/tests/RuntimeProbe" -- \
        /tests/k3sPackageTests.xctest --testing-library swift-testing --filter "$filter" --no-parallel >"$log" 2>&1
    local result=$?
    case $result in
    0) grep -E "Test run with|skipped" "$log" | tail -20 ;;
    77) cat "$log" >&2 ;;
    *) grep -vE "^◇|^✔| started\.$" "$log" | tail -60 ;;
    esac
    return $result
}

systemd='^ContainersTests\..*SystemdLive'
if [ "${1:-}" = -s ]; then
    tests "${2:-$systemd}" -s
    exit
fi
tests "${1:-^(LinuxTests\.(Cgroup|Namespaces)|ContainersTests\..*Live|PodNetworkTests\..*wireGuard)}" || exit
[ $# -eq 0 ] || exit 0
tests "$systemd" -s
result=$?
# Without systemd on this machine there is the other half.
[ $result -ne 77 ] || result=0
exit $result
