#!/bin/bash
# Makes a Swift SDK for Linux on 32-bit ARM (Debian 12's armhf) or 64-bit ARM from Debian's packages alone, beside the compiler
# that uses it: a Debian sid with its own swiftlang, in a directory to change root into.
#   sdk.sh armv7|arm64 DIRECTORY: out comes DIRECTORY/root/build/sdks/ARCHITECTURE.artifactbundle
# Debian has Swift for arm64, so that SDK is made of its packages. For armhf there is none: the standard library is compiled from
# the source package of sid's compiler, with what 32-bit ARM needs mended (patches/), and libdispatch, on which Swift's tasks run.
# No Foundation: the product has none. Root; 20 minutes on two cores and 6 GB for armv7, three minutes and 3 GB for arm64.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
architecture=$1
work=$2
# shellcheck source=chroot.sh
. "$here/chroot.sh"
build=$work/root/build
bundle=$build/sdks/$architecture.artifactbundle
[ ! -f "$bundle/info.json" ] || exit 0
libraries="libsqlite3-dev libssl-dev libseccomp-dev zlib1g-dev libzstd-dev libyaml-dev libnghttp2-dev"
case $architecture in
armv7)
    target=armv7-unknown-linux-gnueabihf gcc=arm-linux-gnueabihf/12
    # Debian armhf's own baseline: Thumb-2, VFPv3 with 16 registers (some ARMv7 has no NEON). Files and times of 64 bits.
    machine=(-march=armv7-a -mthumb -mfpu=vfpv3-d16 -mfloat-abi=hard)
    importer=(-mthumb -mfpu=vfpv3-d16)
    defines=(-D_FILE_OFFSET_BITS=64)
    ;;
arm64)
    target=aarch64-unknown-linux-gnu
    machine=() importer=() defines=()
    ;;
*)
    echo "$0: $architecture: armv7 or arm64 was expected" >&2
    exit 2
    ;;
esac
make_root
trap leave_root EXIT
tools=/usr/libexec/swift/bin
version=$(in_root dpkg-query -W -f '${source:Upstream-Version}' swiftlang)
clang=$(basename "$(ls -d "$root"/usr/libexec/swift/lib/clang/*)")
sysroot=$build/$architecture-sysroot

# What runs without a word unless it fails: logged FILE COMMAND...
logged() {
    local log=$work/$architecture-$1.log
    shift
    "$@" >"$log" 2>&1 || {
        tail -30 "$log" >&2
        exit 1
    }
}

