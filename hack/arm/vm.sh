#!/bin/bash
# Boots an ARMv7 machine of 128 MB: Debian's armmp kernel, and a k3s binary as the only userland beside busybox. It runs
# `k3s server`, and tells on its console what memory is left. Emulated (qemu-system-arm): what is tested is that it works and
# what it takes, not its speed. 77: there is no virtual machine here, and why.
#   vm.sh K3S PORT    PORT of this machine's loopback is the machine's 6443; the token "admin" of user admin may everything
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
k3s=$(realpath "$1") port=$2
folder=${VM_FOLDER:-$(cd "$here/../.." && pwd)/.test/vm-armv7}
for program in qemu-system-arm cpio depmod; do
    command -v $program >/dev/null || { echo "$0: skipped: $program is not installed" >&2; exit 77; }
done
modules="crc32c_generic overlay veth bridge br_netfilter vxlan nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_fib_ipv4 nft_fib_ipv6
 nft_fib_inet nft_hash nft_numgen nft_limit nft_reject_inet nft_reject_ipv4 nft_reject_ipv6 dummy virtio_mmio virtio_net"
if [ ! -f "$folder/kernel/vmlinuz" ]; then
    rm -rf "$folder" && mkdir -p "$folder/kernel"
    "$here/sysroot.sh" bookworm armhf "$folder/tree" busybox-static linux-image-armmp
    base=$(echo "$folder"/tree/lib/modules/*)
    depmod -b "$folder/tree" "${base##*/}"
    # In an order in which each finds what it needs.
    number=100
    for module in $modules; do
        line=$(grep -E "/$module\.ko:" "$base/modules.dep")
        for file in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
            number=$((number + 1))
            compgen -G "$folder/kernel/*-${file##*/}" >/dev/null || cp "$base/$file" "$folder/kernel/$number-${file##*/}"
        done
    done
    cp "$folder/tree/bin/busybox" "$folder/kernel/busybox"
    cp "$folder"/tree/boot/vmlinuz-* "$folder/kernel/vmlinuz"
    rm -rf "$folder/tree" "$folder/tree.apt"
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# The image that pods are made of, in the form of `docker save`.
mkdir -p "$stage/image/layer/bin"
cp "$folder/kernel/busybox" "$stage/image/layer/bin/busybox"
for name in sh sleep echo cat hostname; do ln -s busybox "$stage/image/layer/bin/$name"; done
tar -C "$stage/image/layer" -cf "$stage/image/layer.tar" .
layer=$(sha256sum <"$stage/image/layer.tar" | cut -d' ' -f1)
echo '{"architecture":"arm","variant":"v7","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},
 "rootfs":{"type":"layers","diff_ids":["sha256:'"$layer"'"]}}' >"$stage/image/config.json"
echo '[{"Config":"config.json","RepoTags":["docker.io/library/busybox:test"],"Layers":["layer.tar"]}]' >"$stage/image/manifest.json"

root=$stage/root
mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,run,etc,mnt,modules,usr/bin}
cp "$folder/kernel/busybox" "$root/bin/busybox"
cp "$k3s" "$root/bin/k3s"
cp "$folder"/kernel/*.ko "$root/modules/"
tar -C "$stage/image" -cf "$root/etc/busybox.tar" manifest.json config.json layer.tar
cat >"$root/init" <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in /modules/*; do insmod "$module" || echo "vm: failed: $module"; done
# The memory that modules and the first file system took while they lay there as files.
rm -r /modules
hostname armv7
ip link set lo up
for i in 1 2 3; do ip link set eth0 up && break || sleep 1; done
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
mount -t tmpfs -o size=48m data /mnt
mkdir -p /mnt/k3s/agent/images
mv /etc/busybox.tar /mnt/k3s/agent/images/
printf 'admin,admin,admin,"system:masters"\n' >/tmp/tokens
k3s server --data-dir /mnt/k3s --node-name armv7 --node-ip 10.0.2.15 --write-kubeconfig /tmp/kubeconfig \
    --kube-apiserver-arg=token-auth-file=/tmp/tokens >/dev/console 2>&1 &
while sleep 10; do
    echo "vm: uptime $(cut -d' ' -f1 /proc/uptime)"
    grep -E 'MemTotal|MemAvailable' /proc/meminfo | sed 's/^/vm: /'
    for process in $(pidof k3s); do
        echo "vm: process $process $(tr '\0' ' ' </proc/$process/cmdline | cut -c1-30) $(grep VmRSS /proc/$process/status)"
    done
done
I
chmod +x "$root/init"
# The initramfs goes through the machine's memory twice: small is fast here.
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$stage/initrd.gz"
qemu-system-arm -M virt,highmem=off -cpu cortex-a7 -m 128 -nographic -no-reboot -kernel "$folder/kernel/vmlinuz" \
    -initrd "$stage/initrd.gz" -append "console=ttyAMA0 quiet panic=-1" \
    -netdev "user,id=n,hostfwd=tcp:127.0.0.1:$port-:6443" -device virtio-net-device,netdev=n </dev/null
