"""Programs in processes that are forked from one which has imported what a training run needs.

A new interpreter takes seconds to import it.
"""

import multiprocessing
from runpy import run_path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "torch._dynamo",
        "accelerate",
        "tensorboardX",
        "distill.cli.display",
        "distill.training.audience",
        "distill.training.session",
        "distill.loss.composing",
        "distill.loss.terms.waveform",
        "distill.loss.terms.reconstruction",
    ]
)
DISTILL = """
from distill.cli import main
from distill.training import batches

batches._CALIBRATIONS = 2
main()
"""
"""The command line, which prepares a model in fewer steps and with fewer clips, as in all tests."""
_IN_A_FORK = """
import atexit
import os
import sys

os.environ.update({environment!r})
sys.argv = {argv!r}
for descriptor, path in enumerate({files!r}, start=1):
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), descriptor)
atexit._clear()
os.fsync = os.fstat  # as in the tests' own process
try:
    exec(compile({program!r}, __file__, "exec"))
finally:
    atexit._run_exitfuncs()
"""
"""Runs a program as Python does, which for a forked process leaves out what is to be done at exit."""


class Forked:
    """A program in a process of its own, whose script and output are files of one name in a folder."""

    def __init__(self, folder, *words, program=DISTILL, name="forked", environment=()):
        self._script, self._out, self._err = (folder / f"{name}.{kind}" for kind in ("py", "out", "err"))
        self._script.write_text(
            _IN_A_FORK.format(
                environment={name: str(value) for name, value in dict(environment).items()},
                argv=["distill", *map(str, words)],
                files=[str(self._out), str(self._err)],
                program=program,
            )
        )
        self.process = SERVER.Process(
            target=run_path, args=(str(self._script),), kwargs={"run_name": "__main__"}
        )
        self.process.start()

    def finish(self):
        """Wait until it has ended; return its status, its standard output and its standard error."""
        self.process.join(timeout=120)
        self.process.kill()
        return self.process.exitcode, self._out.read_text(), self._err.read_text()
