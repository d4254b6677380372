"""Chaos, for a short time: `benchmarks/chaos` kills a training run, resumes it and compares it."""

import re
from pathlib import Path

from forked import Forked

CHAOS = f"""
import runpy

runpy.run_path({str(Path(__file__).parents[2] / "benchmarks" / "chaos")!r}, run_name="__main__")
"""


def test_a_run_that_is_killed_equals_one_that_is_not(tmp_path):
    """A run that is killed and resumed has the weights, bit by bit, and records of one that is not.

    For more kills, and other faults, run the script by hand.
    """
    words = ["--kills", "1", "--only", "kill -9 at a random moment", "--variant", "folder"]
    status, out, err = Forked(tmp_path, *words, program=CHAOS).finish()
    assert (status, err) == (0, ""), out
    assert re.search(r"\n\d+ runs, [12] faults that hit, ", out)  # a run may get a second one
