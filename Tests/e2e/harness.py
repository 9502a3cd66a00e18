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
    """A network namespace with loopback and an interface that gives the node an address and a default route."""

    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"

    def create(self):
        run("ip", "netns", "add", self.name)
        for command in (
            "link set lo up",
            "link add node0 type veth peer name node0p",
            "link set node0p up",
            "addr add 192.0.2.10/24 dev node0",
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


class Node:
    """`k3s server` with its folders below `.test/<name>`."""

    def __init__(self, name, flags=(), kubectl="1.37"):
        self.name = f"{name}-{os.getpid()}"
        self.dir = os.path.join(WORK, self.name)
        self.flags = list(flags)
        self.netns = Namespace("k3s-" + self.name)
        self.cgroup = "/k3s-" + self.name
        self.data = os.path.join(self.dir, "data")
        self.kubeconfig = os.path.join(self.dir, "k3s.yaml")
        self.log = os.path.join(self.dir, "server.log")
        self.registries = os.path.join(self.dir, "registries.yaml")
        self.kubectl_binary = os.path.join(WORK, f"kubectl-{kubectl}", "bin", "kubectl")
        self.process = None

    # Life of the server

    def create(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.data)
        self.netns.create()
        return self

    def command(self):
        return self.netns.command(
            BINARY, "server", "--data-dir", self.data, "--write-kubeconfig", self.kubeconfig,
            "--state-dir", os.path.join(self.dir, "run"), "--kubelet-root-dir", os.path.join(self.dir, "kubelet"),
            "--pod-log-dir", os.path.join(self.dir, "logs"), "--cgroup-root", self.cgroup, "--node-name", "node-1",
            "--private-registry", self.registries, *self.flags,
        )  # fmt: skip

    def start(self, wait=True, extra=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command() + list(extra), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        if wait:
            try:
                self.wait_ready()
            except Failed as error:
                raise Failed(f"{error}\n{self.tail()}") from None
        return self

    def wait_ready(self, timeout=30):
        wait_until("node Ready", self.is_ready, timeout=timeout)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"server ended with {self.process.returncode}\n{self.tail()}")
        done = self.kubectl(
            "get", "node", "node-1", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False
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
                if len(words) > 1 and words[1] == b"shim" and any(self.dir.encode() in w for w in words):
                    found.append(int(entry))
        return found

    def server_pid(self):
        return self.process.pid  # nsenter execs

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

    def memory(self):
        """Resident KiB of the server and the shims: RSS, PSS, anonymous, threads of the server."""
        total = {"Rss": 0, "Pss": 0, "Anonymous": 0}
        for pid in [self.server_pid(), *self.shims()]:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    key = line.split(":")[0]
                    if key in total:
                        total[key] += int(line.split()[1])
        total["Threads"] = len(os.listdir(f"/proc/{self.server_pid()}/task"))
        return total
