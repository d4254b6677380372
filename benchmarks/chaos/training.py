"""A tiny training run in a forked process, so that neither Python nor torch is loaded again for each."""

import contextlib
import faulthandler
import importlib
import os
import pkgutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from recipe import RATE, TINY

import distill
from distill.audio.corpus import write_shards
from distill.cli import main
from distill.storage.run import Run

for module in pkgutil.walk_packages(distill.__path__, "distill."):
    if not module.name.startswith(("distill.testing", "distill.__main__", "distill.playing")):
        importlib.import_module(module.name)
importlib.import_module("torch._dynamo")  # which optimizers import
importlib.import_module("rich.live")
"".encode("utf-8-sig")  # another user may not be allowed to read the codec

STEPS = 12
SECONDS = 300
"""How long a training run may take before it counts as one that hangs."""

_SECONDS_TO_END = 30
"""How long processes have to end after a signal, or after one has failed, before torchrun kills them."""

_STOPPED = 130

OPTIONS = (
    *TINY,
    "training.warmup_steps=2",
    "training.log_every=2",
    "training.evaluations=3",
    "training.checkpoint_minutes=0.0002",
    "training.pairs=1",
)


def write_corpus(folder: Path) -> None:
    """Write five recordings of 0.4 s: decaying sines."""
    folder.mkdir()
    now = np.arange(round(0.4 * RATE)) / RATE
    for number in range(5):
        sine = 0.5 * np.sin(2 * np.pi * 200 * (number + 1) * now) * np.exp(-4 * now)
        soundfile.write(folder / f"{number}.wav", sine, RATE)


@dataclass(frozen=True)
class Variant:
    """A kind of training run: the corpus and more words of its command, and its processes."""

    name: str
    corpus: Path
    words: tuple[str, ...] = ()
    processes: int = 1


def write_variants(work: Path, only: str | None) -> dict[str, Variant]:
    """Write what the variants, or one, are trained on: a folder, its shards, and a run to begin with."""
    write_corpus(work / "corpus")
    variants = {
        "folder": Variant("folder", work / "corpus"),
        "shards": Variant("shards", work / "shards", ("--set", "corpus.pool_shards=2")),
        "start": Variant("start", work / "corpus", ("--set", f"training.start={work / 'first' / 'run'}")),
        "two processes": Variant("two processes", work / "corpus", processes=2),
    }
    wanted = {name: each for name, each in variants.items() if only in (None, name)}
    if "shards" in wanted:
        write_shards(
            work / "corpus", work / "shards", sample_rate=RATE, heldout_fraction=0.2, minutes=0.8 / 60
        )
    if "start" in wanted:
        (work / "first").mkdir()
        first = begin(work / "first", variants["folder"])
        if first.wait() != 0:
            raise RuntimeError(first.errors)
    return wanted


@dataclass
class Training:
    """A process that trains in `folder / "run"`, whose output is in files beside it.

    With several processes, it is the one that has begun the others, as torchrun does.
    """

    folder: Path
    pid: int
    began: float
    processes: int = 1

    @property
    def run(self) -> Run:
        """The run folder."""
        return Run(self.folder / "run")

    @property
    def errors(self) -> str:
        """What was written to standard error."""
        return (self.folder / "stderr").read_text(errors="replace")

    def send(self, number: int) -> None:
        """Send a signal, unless the process has ended. All of several processes are killed."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL and self.processes > 1:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def kill_worker(self, rank: int) -> None:
        """Kill one of several processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            os.kill(int(children.read_text().split()[rank]), signal.SIGKILL)

    def wait(self, seconds: float = SECONDS) -> int | None:
        """Return the exit status, negative for a signal.

        If it takes longer, return None, write where its threads are to standard error, and kill it.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        for number, pause in ((signal.SIGUSR1, 3.0), (signal.SIGKILL, 0.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            time.sleep(pause)
        os.waitpid(self.pid, 0)
        return None


def begin(
    folder: Path,
    variant: Variant,
    *,
    resume: bool = False,
    prepare: Callable[[], object] = lambda: None,
    stdout: int | None = None,
    paused: bool = False,
) -> Training:
    """Begin or resume a training run; `prepare` is called in its process, which `paused` stops first."""
    words = ["train", "--resume"] if resume else ["train", str(variant.corpus), "--loss", "stft,recon,kl"]
    if not resume:
        words += [*variant.words, *(word for option in OPTIONS for word in ("--set", option))]
        words += ["--steps", str(STEPS), "--seed", "3"]
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        if paused:
            os.waitpid(pid, os.WUNTRACED)
        return Training(folder, pid, time.monotonic(), variant.processes)
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        errors = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        out = os.open("stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if stdout is None else stdout
        os.dup2(out, 1)
        os.dup2(errors, 2)
        # Those of the parent may be of another kind: a file that can be sought, where this is a pipe.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        faulthandler.register(signal.SIGUSR1, file=2)  # see Training.wait
        torch.set_num_threads(1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()
        if paused:
            os.kill(os.getpid(), signal.SIGSTOP)
        if variant.processes > 1:
            status = launch(variant.processes, [*words, "--out", "run"])
        else:
            main([*words, "--out", "run"], prog_name="distill")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # as Python shows it at the end of a process
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    raise AssertionError


def launch(processes: int, words: list[str]) -> int:
    """Train in several processes, pass signals on to them, and end all when one fails, as torchrun does."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    stopping = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # until there is somebody to pass them on to
    for rank in range(processes):
        pid = os.fork()
        if not pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": str(port),
            }
            main(words, prog_name="distill")
        children.append(pid)

    def pass_on(number: int, _: object) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def stop(number: int, _: object = None) -> None:
        pass_on(number, None)
        signal.alarm(_SECONDS_TO_END)

    for number in stopping:
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
    signal.signal(signal.SIGALRM, lambda *_: pass_on(signal.SIGKILL, None))
    failed = 0
    while children:
        pid, status = _child_that_ended()
        children.remove(pid)
        code = os.waitstatus_to_exitcode(status)
        if code and not failed:
            failed = code
            if code != _STOPPED:  # otherwise all have been told
                stop(signal.SIGTERM)
    return failed if failed >= 0 else 1


def _child_that_ended() -> tuple[int, int]:
    """Return the process and the status of a child that has ended, once there is one."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            return pid, status
        time.sleep(0.01)  # a signal that comes just before a wait is handled after it
