"""A node of ours in a network namespace of its own, and the real clients that talk to it.

Everything a node makes lies below one temporary directory, one cgroup and one namespace, so that several run side by
side and all of it can be removed.
"""

import glob
import os
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("K3S_BINARY", os.path.join(ROOT, "bin", "k3s"))
WORK = os.path.join(ROOT, ".test")


class Failed(AssertionError):
    pass


def run(*args, check=True, timeout=60, input=None, env=None):
    done = subprocess.run(args, capture_output=True, text=True, timeout=timeout, input=input, env=env)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(what, probe, timeout=30, interval=0.05):
    """Calls `probe` until it gives something true; says what it last gave when time is up."""
    deadline = time.monotonic() + timeout
    last = None
    while time.monotonic() < deadline:
        try:
            last = probe()
            if last:
                return last
        except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError) as error:
            last = error
        time.sleep(interval)
    raise Failed(f"not within {timeout} s: {what}; last: {last}")


class Namespace:
    """A network namespace with loopback and an interface that gives the node an address and a default route.

    Alone, the interface leads nowhere; with a `Switch` it is connected to the other nodes' namespaces.
    """

    def __init__(self, name, address="192.0.2.10", switch=None):
        self.name = name
        self.address = address
        self.switch = switch
        self.path = f"/run/netns/{name}"

    def create(self):
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        if self.switch:
            self.switch.connect(self)
        else:
            self.run("ip", *"link add node0 type veth peer name node0p".split())
            self.run("ip", "link", "set", "node0p", "up")
        for command in (
            f"addr add {self.address}/24 dev node0",
            "link set node0 up",
            "route add default via 192.0.2.1",
        ):
            self.run("ip", *command.split())

    def command(self, *args):
        return ["nsenter", f"--net={self.path}", *args]

    def run(self, *args, **kw):
        return run(*self.command(*args), **kw)

    def delete(self):
        run("ip", "netns", "delete", self.name, check=False)


class Switch:
    """The network between nodes: a bridge in a namespace of its own, with the address 192.0.2.1 (the nodes' gateway).

    `unplug` and `plug` take a node off the network and put it back; `nft` rules in the nodes' own namespaces
    (`node.netns.run("nft", ...)`) block single paths.
    """

    def __init__(self, name):
        self.netns = Namespace(f"k3s-{name}-{os.getpid()}-switch")
        self.ports = {}

    def create(self):
        run("ip", "netns", "add", self.netns.name)
        for command in (
            "link set lo up",
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
            "addr add 192.0.2.1/24 dev br0",
        ):
            self.netns.run("ip", *command.split())
        return self

    def connect(self, netns):
        port = f"p{len(self.ports)}"
        self.netns.run("ip", "link", "add", port, "type", "veth", "peer", "name", "node0", "netns", netns.name)
        self.netns.run("ip", "link", "set", port, "master", "br0", "up")
        self.ports[netns.name] = port

    def unplug(self, node):
        self.netns.run("ip", "link", "set", self.ports[node.netns.name], "down")

    def plug(self, node):
        self.netns.run("ip", "link", "set", self.ports[node.netns.name], "up")

    def delete(self):
        self.netns.delete()


