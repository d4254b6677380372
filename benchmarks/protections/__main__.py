"""Each protection is switched off by one patch, and a test has to fail then.

Run: python benchmarks/protections [--only NAME], on Linux, with the extra `test`. Each protection is tried in
a forked process: its test has to pass first, and to fail, or to end the process, when it is switched off.
"""

import argparse
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import of_commands
import of_files
import of_recordings
import of_training
import pytest
from replacing import nothing

import distill
from distill.errors import printable

# So that forked processes need not load them: what tests import, too.
for module in pkgutil.walk_packages(distill.__path__, "distill."):
    if not module.name.startswith(("distill.testing", "distill.__main__")):
        importlib.import_module(module.name)
for name in ("hypothesis", "xdist.scheduler", "click.testing", "torch._dynamo", "rich.live"):
    importlib.import_module(name)

ROOT = Path(__file__).parents[2]
PROTECTIONS = (
    *of_files.PROTECTIONS,
    *of_training.PROTECTIONS,
    *of_recordings.PROTECTIONS,
    *of_commands.PROTECTIONS,
)
_SECONDS = 120
"""So long may a test take. One that hangs is ended by SIGALRM."""


def outcome(test: str, prepare: Callable[[], object] = nothing) -> str:
    """Run a test in a forked process; return "passed", "failed", or what else became of it."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 99
        try:
            quiet = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(quiet, number)
            signal.alarm(_SECONDS)
            prepare()
            quietly = [
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "-W",
                "ignore::pytest.PytestAssertRewriteWarning",
            ]
            status = int(pytest.main([*quietly, str(ROOT / test)]))
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {0: "passed", 1: "failed"}.get(code, f"ended with {code}")


def main() -> None:
    """Print a table of what was switched off, and what became of the test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.chdir(ROOT)
    wrong = tried = 0
    print("| switched off | test | with it | without it |\n|---|---|---|---|")
    for each in PROTECTIONS:
        if options.only not in each.name:
            continue
        before = outcome(each.test)
        with tempfile.TemporaryDirectory() as folder:
            after = outcome(each.test, partial(each.switch_off, Path(folder)))
        tried += 1
        wrong += before != "passed" or after == "passed"
        short = each.test.removeprefix("tests/").partition("[")[0]
        print(f"| {each.name} | `{printable(short)}` | {before} | {after} |", flush=True)
    print(f"\n{wrong} of {tried} are not noticed." if wrong else f"\nEach of {tried} is noticed.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
