#!/usr/bin/env python3
"""Times the tools of the host beside Debian's: bench_host_tools.py BINARY

Ten thousand rules of kube-proxy's kind are loaded and saved in a network namespace of its own; needs root.
"""

import os
import subprocess
import sys
import tempfile
import time

RULES = 10000


def measure(command, input=None):
    """Seconds."""
    start = time.monotonic()
    subprocess.run(command, shell=True, check=True, input=input, stdout=subprocess.DEVNULL, text=True)
    return time.monotonic() - start


def main():
    binary = os.path.abspath(sys.argv[1])
    lines = [f"-A big -s 10.{n >> 8}.{n & 255}.1/32 -p tcp -m comment --comment \"ns/svc-{n}:http\" -m tcp --dport "
             f"{n % 65535 + 1} -j MARK --set-xmark 0x4000/0x4000" for n in range(RULES)]
    text = "*filter\n:big - [0:0]\n" + "\n".join(lines) + "\nCOMMIT\n"
    with tempfile.TemporaryDirectory() as folder:
        for name in ["iptables-restore", "iptables-save", "du"]:
            os.symlink(binary, os.path.join(folder, name))
        rows = [("iptables-restore, 10,000 rules", "iptables-restore", text), ("iptables-save, 10,000 rules", "iptables-save", None),
                ("du /usr", "du -s /usr", None)]
        print(f"{'':32} Debian's       k3s")
        for title, command, given in rows:
            times = []
            for path in ["", folder + "/"]:
                measure(path + command, given)
                times.append(min(measure(path + command, given) for _ in range(3)))
            print(f"{title:32} {times[0]:7.3f} s {times[1]:7.3f} s")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2] == "inside":
        main()
    else:
        os.execvp("unshare", ["unshare", "-n", sys.executable, __file__, sys.argv[1], "inside"])
