"""du, nsenter, mount, umount, findmnt, ethtool inside the binary, beside Debian's: the same output, errors and exit codes."""

import os
import re
import subprocess

import pytest
from harness import BINARY
from host_tools import Lab, check, differences, link_tools

TOOLS = ["du", "nsenter", "mount", "umount", "findmnt", "ethtool"]


def split(text):
    return [line for line in text.strip().splitlines() if not line.startswith("#")]


@pytest.fixture
def tools(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    return link_tools(folder, TOOLS)


def test_a_tool_is_a_subcommand_too(tmp_path):
    (tmp_path / "file").write_text("x" * 5000)
    said = [subprocess.run([*name, "-a", "--apparent-size", tmp_path], capture_output=True).stdout
            for name in [["du"], [BINARY, "du"]]]
    assert said[0] == said[1] != b""


DU = r"""
du
du t
du -a t
du -s t
du -sh t
du -h t
du -ah t
du --si -a t
du -k t
du -m t
du -b t
du -ab t
du --apparent-size -h -a t
du -B 512 t
du -B1 -a t
du -BM t
du -B1K -a t
du -B KB -a t
du -B KiB -a t
du -B MiB -a t
du --block-size=human-readable t
du --block-size=si t
du --block-size=1MB t
du --block-size="'1" -a t
du -B 0 t
du -B x t
du -B 1x t
du -B '' t
du -B -1 t
du --block-size=1x t
du --block-size=99999999999999999999 t
du --block-size=1Y t
du -c t t/b
du -c t/a t
du t t
du t/a/../a t/a
du -l -a t
du -L -a t
du -D link
du -H link
du link
du link/
du -L link
du -D loop
du -L loop
du -S t
du -Sa t
du -S -s t
du -d 0 t
du -d 1 t
du -a -d 1 t
du --max-depth=2 t
du -d x t
du -d -1 t
du -d 99999999999999999999 t
du -d 0x1 t
du -d 010 t
du -s -d 1 t
du -s -d 0 t
du -a -s t
du --inodes t
du --inodes -a t
du --inodes -h t
du --inodes -b t
du --inodes -B 2 t
du -x t
du -t 10K -a t
du -t -10K -a t
du -t 0 t
du -t -0 t
du -t x t
du --threshold=1 -a t
du --threshold=-x t
du --inodes -t 2 t
du --exclude='*.o' -a t
du --exclude=b -a t
du --exclude='t/b' -a t
du --exclude='b/*' -a t
du --exclude=t t
du -X patterns -a t
du -X nosuch t
du --time t
du --time=atime t
du --time=access -a t
du --time=ctime t
du --time=bad t
du --time=acc t
du --time=s t
du --time=a t
du --time --time-style=full-iso t
du --time --time-style=iso t
du --time --time-style=long-iso t
du --time --time-style=+%Y:%s -a t
du --time --time-style=bad t
du --time-style=bad t
du --time --time-style=full t
du --time --time-style=i t
TIME_STYLE=iso du --time t
du -0 t
du --files0-from=names
du --files0-from=- < names
du --files0-from=names t
du --files0-from=nosuch
du --files0-from=emptynames
printf '' | du --files0-from=-
du nosuch
du ''
du nosuch t
du nosuch/
du t/a/x
du t/a/x/
du --nosuch
du -Z
du --b
du --ap -a t
du --dereference-args --max-depth
du -d
du --all=1
du -- -dash
DU_BLOCK_SIZE=1M du t
BLOCK_SIZE=human-readable du t
BLOCKSIZE=512 du t
BLOCKSIZE=junk du t
POSIXLY_CORRECT=1 du t
LC_ALL=C.UTF-8 du -d x
LC_ALL=C.UTF-8 du --time=bad t
du t/a t/b/deep t/c
du -sc t/a t/b
du -hs t/a t/b t/c
du odd
du -a odd
du t > /dev/full
"""


def test_du(tools, tmp_path):
    folder = tmp_path / "d"
    (folder / "t/a").mkdir(parents=True)
    (folder / "t/b/deep/er").mkdir(parents=True)
    (folder / "t/c").mkdir()
    (folder / "t/a/x").write_bytes(b"x" * 12345)
    (folder / "t/a/y.o").write_bytes(b"y" * 1234567)
    (folder / "t/b/deep/er/z").write_bytes(b"z" * 10)
    (folder / "t/b/sparse").touch()
    os.truncate(folder / "t/b/sparse", 3 << 30)
    os.link(folder / "t/a/x", folder / "t/b/hard")
    os.symlink("../a", folder / "t/c/up")
    os.symlink("nowhere", folder / "t/c/dangling")
    os.symlink("t", folder / "link")
    os.symlink("loop", folder / "loop")
    (folder / "patterns").write_text("*.o\ndeep\n")
    (folder / "names").write_bytes(b"t/a\0t/b\0nosuch\0")
    (folder / "emptynames").write_bytes(b"t/a\0\0t/b\0")
    (folder / "-dash").mkdir()
    for name in [b"quo'te", b"new\nline", b"wei\xffrd", b'dou"ble']:
        os.makedirs(os.path.join(os.fsencode(folder), b"odd", name, b"in"))
    for root, folders, files in os.walk(folder):
        for name in files + folders:
            os.utime(os.path.join(root, name), (1600000000, 1500000000 + len(name)), follow_symlinks=False)

    def run(path):
        return lambda line: _shell(line, path, folder)

    os.environ["TZ"] = "UTC"
    found = differences(split(DU), run(os.environ["PATH"]), run(f"{tools}:{os.environ['PATH']}"))
    check(found)


def _shell(line, path, folder):
    result = subprocess.run(["sh", "-c", line], capture_output=True, cwd=folder, env=dict(os.environ, PATH=path), text=True,
                            errors="backslashreplace", timeout=60)
    return result.stdout, result.stderr, result.returncode


NSENTER = r"""
nsenter -t P -n readlink /proc/self/ns/net
nsenter -t P -u -i hostname
nsenter --target P --net --uts hostname
nsenter --target=P --mount --uts --ipc --net --pid --cgroup sh -c 'for n in mnt uts ipc net cgroup user; do readlink /proc/self/ns/$n; done'
nsenter -m -u -i -n -p -t P hostname
nsenter -a -t P sh -c 'hostname; readlink /proc/self/ns/net'
nsenter -t P -p sh -c 'readlink /proc/self/ns/pid_for_children'
nsenter -t P -p -F sh -c 'readlink /proc/self/ns/pid_for_children'
nsenter --net=/proc/P/ns/net readlink /proc/self/ns/net
nsenter -n/proc/P/ns/net readlink /proc/self/ns/net
nsenter -n/proc/P/ns/nosuch true
nsenter --net=/etc/passwd true
nsenter --net=/proc/P/ns/uts true
nsenter -t P -r pwd
nsenter -t P -w pwd
nsenter -r/ -w/tmp pwd
nsenter -w/tmp pwd
nsenter -t P -n --wdns /tmp pwd
nsenter -t P -n --wdns=/tmp pwd
nsenter -t P -n -W/nosuch pwd
nsenter -t P -n -W pwd
nsenter -w/nosuch pwd
nsenter -t 999999999 -n true
nsenter -t x -n true
nsenter -t '' -n true
nsenter -n true
nsenter -a true
nsenter -r true
nsenter -w true
nsenter -t P -n nosuchprogram
nsenter -t P -n /etc/passwd
nsenter -t P -n sh -c 'exit 7'
nsenter -t P -p sh -c 'exit 7'
nsenter -t P -p sh -c 'kill -9 $$'
nsenter -t P -n sh -c 'kill -9 $$'
nsenter -t P -U true
nsenter -U -t P -n id -u
nsenter -t P -S 1000 -G 1000 id
nsenter -t P -n -S 65534 id -u
nsenter -S x true
nsenter -G x true
nsenter --nosuch
nsenter -q
nsenter --
nsenter -t
nsenter --ne=/proc/P/ns/net readlink /proc/self/ns/net
nsenter --u true
SHELL=/bin/echo nsenter -t P -n
SHELL=/nosuch nsenter -t P -n
nsenter -t P -n echo -n -t x
nsenter -t P -n -- echo -n
nsenter --preserve-credentials -t P -n id -u
nsenter echo a
"""


def test_nsenter(tools):
    holder = subprocess.Popen(
        ["unshare", "-m", "-u", "-i", "-n", "-C", "-p", "--fork", "--kill-child", "sh", "-c",
         "hostname inside; mount -t tmpfs none /mnt; mkdir /mnt/here; cd /mnt/here; echo $$; exec sleep 1000"],
        stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()
        child = subprocess.run(["pgrep", "-P", str(holder.pid)], capture_output=True, text=True).stdout.strip()
        lines = [line.replace(" P ", f" {child} ").replace("=P ", f"={child} ").replace("/P/", f"/{child}/")
                 for line in split(NSENTER)]

        def run(path):
            return lambda line: _shell(line, path, "/")

        check(differences(lines, run(os.environ["PATH"]), run(f"{tools}:{os.environ['PATH']}")))
    finally:
        holder.kill()
        holder.wait()
    # A child's stopping and going on is the tool's.
    stopped = subprocess.Popen([tools / "nsenter", "-t", str(os.getpid()), "-p", "sh", "-c", "kill -STOP $$; exit 5"])
    assert os.WIFSTOPPED(os.waitpid(stopped.pid, os.WUNTRACED)[1])
    os.kill(stopped.pid, 18)
    assert stopped.wait(timeout=10) == 5


MOUNT = r"""
mount -t tmpfs none a
mount -t tmpfs -o size=1m,mode=700,nr_inodes=100 x b
mount -t tmpfs -osize=1m,ro y b -v
umount b
mount --bind a c
mount -B a d -v
mount -o bind,ro a e
mount -v -o bind,noexec,nosuid a e
umount e
umount e -v
umount e
umount -q e
mount --rbind b f
mount -o remount,ro a
mount -o remount,rw a -v
mount -o remount,bind,ro c
mount -o remount,ro nosuch
mount -o remount,ro plain
mount --bind nosuch e
mount --bind a nosuch
mount --bind file e
mount --bind file file2
mount --bind a file2
mount --move b g
mount --make-private g
mount --move b g
mount -M f h
mount --make-shared a
mount --make-slave a
mount --make-rprivate a -v
mount --make-unbindable a
mount --bind a e
mount --make-private a
mount --make-shared plain
mount --make-private nosuch
mount -o shared a
mount -o rprivate a
mount -t tmpfs -o private,size=2m none e
mount -t nosuch none a
mount -t bogus none a
mount -t nosuch,tmpfs none i
mount -t bogus,tmpfs none i
mount -t tmpfs none nosuch
mount -t tmpfs none file
mount -t tmpfs none dangling
mount /dev/nosuch a
mount nosuchname a
mount a
mount plain
mount nosuch
mount -T fstab one
mount -T fstab -a -t proc
mount -T fstab noauto
mount -T fstab /lab/m
mount -T fstab LABEL=nosuch
mount LABEL=nosuch a
mount UUID=123 a
mount -f -v -t tmpfs none a
mount -f -t nosuch none a
mount -t proc proc p -o nosuid,nodev,noexec,relatime
mount -t sysfs -r sys s
mount -t tmpfs -o strictatime,nodiratime,dirsync,sync none j
mount -t tmpfs -w none k
mount -m -t tmpfs none new/deep/er
mount --mkdir=700 -t tmpfs none new2
mount -o X-mount.mkdir=711 -t tmpfs none new4
mount -t tmpfs -o bad none a
mount -t tmpfs -o size=bad none a
mount -t tmpfs -o defaults,noatime,x-foo=bar,comment=hi none l
mount -t overlay -o lowerdir=o/l,upperdir=o/u,workdir=o/w ov o/m
mount -t overlay -o lowerdir=o/nosuch ov o/m
mount --source none --target q -t tmpfs
mount -t tmpfs none
mount none q r -t tmpfs
mount -o
mount --nosuch
mount -Z
mount --bind a
mount --make-shared
mount -o remount,size=3m q
mount -o remount,size=bad q
mount -o remount,noexec q
mount -o remount q
mount -o remount,rw,exec none q -t tmpfs
mount -t cgroup2 none r
mount -t ext4 none r
mount -n -t tmpfs none n
umount nosuch
umount plain
umount file
umount
umount --nosuch
umount c d
umount c d
umount a nosuch plain
umount -v q none
umount -l j
umount -f k
umount dangling
umount tolink
mount -t tmpfs none z; mount --bind z y; umount -A y; findmnt -n -o TARGET y
umount -d z
mount -t tmpfs t1 z; umount t1; umount t1
mount --bind z "sp ace"; umount "sp ace"
umount -c a
"""

LOOP = r"""
truncate -s 8M disk; mkfs.ext4 -q -F disk
mount disk a; findmnt -n -o FSTYPE,OPTIONS a; umount a
mount -o loop disk a; findmnt -n -o FSTYPE,OPTIONS a
umount a
mount -o ro,loop -t ext4 disk a; touch a/x; umount -d a
mount -o loop,offset=1x disk a
mount -o loop,offset=4096 disk a
mount -o loop nosuch a
mount -t ext4 disk a; umount disk
cat /sys/block/loop*/loop/backing_file 2>/dev/null | grep lab
"""

LAB_SETUP = """
mount --make-rprivate /; mkdir -p /lab; mount -t tmpfs -o mode=755 lab /lab; cd /lab
mkdir a b c d e f g h i j k l m n p q r s y z o o/l o/u o/w o/m plain one two noauto "sp ace"
echo content > file; echo > file2; ln -s nowhere dangling; ln -s a tolink
cat > fstab <<'END'
# comment
none /lab/one tmpfs size=1m,nosuid 0 0
none /lab/two tmpfs defaults
none /lab/noauto tmpfs noauto,mode=700 0 0
none /lab/nosuchdir tmpfs defaults 0 0
proc /lab/m proc defaults 0 0
none none swap sw 0 0
END
"""


def _mounts(lab):
    """What is mounted below /lab, without numbers that the kernel gives."""
    rows = []
    with open(f"/proc/{lab.holder.pid}/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ")
            fields = left.split()
            if fields[4].startswith("/lab"):
                tags = [re.sub(r":\d+", "", tag) for tag in fields[6:]]
                rows.append((*fields[3:6], *tags, re.sub(r"loop\d+", "loopN", right.strip())))
    return rows


@pytest.fixture
def mount_labs(tools):
    labs = [Lab(namespaces="-mn", setup=LAB_SETUP), Lab(tools, namespaces="-mn", setup=LAB_SETUP)]
    yield labs
    for lab in labs:
        lab.close()


def _mount_differences(lines, labs):
    theirs, ours = labs

    def clean(result):
        return [re.sub(r"loop\d+", "loopN", part) if isinstance(part, str) else part for part in result]

    found = []
    for line in lines:
        found += differences([line], lambda line: theirs.run(line, cwd="/lab"), lambda line: ours.run(line, cwd="/lab"), clean)
        if _mounts(theirs) != _mounts(ours):
            found.append((line, f"what is mounted differs: {set(_mounts(theirs)) ^ set(_mounts(ours))}"))
            break
    return found


def test_mount_and_umount(mount_labs):
    check(_mount_differences(split(MOUNT), mount_labs))


@pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="needs loop devices")
def test_loop_mounts(mount_labs):
    check(_mount_differences(split(LOOP), mount_labs))


FINDMNT = r"""
findmnt
findmnt -l
findmnt -a
findmnt -n
findmnt -r
findmnt -P
findmnt -J
findmnt -J -l
findmnt -o TARGET,FSTYPE
findmnt -o TARGET,PROPAGATION,OPT-FIELDS
findmnt -o target,id,parent,maj:min
findmnt -o +ID
findmnt -o ID,PARENT,FSROOT,VFS-OPTIONS,FS-OPTIONS
findmnt -o nosuch
findmnt -o ''
findmnt -J -o TARGET,ID,SIZE,USE%
findmnt -no SOURCE /lab
findmnt -no SIZE,AVAIL,USED,USE% /lab
findmnt -b -o SIZE,USED,TARGET /lab/b
findmnt -D -t tmpfs
findmnt -D /lab/b
findmnt /lab
findmnt lab
findmnt /lab/b
findmnt /lab/b/
findmnt -M /lab/b
findmnt -M /lab/plain
findmnt --mountpoint b
findmnt -T /lab/b/x/y
findmnt -T /lab/plain
findmnt -T plain
findmnt -T /nosuch
findmnt -T /lab/plain -o TARGET -n
findmnt -n -o TARGET --target /lab/b
findmnt -S lab
findmnt -S none -l
findmnt -S none
findmnt none
findmnt none /lab/d
findmnt none /lab/nosuch
findmnt -S LABEL=nosuch
findmnt -S /dev/nosuch
findmnt -t tmpfs
findmnt -t tmpfs -l
findmnt -t proc,sysfs -l
findmnt -t notmpfs,proc -l
findmnt -t nosuch
findmnt -O ro
findmnt -O ro -l
findmnt -O noexec -l
findmnt -O size=1024k -l
findmnt -R /lab
findmnt -R /lab -l
findmnt -R -n -o TARGET /lab/d
findmnt -f -t tmpfs
findmnt -f
findmnt -i -t tmpfs -l
findmnt -d backward -t tmpfs -l
findmnt -d backward -f -t tmpfs
findmnt -d sideways
findmnt -U -l
findmnt -v /lab/c
findmnt /lab/c
findmnt --real -l
findmnt --pseudo -l
findmnt -A -l
findmnt -s
findmnt -s -F /lab/fstab
findmnt -F /lab/fstab -s -o TARGET,SOURCE -n
findmnt -F /lab/fstab -s -t tmpfs
findmnt -s -F /lab/fstab /lab/one
findmnt -s -F /lab/fstab -J
findmnt -F /proc/self/mountinfo -t proc -l
findmnt -F nosuch
findmnt -N 1 -t proc -l
findmnt -N x
findmnt -k -t proc -l
findmnt -m -t proc -l
findmnt -u /lab
findmnt --nosuch
findmnt a b c
findmnt -P -o TARGET,SOURCE -t tmpfs
findmnt -r -o TARGET,SOURCE -t tmpfs
findmnt -y -P -o TARGET,USE% /lab
findmnt -l -o TARGET,LABEL,UUID /lab
findmnt --output-all -P -t proc
findmnt --tree -t tmpfs
LC_ALL=C.UTF-8 findmnt
LC_ALL=C findmnt
LC_ALL=C findmnt -r
LC_ALL=C findmnt -P
LC_ALL=C findmnt -J
findmnt -J -S none
findmnt -J /lab/d
findmnt -y -r -o TARGET,MAJ:MIN,FS-OPTIONS /lab
findmnt -n -o MAJ:MIN /lab
findmnt -J -o MAJ:MIN /lab
du -x /lab
du -x -s /lab/d /lab
LC_ALL=C.UTF-8 findmnt -a -R /lab
LC_ALL=C.UTF-8 findmnt -R /lab -o SOURCE,TARGET
mount | grep lab
mount -l -t tmpfs
mount -t notmpfs | grep proc
mount -v | grep lab
mount -O ro
"""


def test_findmnt(mount_labs, tools):
    theirs = mount_labs[0]
    # Both look at one lab: numbers of mounts and devices are the same.
    theirs.run(r"""cd /lab; mount -t tmpfs -o size=1m b b; mkdir b/x b/x/y; mount --bind b c; mount --bind b/x e
        mount -t tmpfs none d; mkdir d/1 d/2; mount -t tmpfs -o ro none d/1; mount -t tmpfs none d/2; mkdir d/2/3
        mount -t tmpfs none d/2/3; mount -t proc proc p; mount --make-shared d; mount --bind d f; mount --make-slave f
        mount -t tmpfs none d/2; mount -t tmpfs 'odd "name\' "sp ace"; mount -t tmpfs über l
        mount -o remount,bind,ro,noexec c""")
    path = f"{tools}:{os.environ['PATH']}"

    def clean(result):
        return [re.sub(r'TID="\d+"', "TID", part) if isinstance(part, str) else part for part in result]

    found = differences(
        split(FINDMNT), lambda line: theirs.run(line, cwd="/lab"), lambda line: theirs.run(line, cwd="/lab", path=path),
        clean)
    check(found)


ETHTOOL = r"""
ethtool
ethtool lo
ethtool v0
ethtool d0
ethtool br0
ethtool nosuch
ethtool -k lo
ethtool -k v0
ethtool --show-features v1
ethtool --show-offload d0
ethtool -k nosuch
ethtool -k
ethtool -K v0 tx off
ethtool -k v0
ethtool -K v0 tx on
ethtool -k v0
ethtool -K v0 tx-checksum-ip-generic off
ethtool -K v0 rx off gro on
ethtool -K v0 tso off sg off
ethtool --offload v0 sg on tso on gso off
ethtool --features v0 generic-segmentation-offload on
ethtool -k v0
ethtool -K v0 tx-checksumming off
ethtool -K v0 tx-checksumming off
ethtool -K v0 lro on
ethtool -K v0 ntuple on
ethtool -K lo tx off
ethtool -K br0 tx off
ethtool -k br0
ethtool -K v0 nosuch on
ethtool -K v0 tx
ethtool -K v0 tx maybe
ethtool -K v0
ethtool -K nosuch tx off
ethtool -K d0 tx off rx off
ethtool -i v0
ethtool -i d0
ethtool -i br0
ethtool -i lo
ethtool --driver nosuch
ethtool -S v0
ethtool -S lo
ethtool -S br0
ethtool --statistics nosuch
ethtool -Q v0
ethtool --nosuch
ethtool -k toolonginterfacename
ethtool v0 v1
ethtool toolonginterfacename
"""


def test_ethtool(tools):
    setup = ("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip link add d0 type veth peer name d1;"
             "ip link add br0 type bridge; ip link set v1 master br0; ip link set br0 up; sleep 0.2")
    labs = [Lab(setup=setup), Lab(tools, setup=setup)]
    try:
        def clean(result):
            # Packets that came by meanwhile.
            return [re.sub(r"(?m)^(     .*): \d+$", r"\1: N", p) if isinstance(p, str) else p for p in result]

        check(differences(split(ETHTOOL), labs[0].run, labs[1].run, clean))
    finally:
        for lab in labs:
            lab.close()
