"""Faults: each begins a training run, does something to it, and leaves its folder as it is then."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from training import Training, Variant, begin

WRITING = ("write", "pwrite64", "fsync", "rename", "unlink", "mkdir", "ftruncate", "openat")
"""The system calls that are interrupted; of `openat`, those that create a file."""

_ONE_OF_SEVERAL = 0.5
"""How often one of several processes is killed, and otherwise all."""

_USABLE_WITHIN = 10.0
"""Seconds from a signal to the end of the process."""


@dataclass
class Scene:
    """Where a fault happens: to a run in a folder, which is resumed if it is there already.

    `seconds` and `calls` are the duration and the writing system calls of a run that is never stopped.
    """

    folder: Path
    variant: Variant
    random: Random
    seconds: float = 1.0
    calls: list[tuple[str, int]] = field(default_factory=list)

    @property
    def resume(self) -> bool:
        """Whether there is a run to resume."""
        return (self.folder / "run" / "recipe.toml").exists()

    def begin(self, **options: Any) -> Training:  # noqa: ANN401  # those of `begin`
        """Begin or resume the training run."""
        return begin(self.folder, self.variant, resume=self.resume, **options)


@dataclass
class Outcome:
    """What happened: `hit` unless the run ended before the fault; the exit status, None if it hangs."""

    training: Training
    status: int | None
    hit: bool = True
    problem: str = ""


Fault = Callable[[Scene], Outcome]


def killed(scene: Scene) -> Outcome:
    """Kill the process at a random moment."""
    training = scene.begin()
    time.sleep(scene.random.uniform(0, scene.seconds))
    if scene.variant.processes > 1 and scene.random.random() < _ONE_OF_SEVERAL:
        training.kill_worker(scene.random.randrange(scene.variant.processes))
    else:
        training.send(signal.SIGKILL)
    status = training.wait()
    return Outcome(training, status, hit=status != 0)


def signalled(scene: Scene) -> Outcome:
    """Stop it by SIGTERM, SIGINT or SIGHUP at a random moment; it must be usable soon."""
    training = scene.begin()
    before = _time_of(training.run.model)
    time.sleep(scene.random.uniform(0, scene.seconds))
    number = scene.random.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    training.send(number)
    sent = time.monotonic()
    status = training.wait()
    outcome = Outcome(training, status, hit=status != 0)
    run = training.run
    if time.monotonic() - sent > _USABLE_WITHIN:
        outcome.problem = f"{time.monotonic() - sent:.1f} s from the signal to the end"
    elif status == 130 and _time_of(run.model) != before and not run.latents.exists():
        outcome.problem = "a model without latents"
    elif status not in (0, 130, -number):
        outcome.problem = f"status {status} after signal {number}"
    elif status == 130 and not run.recipe.exists() and "Stopped at once" not in training.errors:
        outcome.problem = "no recipe to go on with"
    return outcome


def _time_of(path: Path) -> int | None:
    """Return when a file was written. One of an earlier process that was killed may lack others beside it."""
    return path.stat().st_mtime_ns if path.exists() else None


def closed_pipe(scene: Scene) -> Outcome:
    """Close the pipe that it prints to after some lines."""
    read, write = os.pipe()
    training = scene.begin(stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        for _ in range(scene.random.randrange(14)):
            pipe.readline()
    status = training.wait()
    problem = "" if status in (0, 130) else f"status {status}"
    return Outcome(training, status, hit=status == 130, problem=problem)


def killed_in_call(scene: Scene) -> Outcome:
    """Kill it inside a system call that writes."""
    call, number = scene.random.choice(scene.calls)
    training = scene.begin(paused=True)
    with _traced(training, f"-e inject={call}:signal=SIGKILL:when={number}"):
        training.send(signal.SIGCONT)
        status = training.wait()
    return Outcome(training, status, hit=status == -signal.SIGKILL)


def failing_call(scene: Scene) -> Outcome:
    """Let a system call that writes fail, once or from then on, as a full or broken disk does."""
    call, number = scene.random.choice([each for each in scene.calls if each[0] != "openat"])
    error = scene.random.choice(("ENOSPC", "EIO", "EROFS", "EDQUOT"))
    training = scene.begin(paused=True)
    with _traced(training, f"-e inject={call}:error={error}:when={number}{scene.random.choice(('', '+'))}"):
        training.send(signal.SIGCONT)
        status = training.wait()
    return Outcome(training, status, hit=status != 0, problem=_ended_well(status))


def full_disk(scene: Scene) -> Outcome:
    """Train on a disk, of memory, that becomes full at some file; then there is room again."""
    size = scene.random.randrange(4, 600) * 1024
    mounted = scene.folder / "run"
    kept = scene.folder / "kept"
    if mounted.exists():
        mounted.rename(kept)
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + _size(kept)}", "none", mounted], check=True)
    try:
        if kept.exists():
            shutil.copytree(kept, mounted, dirs_exist_ok=True)
            shutil.rmtree(kept)
        training = scene.begin()
        status = training.wait()
        shutil.copytree(mounted, kept, symlinks=True)
    finally:
        subprocess.run(["umount", mounted], check=True)
    mounted.rmdir()
    kept.rename(mounted)
    return Outcome(training, status, hit=status != 0, problem=_ended_well(status))


def limited_size(scene: Scene) -> Outcome:
    """Let no file grow beyond a size, as `ulimit -f` does."""
    size = scene.random.choice((0, 100, 1000, 3000, 10_000, 20_000, 50_000, 100_000))
    limits = (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    prepare = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # noqa: E731
    training = scene.begin(prepare=prepare)
    status = training.wait()
    return Outcome(training, status, hit=status != 0, problem=_ended_well(status))


def read_only(scene: Scene) -> Outcome:
    """Take the right to write from a folder at a random moment, for another user than root."""
    nobody = 65_534
    for path in (scene.folder, *scene.folder.rglob("*")):
        os.chown(path, nobody, nobody)

    training = scene.begin(prepare=lambda: os.setuid(nobody))
    time.sleep(scene.random.uniform(0, scene.seconds))
    folders = [path for path in (scene.folder, *scene.folder.rglob("*")) if path.is_dir()]
    shut = scene.random.choice(folders)
    shut.chmod(0o555)
    status = training.wait()
    if shut.exists():
        shut.chmod(0o755)
    return Outcome(training, status, hit=status != 0, problem=_ended_well(status))


def clock_jumps(scene: Scene) -> Outcome:
    """Set the clock forth and back by days between any two looks at it, and kill the process at the end."""
    now, later = time.time, scene.random.randrange(2**32)

    def prepare() -> None:
        jumps = Random(later)
        time.time = lambda: now() + jumps.uniform(-1e6, 1e6)
        time.time_ns = lambda: int(1e9 * time.time())

    training = scene.begin(prepare=prepare)
    time.sleep(scene.random.uniform(0.3, 1.3) * scene.seconds)
    training.send(signal.SIGKILL)
    status = training.wait()
    return Outcome(training, status, problem="" if status in (0, -signal.SIGKILL) else f"status {status}")


FAULTS: dict[str, Fault] = {
    "kill -9 at a random moment": killed,
    "kill -9 in a system call that writes": killed_in_call,
    "SIGTERM, SIGINT or SIGHUP": signalled,
    "closed pipe": closed_pipe,
    "full disk": full_disk,
    "failing system call": failing_call,
    "limit on the size of files": limited_size,
    "read-only folder": read_only,
    "clock that jumps, then kill -9": clock_jumps,
}


SEVERAL = "kill -9 at a random moment", "SIGTERM, SIGINT or SIGHUP"
"""The faults of runs of several processes."""


def measure(scene: Scene, *, calls: bool) -> None:
    """Train without a fault, for the duration; and once more, traced, for the `calls` that write."""
    training = scene.begin()
    if training.wait() != 0:
        raise RuntimeError(training.errors)
    scene.seconds = time.monotonic() - training.began
    if not calls:
        return
    with tempfile.TemporaryDirectory() as name:
        traced = begin(Path(name), scene.variant, paused=True)
        with _traced(traced, f"-e trace={','.join(WRITING)}", log=Path(name) / "log"):
            traced.send(signal.SIGCONT)
            traced.wait()
        scene.calls = _numbered(Path(name) / "log", traced.pid)


def _numbered(log: Path, pid: int) -> list[tuple[str, int]]:
    """Return name and number of each call of a process that writes."""
    counts: dict[str, int] = {}
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(rf"{pid} +(\w+)\(", line)
        if match:
            name = match[1]
            counts[name] = counts.get(name, 0) + 1
            if name != "openat" or "O_CREAT" in line:
                calls.append((name, counts[name]))
    return calls


@contextmanager
def _traced(training: Training, *options: str, log: Path = Path(os.devnull)) -> Iterator[None]:
    """Attach strace to a paused training run."""
    words = [word for option in options for word in option.split()]
    calls = "" if any("trace=" in word for word in words) else f"-e trace={','.join(WRITING)}"
    command = ["strace", "-f", "-qq", "-o", str(log), *calls.split(), *words, "-p", str(training.pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
        status = Path(f"/proc/{training.pid}/status")
        while "TracerPid:\t0" in status.read_text() and tracer.poll() is None:
            time.sleep(0.002)
        yield


def _ended_well(status: int | None) -> str:
    """Return a problem unless a run ended with success or with one message."""
    return "" if status in (0, 2) else f"status {status}"


def _size(folder: Path) -> int:
    """Return the bytes that a folder takes on a disk of pages."""
    return sum(4096 + -(-path.lstat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def available() -> dict[str, Fault]:
    """Return the faults that this machine allows: mounts and other users need root, tracing needs strace."""
    root = os.geteuid() == 0
    faults = {**FAULTS}
    if shutil.which("strace") is None:
        del faults["kill -9 in a system call that writes"], faults["failing system call"]
    if not root:
        del faults["read-only folder"]
    if not root or _no_mounts():
        del faults["full disk"]
    return faults


def _no_mounts() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=False, capture_output=True)
        if mounted.returncode:
            return True
        subprocess.run(["umount", folder], check=True)
    return False
