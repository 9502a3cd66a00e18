#!/bin/bash
# Runs a command as root in a small virtual machine of its own: Debian's cloud kernel, an initramfs of busybox and the
# files that are named, cgroup v2 alone. Its output is the command's, its exit code too. 77: there is no virtual machine
# here, and why.
#
#   hack/vm.sh [-s] [-m MIB] [-t SECONDS] [-a KERNEL-ARGUMENTS] [-f FILE[:PATH]]... -- COMMAND [ARGUMENT]...
#
# -s: the first process is the host's systemd, and the command its only service.
#
# Programs come without their debugging symbols and with the shared libraries that they need. Always emulated: what is
# tested is the kernel's interface, not its speed, and nested KVM is missing or hangs on many build machines.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
memory=2048 limit=600 arguments="" files=() systemd=
while getopts sm:t:a:f: option; do
    case $option in
    s) systemd=/lib/systemd/systemd files+=(/lib/systemd/systemd) ;;
    m) memory=$OPTARG ;;
    t) limit=$OPTARG ;;
    a) arguments=$OPTARG ;;
    f) files+=("$OPTARG") ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
skip() { echo "hack/vm.sh: skipped: $*" >&2; exit 77; }
[ "$(uname -m)" = x86_64 ] || skip "the virtual machine is for x86_64 only"
for program in qemu-system-x86_64 cpio objcopy; do
    command -v $program >/dev/null || skip "$program is not installed (hack/deps.sh test)"
done
[ -z "$systemd" ] || [ -x "$systemd" ] || skip "$systemd is not installed"
[ -x /bin/busybox ] || skip "/bin/busybox is not installed (hack/deps.sh test)"

# The kernel and the modules that containers need, once.
folder=${VM_FOLDER:-$here/.test/vm}
modules="overlay veth bridge bfq ext4 loop vxlan wireguard nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_fib_ipv4
 nft_fib_ipv6 nft_fib_inet nft_hash nft_numgen nft_limit nft_reject_inet nft_reject_ipv4 nft_reject_ipv6"
if [ ! -f "$folder/kernel/vmlinuz" ] || [ "$(cat "$folder/kernel/list" 2>/dev/null)" != "$modules" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends:/{print $2; exit}')
    [ -n "$package" ] || skip "apt does not know linux-image-cloud-amd64"
    new=$folder/kernel.$$
    rm -rf "$new"
    mkdir -p "$new/download"
    (cd "$new/download" && apt-get download -qq "$package" >/dev/null 2>&1) || { rm -rf "$new"; skip "apt cannot download $package"; }
    dpkg-deb -x "$new"/download/*.deb "$new/tree"
    mv "$new"/tree/boot/vmlinuz-* "$new/vmlinuz"
    mkdir "$new/modules"
    # In an order in which each finds what it needs.
    base=$(echo "$new"/tree/lib/modules/*)
    depmod -b "$new/tree" "${base##*/}" 2>/dev/null || /sbin/depmod -b "$new/tree" "${base##*/}"
    number=100
    for module in $modules; do
        line=$(grep -E "/$module\.ko:" "$base/modules.dep" || true)
        [ -n "$line" ] || continue
        for file in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
            number=$((number + 1))
            ls "$new/modules/"*-"${file##*/}" >/dev/null 2>&1 || cp "$base/$file" "$new/modules/$number-${file##*/}"
        done
    done
    rm -rf "$new/tree" "$new/download"
    echo "$modules" >"$new/list"
    rm -rf "$folder/kernel"
    mv -T "$new" "$folder/kernel" 2>/dev/null || rm -rf "$new"
fi

stage=$(mktemp -d "$folder/stage.XXXXXX")
trap 'rm -rf "$stage"' EXIT
root=$stage/root
mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,run,etc,root,modules,var/lib,usr/bin}
# By symbolic links, which cpio follows: nothing is copied but what is stripped.
put() { mkdir -p "$root/$(dirname "$2")"; [ -e "$root/$2" ] || ln -s "$1" "$root/$2"; }
put /bin/busybox /bin/busybox
for file in "$folder"/kernel/modules/*; do put "$file" "/modules/${file##*/}"; done
for entry in ${files[@]+"${files[@]}"}; do
    source=${entry%%:*} target=${entry#*:}
    [ -e "$source" ] || { echo "hack/vm.sh: no such file: $source" >&2; exit 2; }
    source=$(realpath "$source")
    [ "${target#/}" != "$target" ] || target=$source
    if [ -d "$source" ] || [ "$(head -c 4 "$source" | tail -c 3)" != ELF ]; then
        put "$source" "$target"
        continue
    fi
    mkdir -p "$root/$(dirname "$target")"
    objcopy -S "$source" "$root/$target"
    # "lib => path (address)" and the loader's "path (address)"
    { ldd "$source" 2>/dev/null || true; } | awk '{for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i}' |
        while read -r library; do put "$library" "$library"; done
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$root/etc/group"
{
    echo '#!/bin/busybox sh'
    echo 'cd /'
    echo 'export PATH=/bin:/sbin:/usr/bin HOME=/root TERM=dumb'
    printf 'set --'
    printf ' %q' "$@"
    cat <<'COMMAND'

exec </dev/null >/dev/console 2>&1
echo "vm: begin"
"$@"
echo "vm: exit $?"
sync
poweroff -f
COMMAND
} >"$root/command"
{
    echo '#!/bin/busybox sh'
    echo "systemd=$systemd"
    cat <<'INIT'
cd /
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount --make-rshared /
for module in /modules/*; do insmod "$module" 2>/dev/null; done
ip link set lo up
# A disk, in memory: tmpfs lacks what old kernels can do on disks only (idmapped mounts).
dd if=/dev/zero of=/run/disk bs=1M count=1 seek=1500 2>/dev/null
mke2fs -F /run/disk >/dev/null 2>&1
mount -t ext4 -o loop /run/disk /tmp || mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
if [ "$systemd" ]; then
    mkdir -p /etc/systemd/system
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/command\nTasksMax=infinity\n' \
        >/etc/systemd/system/vm.service
    exec "$systemd" --unit=vm.service --show-status=no --log-target=null --default-standard-output=null
fi
# Out of the root cgroup, which is nobody's to limit.
mkdir /sys/fs/cgroup/init && echo 1 >/sys/fs/cgroup/init/cgroup.procs
exec /command
INIT
} >"$root/init"
chmod 755 "$root/init" "$root/command"
(cd "$root" && find . | cpio -o -L -H newc --quiet >"$stage/initrd" 2>/dev/null)

# The console ends lines with CR LF.
timeout -k 5 "$limit" qemu-system-x86_64 -accel tcg,thread=multi -M pc -cpu max -smp 2 -m "$memory" -nodefaults \
    -nographic -no-reboot -serial stdio -kernel "$folder/kernel/vmlinuz" -initrd "$stage/initrd" \
    -append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off rdinit=/init $arguments" </dev/null 2>"$stage/errors" |
    tr -d '\r' | awk -v result="$stage/result" '
        /vm: begin$/ {on = 1; next}
        /^vm: exit [0-9]+$/ {print $3 >result; on = 0}
        on {print; fflush()}' || true
if [ ! -s "$stage/result" ]; then
    head -5 "$stage/errors" >&2
    echo "hack/vm.sh: the machine ended before the command did (limit: $limit s)" >&2
    exit 124
fi
exit "$(cat "$stage/result")"