class Machine:
    """A machine that runs `k3s` with its folders below `.test/<name>`: what a server and an agent have in common."""

    role = ""

    def __init__(self, name, node_name, flags=(), address="192.0.2.10", switch=None, netns=None):
        self.name = f"{name}-{os.getpid()}"
        self.node_name = node_name
        self.dir = os.path.join(WORK, self.name)
        self.flags = list(flags)
        self.address = address
        self.netns = Namespace(netns or "k3s-" + self.name, address, switch)
        self.cgroup = "/k3s-" + self.name
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(self.dir, f"{self.role}.log")
        self.registries = os.path.join(self.dir, "registries.yaml")
        self.subnet_file = os.path.join(self.dir, "run-flannel", "subnet.env")
        self.variables = {}
        self.process = None

    # Life of the process

    def create(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.data)
        self.netns.create()
        return self

    def node_flags(self):
        return [
            "--data-dir", self.data, "--state-dir", os.path.join(self.dir, "run"),
            "--kubelet-root-dir", os.path.join(self.dir, "kubelet"), "--pod-log-dir", os.path.join(self.dir, "logs"),
            "--cgroup-root", self.cgroup, "--node-name", self.node_name, "--private-registry", self.registries,
        ]  # fmt: skip

    def start(self, wait=True, extra=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command() + list(extra), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self.process_environment(),
            )  # fmt: skip
        if wait:
            try:
                self.wait_ready()
            except Failed as error:
                raise Failed(f"{error}\n{self.tail()}") from None
        return self

    def process_environment(self):
        # A machine has one node password; these machines share the host's file system.
        return dict(
            os.environ, K3S_NODE_PASSWORD_FILE=os.path.join(self.dir, "node-password"),
            FLANNELD_SUBNET_FILE=self.subnet_file, **self.variables,
        )  # fmt: skip

    def wait_ready(self, timeout=30):
        wait_until(f"{self.node_name} Ready", self.is_ready, timeout=timeout)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.role} ended with {self.process.returncode}\n{self.tail()}")
        done = self.kubectl(
            "get", "node", self.node_name, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False
        )
        return done.stdout == "True"

    def stop(self, sig=signal.SIGTERM, timeout=10):
        self.process.send_signal(sig)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def restart(self, sig=signal.SIGTERM):
        self.stop(sig)
        self.start()

    def tail(self, n=60):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-n:])
        except OSError:
            return ""

    def destroy(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # Containers and the shim outlive the server on purpose.
        for _ in range(50):
            pids = self.pids()
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        with open("/proc/self/mounts") as f:
            mounts = [line.split()[1].encode().decode("unicode_escape") for line in f]
        for mount in reversed(mounts):
            if mount.startswith(self.dir + "/"):
                run("umount", "-l", mount, check=False)
        for top in glob.glob("/sys/fs/cgroup/*" + self.cgroup):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
        self.netns.delete()
        if not os.environ.get("K3S_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self):
        """The node's processes except the server: containers by cgroup, the shim by its command line."""
        found = set()
        for top in glob.glob("/sys/fs/cgroup/*" + self.cgroup):
            for folder, _, files in os.walk(top):
                if "cgroup.procs" in files:
                    try:
                        with open(os.path.join(folder, "cgroup.procs")) as f:
                            found.update(int(line) for line in f)
                    except OSError:
                        pass
        for pid in self.shims():
            found.add(pid)
        return found

    def shims(self):
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as f:
                        words = f.read().split(b"\0")
                except OSError:
                    continue
                if len(words) > 1 and words[1] == b"shim" and any(self.dir.encode() + b"/" in w for w in words):
                    found.append(int(entry))
        return found

    def server_pid(self):
        return self.process.pid  # nsenter execs

    def memory(self):
        """Resident KiB of the server or agent and the shims: RSS, PSS, anonymous, threads of the server."""
        total = {"Rss": 0, "Pss": 0, "Anonymous": 0}
        for pid in [self.server_pid(), *self.shims()]:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    key = line.split(":")[0]
                    if key in total:
                        total[key] += int(line.split()[1])
        total["Threads"] = len(os.listdir(f"/proc/{self.server_pid()}/task"))
        return total


class Node(Machine):
    """`k3s server`. With a `switch`, agents can join it (`Agent`)."""

    role = "server"

    def __init__(self, name, flags=(), kubectl="1.37", switch=None, address="192.0.2.10"):
        super().__init__(name, "node-1", flags, switch=switch, address=address)
        self.kubeconfig = os.path.join(self.dir, "k3s.yaml")
        self.kubectl_binary = os.path.join(WORK, f"kubectl-{kubectl}", "bin", "kubectl")

    @property
    def url(self):
        return f"https://{self.address}:6443"

    def token(self):
        """The full token, with the hash of the CA."""
        with open(os.path.join(self.data, "server", "token")) as f:
            return f.read().strip()

    def command(self):
        return self.netns.command(
            BINARY, "server", *self.node_flags(), "--write-kubeconfig", self.kubeconfig, *self.flags
        )

    # Clients

    def environment(self):
        env = dict(os.environ, KUBECONFIG=self.kubeconfig, HOME=self.dir, KUBECACHEDIR=os.path.join(self.dir, "cache"))
        env.pop("KUBERNETES_SERVICE_HOST", None)
        return env

    def kubectl_command(self, *args):
        return self.netns.command(self.kubectl_binary, *args)

    def kubectl(self, *args, check=True, input=None, timeout=60):
        return run(*self.kubectl_command(*args), check=check, input=input, timeout=timeout, env=self.environment())

    def apply(self, text):
        return self.kubectl("apply", "-f", "-", input=text)

    def jsonpath(self, *args):
        return self.kubectl("get", *args[:-1], "-o", "jsonpath=" + args[-1]).stdout


class Agent(Machine):
    """`k3s agent` on a machine of its own that is connected to the server's by the server's switch.

        switch = Switch("x").create()
        server = Node("x", switch=switch).create()
        server.start()
        agent = Agent(server, 2).create().start()       # node-2, 192.0.2.12
    """

    role = "agent"

    def __init__(self, server, number, flags=(), token=None, node_name=None):
        base = server.name.rsplit("-", 1)[0]
        super().__init__(
            f"{base}-a{number}", node_name or f"node-{number}", flags, address=f"192.0.2.{10 + number}",
            switch=server.netns.switch,
        )  # fmt: skip
        self.server = server
        self.token = token

    def command(self):
        token = self.server.token() if self.token is None else self.token
        flags = ["--token", token] if token else []
        return self.netns.command(BINARY, "agent", "--server", self.server.url, *flags, *self.node_flags(), *self.flags)

    def kubectl(self, *args, **kw):
        return self.server.kubectl(*args, **kw)
