"""Chaos, for a short time: `benchmarks/chaos` kills a training run, resumes it and compares it."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chaos"


def test_a_run_that_is_killed_equals_one_that_is_not():
    """A run that is killed and resumed has the weights, bit by bit, and records of one that is not.

    For more kills, and other faults, run the script by hand.
    """
    words = [sys.executable, SCRIPT, "--kills", "1", "--only", "kill -9 at a random moment"]
    words += ["--variant", "folder"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert re.search(r"\n\d+ runs, [12] faults that hit, ", result.stdout)  # a run may get a second one
