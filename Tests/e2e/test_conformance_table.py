"""docs/conformance.md says what is: each case's tests exist, and the table is the one that they make."""

import os
import subprocess
import sys

from harness import ROOT


def test_the_table_of_conformance_cases_is_up_to_date():
    script = os.path.join(ROOT, "hack", "conformance.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
