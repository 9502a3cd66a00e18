#!/bin/bash
# Installs Debian's packages that building ("build"), testing ("test") and ARM ("arm") need; does nothing where they are there.
set -eu
build="make binutils git pkg-config libsqlite3-dev libssl-dev libseccomp-dev libzstd-dev zlib1g-dev libyaml-dev libnghttp2-dev"
test="nftables iproute2 util-linux procps curl openssl busybox-static docker-registry skopeo apache2-utils crun runc umoci
 containerd uidmap iptables conntrack ipset socat ethtool bind9-dnsutils iperf3 containernetworking-plugins python3 python3-venv python3-pip xz-utils zstd strace cpio kmod"
# For the virtual machine of the tests; it is an amd64 one.
[ "$(dpkg --print-architecture)" = amd64 ] && test="$test qemu-system-x86"
arm="debootstrap qemu-system-arm qemu-user-static cpio kmod"
wanted=""
for kind in "$@"; do
    case $kind in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    arm) wanted="$wanted $arm" ;;
    *) echo "hack/deps.sh: \"$kind\" is not build, test or arm" >&2; exit 1 ;;
    esac
done
missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "these packages are needed; install them or run as root:$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update -qq
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
