"""Kernels that lack what k3s needs, in a virtual machine (hack/vm.sh): the start is refused, and says why."""

import os
import subprocess

import pytest
from harness import BINARY

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Modules lean on each other: several rounds.
SCRIPT = """
for round in 1 2 3 4; do
    for module in $(grep -oE '^(nft_|nf_tables)[a-z_0-9]*' /proc/modules); do
        case " $KEEP " in *" $module "*) ;; *) rmmod $module 2>/dev/null ;; esac
    done
done
ip addr add 10.9.9.9/24 dev lo; ip link set lo up
timeout -s KILL 120 /k3s server --data-dir /tmp/k3s --node-name vm --node-ip 10.9.9.9 --flannel-iface lo 2>&1
echo "exit code $?"
"""


def start_without(tmp_path, keep):
    script = tmp_path / "start.sh"
    script.write_text(f'KEEP="{keep}"\n{SCRIPT}')
    command = ["hack/vm.sh", "-m", "1024", "-t", "240", "-f", f"{BINARY}:/k3s", "-f", f"{script}:/start.sh"]
    done = subprocess.run(
        [*command, "--", "/bin/busybox", "sh", "/start.sh"], cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "VM_FOLDER": os.path.join(REPOSITORY, ".test", "vm")},
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    return done.stdout + done.stderr


def test_a_kernel_without_nf_tables_is_refused(tmp_path):
    output = start_without(tmp_path, keep="")
    assert "exit code 1" in output, output
    for what in ("the kernel lacks nf_tables", "tables and chains", "CONFIG_NF_TABLES", "iptables alone is not enough"):
        assert what in output, output


def test_what_is_missing_of_nf_tables_is_named(tmp_path):
    output = start_without(tmp_path, keep="nf_tables nft_ct nft_nat nft_chain_nat")
    assert "exit code 1" in output, output
    for option in ("CONFIG_NFT_MASQ", "CONFIG_NFT_FIB_IPV4", "CONFIG_NFT_NUMGEN", "CONFIG_NFT_REJECT"):
        assert option in output, output
    assert "CONFIG_NF_NAT" not in output and "CONFIG_NF_TABLES" not in output, output
