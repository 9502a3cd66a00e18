#!/bin/bash
# The product for ARM, static: build.sh armv7|arm64 [SwiftPM's arguments]. Out comes bin/k3s-ARCHITECTURE.
# What it needs is made in K3S_ARM_DIR (.arm) the first time: a Debian sid with its Swift compiler and an SDK (sdk.sh). Root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
architecture=$1
shift
work=${K3S_ARM_DIR:-$project/.arm}
mkdir -p "$work"
"$here/sdk.sh" "$architecture" "$work"
# shellcheck source=chroot.sh
. "$here/chroot.sh"
cd "$project"
# The packages come from the build for this machine: the chroot needs no git and no network.
scratch=.build-$architecture
swift package resolve
mkdir -p "$scratch"
for part in checkouts repositories workspace-state.json; do
    rm -rf "${scratch:?}/$part" && cp -a ".build/$part" "$scratch/"
done
make -s bin/unretained-ld bin/k3s-commit
make_root
leave() {
    umount "$root/build/k3s" 2>/dev/null || true
    leave_root
}
trap leave EXIT
mkdir -p "$root/build/k3s"
mountpoint -q "$root/build/k3s" || mount --bind "$project" "$root/build/k3s"
linker=(-Xswiftc -use-ld=/build/k3s/bin/unretained-ld -Xlinker --gc-sections -Xlinker --icf=all
    -Xlinker --wrap=_swift_stdlib_getScalarName)
# Times of 64 bits on 32-bit machines too: 2038 is within the life of a gateway.
times=()
[ "$architecture" != armv7 ] || times=(-Xcc -D_TIME_BITS=64)
# The unit tests (test.sh): debug, against shared libraries.
if [ -n "${K3S_ARM_TESTS:-}" ]; then
    in_root sh -c 'cd /build/k3s && exec swift build "$@"' build --build-tests --disable-xctest --scratch-path "$scratch" \
        --disable-automatic-resolution --skip-update --swift-sdks-path /build/sdks --swift-sdk "$architecture" "${times[@]}" "$@"
    exit
fi
in_root sh -c 'cd /build/k3s && export K3S_LINKER=ld.lld && exec swift build "$@"' build -c release --scratch-path "$scratch" \
    --disable-automatic-resolution --skip-update --swift-sdks-path /build/sdks --swift-sdk "$architecture" \
    --static-swift-stdlib -Xswiftc -static-executable -Xswiftc -Osize \
    -Xswiftc -enforce-exclusivity=unchecked -Xswiftc -Xfrontend -Xswiftc -function-sections -Xcc -DK3S_STATIC_LINK "${times[@]}" "${linker[@]}" --product k3s "$@"
in_root llvm-objcopy --strip-all -R .comment "/build/k3s/$scratch/release/k3s" "/build/k3s/bin/k3s-$architecture"
ls -l "bin/k3s-$architecture"
