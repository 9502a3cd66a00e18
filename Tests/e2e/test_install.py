"""install.sh and the scripts that it writes, in a copy-on-write view of this machine with a service manager that notes
what it is told: systemd and OpenRC, Debian's sh (dash) and busybox'."""

import os
import re
import shutil
import signal
import subprocess
import textwrap
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "install.sh")
SHELLS = ["dash", "busybox sh"]

SETUP = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount -t tmpfs none "$1/root/run"
mount -t tmpfs none "$1/root/tmp"
echo ready
exec chroot "$1/root" sleep infinity
"""


class View:
    """The machine's files behind an overlay, in mount, PID and network namespaces of its own."""

    def __init__(self, directory, openrc=False):
        self.directory = str(directory)
        self.holder = subprocess.Popen(
            ["unshare", "-m", "-p", "-n", "-f", "--kill-child", "sh", "-c", SETUP, "sh", self.directory],
            stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        with open(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children") as f:
            self.pid = f.read().split()[0]
        while not os.readlink(f"/proc/{self.pid}/exe").endswith("/sleep"):
            time.sleep(0.01)
        self.run("for name in k3s kubectl crictl ctr; do rm -f /usr/local/bin/$name /usr/bin/$name; done")
        self.run("rm -rf /etc/rancher /var/lib/rancher /var/lib/kubelet; mkdir -p /srv")
        note = '#!/bin/sh\necho "$(basename "$0") $*" >>/srv/log\n'
        if openrc:
            self.write("/sbin/openrc-run", '#!/bin/sh\nscript=$1; shift\n. "$script"\necho "$script $*" >>/srv/log\n'
                       'echo "$command $command_args" >>/srv/command\nexport -p >/srv/environment\n')
            self.write("/usr/sbin/rc-update", note)
        else:
            self.write("/usr/bin/systemctl", note)
        self.write("/srv/k3s", "#!/bin/sh\necho first\n")
        with open(SCRIPT) as f:
            self.write("/srv/install.sh", f.read())

    def command(self, *words):
        return ["nsenter", "-t", self.pid, "-m", "-p", "-n", "-r", "-w", "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *words]

    def run(self, script, check=True, **env):
        done = subprocess.run(self.command(*[f"{k}={v}" for k, v in env.items()], "sh", "-c", script),
                              capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done if not check else done.stdout

    def write(self, path, text, mode="755"):
        subprocess.run(self.command("sh", "-c", f"mkdir -p $(dirname {path}) && cat >{path} && chmod {mode} {path}"),
                       input=text, text=True, check=True, timeout=60)

    def read(self, path):
        return self.run(f"cat {path}")

    def exists(self, path):
        return self.run(f"[ -e {path} ] || [ -L {path} ]", check=False).returncode == 0

    def install(self, shell, arguments="", check=True, **env):
        return self.run(f"cd /srv && {shell} ./install.sh {arguments}", check=check, **env)

    def log(self):
        text = self.run("cat /srv/log 2>/dev/null; rm -f /srv/log")
        return text.splitlines()

    def destroy(self):
        self.holder.send_signal(signal.SIGKILL)
        self.holder.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def view(tmp_path):
    made = View(tmp_path)
    yield made
    made.destroy()


@pytest.fixture
def openrc(tmp_path):
    made = View(tmp_path, openrc=True)
    yield made
    made.destroy()


def words_of_unit(unit):
    """ExecStart as systemd reads it: lines joined, single quotes, backslash before a quote."""
    text = unit.split("ExecStart=", 1)[1].replace("\\\n", " ")
    return [w.replace("'\\''", "'").strip("'") for w in re.findall(r"'(?:[^']|'\\'')*'|\S+", text)]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_server_is_installed_and_started(view, shell):
    out = view.install(shell)
    assert "[INFO]  Installing k3s to /usr/local/bin/k3s" in out
    assert "[INFO]  systemd: Starting k3s" in out
    assert view.log() == ["systemctl enable /etc/systemd/system/k3s.service", "systemctl daemon-reload",
                          "systemctl restart k3s"]
    assert view.run("k3s") == "first\n"
    assert view.run("stat -c '%a %U' /usr/local/bin/k3s").split() == ["755", "root"]
    assert view.run("readlink /usr/local/bin/kubectl /usr/local/bin/crictl /usr/local/bin/ctr").split() == ["k3s"] * 3
    unit = view.read("/etc/systemd/system/k3s.service")
    for line in ["Type=notify", "KillMode=process", "Delegate=yes", "Restart=always", "LimitNOFILE=1048576",
                 "EnvironmentFile=-/etc/systemd/system/k3s.service.env", "WantedBy=multi-user.target"]:
        assert line in unit.splitlines()
    assert words_of_unit(unit) == ["/usr/local/bin/k3s", "server"]
    assert view.run("stat -c %a /etc/systemd/system/k3s.service.env").strip() == "600"
    assert view.exists("/usr/local/bin/k3s-killall.sh") and view.exists("/usr/local/bin/k3s-uninstall.sh")


@pytest.mark.parametrize("shell", SHELLS)
def test_again_restarts_only_for_a_change(view, shell):
    view.install(shell)
    view.log()
    assert "No change detected so skipping service start" in view.install(shell)
    assert "systemctl restart k3s" not in view.log()
    view.install(shell, INSTALL_K3S_FORCE_RESTART="true")
    assert "systemctl restart k3s" in view.log()
    view.install(shell, "--debug")
    assert "systemctl restart k3s" in view.log()
    assert words_of_unit(view.read("/etc/systemd/system/k3s.service"))[1:] == ["server", "--debug"]
    view.write("/srv/k3s", "#!/bin/sh\necho second\n")
    # What is not said again is not kept.
    view.install(shell)
    assert view.run("k3s") == "second\n"
    assert words_of_unit(view.read("/etc/systemd/system/k3s.service"))[1:] == ["server"]


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_and_arguments_reach_the_service(view, shell):
    view.install(shell, """--node-label "a=it's" '--flag=two words'""", INSTALL_K3S_SKIP_START="true",
                 INSTALL_K3S_EXEC="server --disable='servicelb' --x=$HOME", K3S_TOKEN='s"e$c`r\\et', HTTPS_PROXY="p:1",
                 no_proxy="10.0.0.0/8", CONTAINERD_LOG_LEVEL="debug", OTHER="x")
    assert words_of_unit(view.read("/etc/systemd/system/k3s.service"))[1:] == [
        "server", "--disable=servicelb", "--x=$HOME", "--node-label", "a=it's", "--flag=two words"]
    assert view.read("/etc/systemd/system/k3s.service.env") == textwrap.dedent(r"""
        CONTAINERD_LOG_LEVEL="debug"
        HTTPS_PROXY="p:1"
        K3S_TOKEN="s\"e\$c\`r\\et"
        no_proxy="10.0.0.0/8"
        """).lstrip()
    assert view.run(". /etc/systemd/system/k3s.service.env; printf %s \"$K3S_TOKEN\"") == 's"e$c`r\\et'
    assert "systemctl restart k3s" not in view.log()


@pytest.mark.parametrize("shell", SHELLS)
def test_an_agent(view, shell):
    bad = view.install(shell, check=False, K3S_URL="https://server:6443")
    assert bad.returncode == 1 and "K3S_TOKEN or K3S_TOKEN_FILE is not defined" in bad.stderr
    bad = view.install(shell, "agent", check=False, K3S_URL="http://server:6443")
    assert bad.returncode == 1 and "Only https:// URLs are supported for K3S_URL" in bad.stderr
    assert not view.exists("/usr/local/bin/k3s")
    view.install(shell, K3S_URL="https://server:6443", K3S_TOKEN="t")
    assert words_of_unit(view.read("/etc/systemd/system/k3s-agent.service"))[1:] == ["agent"]
    assert view.exists("/usr/local/bin/k3s-agent-uninstall.sh")
    assert view.log()[-1] == "systemctl restart k3s-agent"


@pytest.mark.parametrize("shell", SHELLS)
def test_where_the_binary_comes_from(view, shell):
    view.run("mkdir -p /media/release && cp /srv/k3s /media/release/k3s && rm /srv/k3s && "
             "cd /media/release && sha256sum k3s >sha256sum-amd64.txt")
    bad = view.install(shell, check=False)
    assert bad.returncode == 1 and "No k3s to install" in bad.stderr
    for place in ["/media/release", "file:///media/release/k3s"]:
        view.install(shell, INSTALL_K3S_ARTIFACT_URL=place, ARCH="x86_64")
        assert view.run("k3s") == "first\n"
        view.run("rm /usr/local/bin/k3s")
    view.run("echo '# changed' >>/media/release/k3s")
    bad = view.install(shell, check=False, INSTALL_K3S_ARTIFACT_URL="/media/release", ARCH="x86_64")
    assert bad.returncode == 1 and "Download sha256 does not match" in bad.stderr
    assert not view.exists("/usr/local/bin/k3s")
    bad = view.install(shell, check=False, INSTALL_K3S_ARTIFACT_URL="/media/release", ARCH="m68k")
    assert "Unsupported architecture m68k" in bad.stderr
    bad = view.install(shell, check=False, INSTALL_K3S_ARTIFACT_URL="/media/release", ARCH="aarch64")
    assert "there is no file /media/release/k3s-arm64" in bad.stderr
    bad = view.install(shell, check=False, INSTALL_K3S_SKIP_DOWNLOAD="true")
    assert "Executable k3s binary not found at /usr/local/bin/k3s" in bad.stderr
    assert view.run("ls /tmp") == ""


def test_from_an_address(view):
    """With a version below the address, and with a channel that leads to one."""
    view.run("ip link set lo up; mkdir -p /media/web/v1.36.1+k3s1 && cp /srv/k3s /media/web/v1.36.1+k3s1/k3s-armhf && "
             "rm /srv/k3s && cd /media/web/v1.36.1+k3s1 && sha256sum k3s-armhf >sha256sum-arm.txt")
    server = subprocess.Popen(view.command("python3", "-m", "http.server", "-b", "127.0.0.1", "-d", "/media/web", "8000"),
                              stderr=subprocess.DEVNULL)
    try:
        view.run("for i in $(seq 100); do curl -s 127.0.0.1:8000 >/dev/null && break; sleep 0.1; done")
        settings = dict(INSTALL_K3S_ARTIFACT_URL="http://127.0.0.1:8000", ARCH="armv7l")
        out = view.install("sh", INSTALL_K3S_VERSION="v1.36.1+k3s1", **settings)
        assert "Downloading binary http://127.0.0.1:8000/v1.36.1%2Bk3s1/k3s-armhf" in out
        assert view.run("k3s") == "first\n"
        assert "installed k3s matches hash" in view.install("sh", INSTALL_K3S_VERSION="v1.36.1+k3s1", **settings)
        bad = view.install("sh", check=False, INSTALL_K3S_VERSION="v9", **settings)
        assert bad.returncode == 1 and "Download failed" in bad.stderr
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_links_leave_other_commands_alone(view, shell):
    view.write("/usr/bin/kubectl", "#!/bin/sh\n")
    out = view.install(shell)
    assert "command exists in PATH at /usr/bin/kubectl" in out
    assert not view.exists("/usr/local/bin/kubectl") and view.exists("/usr/local/bin/ctr")
    view.install(shell, INSTALL_K3S_SYMLINK="force")
    assert view.run("readlink /usr/local/bin/kubectl") == "k3s\n"
    view.run("rm /usr/local/bin/kubectl /usr/local/bin/ctr /usr/local/bin/crictl")
    view.install(shell, INSTALL_K3S_SYMLINK="skip")
    assert not view.exists("/usr/local/bin/ctr")


@pytest.mark.parametrize("shell", SHELLS)
def test_other_places_and_names(view, shell):
    view.install(shell, "server", INSTALL_K3S_BIN_DIR="/opt/k3s", INSTALL_K3S_SYSTEMD_DIR="/run/systemd/system",
                 INSTALL_K3S_NAME="edge", INSTALL_K3S_TYPE="exec", INSTALL_K3S_SKIP_ENABLE="true")
    unit = view.read("/run/systemd/system/k3s-edge.service")
    assert "Type=exec" in unit and words_of_unit(unit) == ["/opt/k3s/k3s", "server"]
    assert view.exists("/opt/k3s/k3s-edge-uninstall.sh") and view.log() == []
    view.install(shell, INSTALL_K3S_BIN_DIR="/opt/k3s", INSTALL_K3S_BIN_DIR_READ_ONLY="true")
    assert view.exists("/etc/systemd/system/k3s.service") and not view.exists("/opt/k3s/k3s-uninstall.sh")
    bad = view.install(shell, check=False, INSTALL_K3S_NAME="a/b c")
    assert bad.returncode == 1 and "Invalid characters for system name: k3s-a/b c" in bad.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_openrc(openrc, shell):
    openrc.install(shell, """--node-label='say "hi"'""", K3S_TOKEN="t$")
    log = openrc.log()
    assert log == ["rc-update add k3s default", "/etc/init.d/k3s restart"]
    assert openrc.run("cat /srv/command").split("\n")[0] == "/usr/local/bin/k3s server \\"
    assert """'--node-label=say "hi"'""" in openrc.run("cat /srv/command")
    assert re.search(r"K3S_TOKEN='?t\$", openrc.read("/srv/environment"))
    assert openrc.run("stat -c %a /etc/init.d/k3s /etc/rancher/k3s/k3s.env").split() == ["755", "600"]
    assert "/var/log/k3s.log {" in openrc.read("/etc/logrotate.d/k3s")
    openrc.run("k3s-uninstall.sh 2>&1")
    assert "rc-update delete k3s default" in openrc.log()
    for path in ["/etc/init.d/k3s", "/etc/rancher/k3s", "/etc/logrotate.d/k3s", "/usr/local/bin/k3s"]:
        assert not openrc.exists(path), path


@pytest.mark.parametrize("shell", SHELLS)
def test_killall_ends_pods_and_network_and_leaves_data(view, shell):
    view.install(shell)
    view.log()
    view.run("mount -t sysfs none /sys && "  # of this network namespace
             "mkdir -p /var/lib/rancher/k3s/server '/var/lib/kubelet/pods/u/volumes/with space' /run/k3s/containerd && "
             "mount -t tmpfs none '/var/lib/kubelet/pods/u/volumes/with space' && mount -t tmpfs none /run/k3s/containerd && "
             "touch /var/lib/rancher/k3s/server/token; "
             "ip link add cni0 type bridge; ip link add v1 type veth peer name v2; ip link set v1 master cni0; "
             "ip link add other type bridge; ip netns add cni-1; ip netns add mine; "
             "nft add table ip k3s-proxy; nft add table ip mine")
    # A shim with a container, another program's shim, and somebody who is not concerned.
    view.write("/srv/shim", "#!/bin/sh\nsleep 1000 &\nsleep 1001\n")
    processes = [subprocess.Popen(view.command("sh", "/srv/shim", *words)) for words in [
        ["shim", "--directory", "/run/k3s/containerd/shim"], ["shim", "--directory", "/elsewhere"], ["server"]]]
    try:
        view.run(f"for i in $(seq 100); do [ $(pgrep -c -r S sleep) -ge 7 ] && break; sleep 0.1; done; "
                 f"{shell} /usr/local/bin/k3s-killall.sh 2>&1")
        assert processes[0].wait(60) != 0
        assert processes[1].poll() is None and processes[2].poll() is None
        assert view.run("pgrep -c -r S sleep").strip() == "5"
        assert view.log() == ["systemctl stop k3s.service"]
        mounts = view.read("/proc/mounts")
        assert "with\\040space" not in mounts and "/run/k3s" not in mounts
        links = view.run("ip -o link")
        assert "cni0" not in links and "v1@" not in links and "other" in links
        assert view.run("ip netns").split() == ["mine"]
        assert view.run("nft list tables").split("\n")[:-1] == ["table ip mine"]
        assert view.exists("/var/lib/rancher/k3s/server/token") and view.exists("/usr/local/bin/k3s")
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_uninstall_removes_all_but_what_is_mounted(view, shell):
    view.install(shell)
    view.install(shell, "agent", INSTALL_K3S_NAME="second", K3S_URL="https://a:1", K3S_TOKEN="t")
    view.log()
    view.run("mkdir -p /var/lib/rancher/k3s/storage/disk /var/lib/rancher/k3s/server/tls /etc/rancher/node /etc/rancher/k3s && "
             "mount -t tmpfs none /var/lib/rancher/k3s/storage/disk && touch /var/lib/rancher/k3s/storage/disk/kept "
             "/var/lib/rancher/k3s/.hidden /etc/rancher/node/password /etc/rancher/k3s/config.yaml")
    out = view.run(f"{shell} /usr/local/bin/k3s-second-uninstall.sh")
    assert "Additional k3s services installed" in out
    assert view.exists("/usr/local/bin/k3s") and not view.exists("/etc/systemd/system/k3s-second.service")
    view.run(f"{shell} /usr/local/bin/k3s-uninstall.sh 2>&1")
    assert "systemctl disable k3s" in view.log()
    assert view.exists("/var/lib/rancher/k3s/storage/disk/kept")
    assert view.run("ls -A /var/lib/rancher/k3s").split() == ["storage"]
    for path in ["/usr/local/bin/k3s", "/usr/local/bin/kubectl", "/usr/local/bin/k3s-killall.sh",
                 "/usr/local/bin/k3s-uninstall.sh", "/etc/rancher/k3s", "/etc/systemd/system/k3s.service",
                 "/etc/systemd/system/k3s.service.env", "/var/lib/kubelet"]:
        assert not view.exists(path), path
    # A node that comes back keeps its name.
    assert view.exists("/etc/rancher/node/password")


def test_no_service_manager_is_said(view):
    view.run("rm -f /usr/bin/systemctl /bin/systemctl")
    bad = view.install("dash", check=False)
    assert bad.returncode == 1 and "Can not find systemd or openrc" in bad.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_scripts_are_clean(view, tmp_path_factory):
    view.install("dash")
    folder = tmp_path_factory.mktemp("scripts")
    for name in ["k3s-killall.sh", "k3s-uninstall.sh"]:
        (folder / name).write_text(view.read("/usr/local/bin/" + name))
    subprocess.run(["shellcheck", "-s", "sh", SCRIPT, folder / "k3s-killall.sh", folder / "k3s-uninstall.sh"], check=True)
