"""Chaos, for a short time: `benchmarks/chaos` kills training runs, resumes them and compares them."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chaos"


def test_runs_that_are_killed_equal_one_that_is_not():
    """Weights bit by bit, and every record. For more kills, and other faults, run the script by hand."""
    words = [sys.executable, SCRIPT, "--kills", "2", "--only", "kill -9 at a random moment"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert " 2 faults that hit, " in result.stdout
