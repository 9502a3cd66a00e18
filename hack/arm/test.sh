#!/bin/bash
# The unit tests for ARM, under qemu-user: test.sh arm64 [MODULE...]. What needs a kernel of its own (namespaces, cgroups, io in
# containers) is skipped there and says so: those tests run on the machine and in the virtual machine. Root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
architecture=$1
shift
export K3S_ARM_DIR=${K3S_ARM_DIR:-$project/.arm}
K3S_ARM_TESTS=1 "$here/build.sh" "$architecture"
sysroot=$K3S_ARM_DIR/root/build/sdks/$architecture.artifactbundle/$architecture/sysroot
case $architecture in
arm64) qemu=qemu-aarch64-static libraries=usr/lib/aarch64-linux-gnu ;;
*) echo "$0: $architecture: there is no Testing library for it" >&2; exit 2 ;;
esac
cd "$project"
modules=("$@")
[ $# -gt 0 ] || modules=($(cd Tests && echo *Tests))
failed=""
for module in "${modules[@]}"; do
    echo "== $module ($architecture)"
    log=.build-$architecture/$module.log
    if ! K3S_EMULATED=1 timeout 1800 "$qemu" -L "$sysroot" \
        -E LD_LIBRARY_PATH="/usr/lib/swift/linux:/$libraries" ".build-$architecture/debug/k3sPackageTests.xctest" \
        --testing-library swift-testing --filter "^$module\\." >"$log" 2>&1; then
        grep -E "✘" "$log" | head -20
        failed="$failed $module"
    fi
    grep -E "Test run with" "$log" | tail -1
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