source_of_swift() {
    [ ! -d "$build/src" ] || return 0
    step "source of swiftlang $version"
    logged source in_root sh -c 'cd /build && apt-get -q source --download-only swiftlang'
    rm -rf "$build/src.new" && mkdir "$build/src.new"
    tar xf "$build/swiftlang_$version.orig.tar.xz" -C "$build/src.new" --strip-components=1 \
        "swiftlang-$version"/{swift,swift-corelibs-libdispatch,swift-experimental-string-processing} \
        "swiftlang-$version"/llvm-project/{llvm,clang,cmake,third-party}
    tar xf "$build/swiftlang_$version"-*.debian.tar.xz -C "$build/src.new"
    (
        cd "$build/src.new"
        for name in cmake_x86_64_arch unused_args clang_19 aarch64_PAGE_SIZE implicit_conversion_error; do
            [ ! -f "debian/patches/$name.patch" ] || patch -p1 -s <"debian/patches/$name.patch"
        done
        for file in "$here"/patches/*.patch; do patch -p1 -s <"$file"; done
        : >swift/stdlib/private/CMakeLists.txt # the standard library's own tests
    )
    mv "$build/src.new" "$build/src"
}

# The standard library, concurrency and what belongs to them, and libdispatch, into the sysroot.
standard_library() {
    source_of_swift
    local flags="-w -fuse-ld=lld --sysroot=/build/$architecture-sysroot
        --gcc-install-dir=/build/$architecture-sysroot/usr/lib/gcc/$gcc -target $target ${machine[*]} ${defines[*]}"
    flags=$(echo $flags)
    local sdk=/build/$architecture-sysroot option importer_flags=""
    for option in "${importer[@]}" "${defines[@]}"; do importer_flags+=" -Xcc $option"; done
    importer_flags=${importer_flags# }
    local common=(-G Ninja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=armv7-a -DCMAKE_BUILD_TYPE=Release
        -DCMAKE_C_COMPILER=$tools/clang -DCMAKE_CXX_COMPILER=$tools/clang++ -DCMAKE_AR=$tools/llvm-ar
        -DCMAKE_RANLIB=$tools/llvm-ranlib -DCMAKE_SYSROOT="$sdk" -DCMAKE_Swift_COMPILER=$tools/swiftc
        -DCMAKE_Swift_COMPILER_WORKS=YES "-DCMAKE_C_FLAGS=$flags" "-DCMAKE_CXX_FLAGS=$flags")

    step "LLVM: configured, not built (only its configuration is needed)"
    local option options=()
    for option in TESTS BENCHMARKS EXAMPLES DOCS; do options+=("-DLLVM_INCLUDE_$option=OFF"); done
    for option in TERMINFO ZSTD ZLIB LIBXML2 LIBEDIT; do options+=("-DLLVM_ENABLE_$option=OFF"); done
    [ -f "$build/llvm/build.ninja" ] || logged llvm in_root cmake -G Ninja -S /build/src/llvm-project/llvm -B /build/llvm \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DLLVM_USE_LINKER=lld \
        -DLLVM_TARGETS_TO_BUILD=ARM -DLLVM_ENABLE_PROJECTS=clang -DCLANG_ENABLE_STATIC_ANALYZER=OFF \
        -DCLANG_ENABLE_ARCMT=OFF "${options[@]}"

    step "standard library"
    options=()
    for option in INCLUDE_TOOLS INCLUDE_TESTS INCLUDE_TEST_BINARIES INCLUDE_DOCS BUILD_REMOTE_MIRROR BUILD_SOURCEKIT \
        ENABLE_SOURCEKIT_TESTS BUILD_TEST_SUPPORT_MODULES BUILD_PERF_TESTSUITE BUILD_LIBEXEC STDLIB_ASSERTIONS \
        ENABLE_EXPERIMENTAL_DIFFERENTIABLE_PROGRAMMING ENABLE_BACKTRACING SHOULD_BUILD_EMBEDDED_STDLIB; do
        options+=("-DSWIFT_$option=OFF")
    done
    for option in BUILD_RUNTIME_WITH_HOST_COMPILER BUILD_DYNAMIC_SDK_OVERLAY BUILD_STATIC_SDK_OVERLAY BUILD_DYNAMIC_STDLIB \
        BUILD_STATIC_STDLIB BUILD_STDLIB_EXTRA_TOOLCHAIN_CONTENT BUILD_STDLIB_CXX_MODULE ENABLE_EXPERIMENTAL_CONCURRENCY \
        ENABLE_EXPERIMENTAL_STRING_PROCESSING ENABLE_EXPERIMENTAL_CXX_INTEROP ENABLE_CXX_INTEROP_SWIFT_BRIDGING_HEADER \
        ENABLE_EXPERIMENTAL_DISTRIBUTED ENABLE_EXPERIMENTAL_OBSERVATION ENABLE_SYNCHRONIZATION ENABLE_VOLATILE; do
        options+=("-DSWIFT_$option=ON")
    done
    for option in CLANG LLVM SWIFT; do options+=("-DSWIFT_NATIVE_${option}_TOOLS_PATH=$tools"); done
    for option in HOST_VARIANT PRIMARY_VARIANT; do
        options+=("-DSWIFT_${option}_SDK=LINUX" "-DSWIFT_${option}_ARCH=armv7")
    done
    logged configure in_root cmake "${common[@]}" -S /build/src/swift -B /build/stdlib -DCMAKE_CROSSCOMPILING=ON \
        -DBUILD_SHARED_LIBS=ON "-DCMAKE_Swift_FLAGS=-target $target -sdk $sdk" -DCMAKE_Swift_FLAGS_RELEASE= \
        "-DSWIFT_STDLIB_EXTRA_SWIFT_COMPILE_FLAGS=${importer_flags// /;}" -DSWIFT_USE_LINKER=lld -DLLVM_USE_LINKER=lld \
        -DLLVM_DIR=/build/llvm/lib/cmake/llvm -DClang_DIR=/build/llvm/lib/cmake/clang \
        -DLLVM_BUILD_LIBRARY_DIR=/build/llvm/lib -DSWIFT_HOST_VARIANT=linux -DSWIFT_SDKS=LINUX \
        "-DSWIFT_SDK_LINUX_ARCH_armv7_PATH=$sdk" -DSWIFT_SDK_LINUX_CXX_OVERLAY_SWIFT_COMPILE_FLAGS= \
        -DSWIFT_PATH_TO_LIBDISPATCH_SOURCE=/build/src/swift-corelibs-libdispatch \
        -DSWIFT_PATH_TO_STRING_PROCESSING_SOURCE=/build/src/swift-experimental-string-processing "${options[@]}"
    logged compile in_root ninja -C /build/stdlib
    local kind library
    for kind in swift swift_static; do
        library=$sysroot/usr/lib/$kind
        rm -rf "$library" && mkdir -p "$library"
        cp -aL "$build/stdlib/lib/$kind/linux" "$library/"
        cp -a "$build/src/swift/stdlib/public/SwiftShims/swift/shims" "$library/"
        cp -aL "$build/stdlib/lib/$kind/shims/." "$library/shims/"
        rm -f "$library"/linux/armv7/libswift*
        ln -sfn "../clang/$clang" "$library/clang"
    done
    cp -aL "$build/stdlib/lib/swift/apinotes" "$sysroot/usr/lib/swift/"
    # Weak references use atomics of 16 bytes.
    for library in "$sysroot"/usr/lib/swift_static/linux/static-{executable,stdlib}-args.lnk; do
        printf '\n-latomic\n' >>"$library"
    done

    step "libdispatch"
    library=$sdk/usr/lib/swift_static
    logged dispatch in_root cmake "${common[@]}" -S /build/src/swift-corelibs-libdispatch -B /build/dispatch \
        -DCMAKE_INSTALL_PREFIX=/build/dispatch-install/usr -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTING=OFF -DENABLE_SWIFT=YES \
        "-DCMAKE_Swift_COMPILER_TARGET=$target" \
        "-DCMAKE_Swift_FLAGS=-target $target -sdk $sdk -resource-dir $library -use-ld=lld $importer_flags"
    logged dispatch-compile in_root ninja -C /build/dispatch install
    cp -a "$build/dispatch-install/usr/lib/swift_static/." "$sysroot/usr/lib/swift_static/"
}

# The compiler's own headers (stddef.h), which the clang importer looks for beside the libraries.
compiler_headers() {
    mkdir -p "$sysroot/usr/lib/clang/$clang"
    cp -a "$root/usr/libexec/swift/lib/clang/$clang/include" "$sysroot/usr/lib/clang/$clang/"
}

case $architecture in
armv7)
    step "Debian 12 for armhf"
    "$here/sysroot.sh" bookworm armhf "$sysroot" libc6-dev libstdc++-12-dev libgcc-12-dev linux-libc-dev $libraries
    compiler_headers
    standard_library
    ;;
arm64)
    # The library is sid's, and so is what it was compiled against. Nothing of it is needed where the static program runs.
    step "Debian sid for arm64, with its Swift"
    compiler=$(in_root sh -c 'ls /usr/lib/gcc/x86_64-linux-gnu' | sort -n | tail -1)
    "$here/sysroot.sh" sid arm64 "$sysroot" libc6-dev "libstdc++-$compiler-dev" "libgcc-$compiler-dev" linux-libc-dev \
        $libraries swiftlang libswiftlang swiftlang-dev
    for kind in swift swift_static; do
        rm -rf "${sysroot:?}/usr/lib/$kind"
        cp -a "$sysroot/usr/libexec/swift/lib/$kind" "$sysroot/usr/lib/$kind"
        ln -sfn "../clang/$clang" "$sysroot/usr/lib/$kind/clang"
        # What runs on arm64 only, or belongs to other targets.
        rm -rf "$sysroot/usr/lib/$kind"/{host,pm,migrator,embedded,FrameworkABIBaseline}
    done
    rm -rf "$sysroot"/usr/{libexec,lib/python*}
    compiler_headers
    ;;
esac

step "bundle"
rm -rf "$bundle" "$sysroot"/usr/{share,bin,sbin} "$sysroot/etc"
mkdir -p "$bundle/$architecture"
cp -a "$sysroot" "$bundle/$architecture/sysroot"
# "-x","y": the values as JSON.
values() {
    local list
    list=$(printf ',"%s"' "$@")
    echo "[${list:1}]"
}
swift_options=(-use-ld=lld)
for option in "${importer[@]}" "${defines[@]}"; do swift_options+=(-Xcc "$option"); done
c_options=("${machine[@]}" "${defines[@]}" -w)
cat >"$bundle/$architecture/toolset.json" <<J
{"schemaVersion":"1.0","swiftCompiler":{"extraCLIOptions":$(values "${swift_options[@]}")},
 "cCompiler":{"extraCLIOptions":$(values "${c_options[@]}")},"cxxCompiler":{"extraCLIOptions":$(values "${c_options[@]}")}}
J
cat >"$bundle/$architecture/swift-sdk.json" <<J
{"schemaVersion":"4.0","targetTriples":{"$target":{"sdkRootPath":"sysroot","swiftResourcesPath":"sysroot/usr/lib/swift",
 "swiftStaticResourcesPath":"sysroot/usr/lib/swift_static","toolsetPaths":["toolset.json"]}}}
J
cat >"$bundle/info.json" <<J
{"schemaVersion":"1.0","artifacts":{"$architecture":{"type":"swiftSDK","version":"$version",
 "variants":[{"path":"$architecture","supportedTriples":["x86_64-unknown-linux-gnu","x86_64-pc-linux-gnu"]}]}}}
J
du -sh "$bundle"
