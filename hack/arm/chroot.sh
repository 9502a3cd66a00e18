# Sourced: a Debian sid with its own Swift compiler at $work/root, in which SDKs are made and the product is compiled for ARM.
# Needs: root, debootstrap, $work.
root=$work/root
in_root() { chroot "$root" /usr/bin/env PATH=/usr/libexec/swift/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/build/home LANG=C "$@"; }
step() { echo "== $*" >&2; }

make_root() {
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' | grep -v security | head -1)
    if [ ! -x "$root/usr/bin/apt-get" ]; then
        step "Debian sid in $root"
        mkdir -p "$work"
        debootstrap --variant=minbase --include=ca-certificates sid "$root" "$mirror" >"$work/debootstrap.log" 2>&1
    fi
    mkdir -p "$root/build/home" "$root/build/sdks"
    printf 'deb %s sid main\ndeb-src %s sid main\n' "$mirror" "$mirror" >"$root/etc/apt/sources.list"
    # A mirror's sid may be some days old.
    echo 'Acquire::Check-Valid-Until "false"; APT::Install-Recommends "false"; APT::Get::Assume-Yes "true";' \
        >"$root/etc/apt/apt.conf.d/99arm"
    mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
    mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
    [ -x "$root/usr/libexec/swift/bin/swiftc" ] && [ -x "$root/usr/bin/ninja" ] && return
    step "its Swift compiler"
    in_root sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install swiftlang swiftlang-dev libswiftlang \
        dpkg-dev git clang lld cmake ninja-build python3 patch xz-utils' >"$work/packages.log" 2>&1
}

leave_root() { umount "$root/dev" "$root/proc" 2>/dev/null || true; }
