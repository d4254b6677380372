"""Every command is stopped by a signal at random moments, from its first milliseconds on.

Run: python benchmarks/stopping.py [--rounds 6] [--seed 0] [--only COMMAND] [--load 0], on Linux. In each
round, each command is started as users start it, in a process of its own, and is sent SIGINT, SIGTERM or
SIGHUP. It must end with status 130 and one line, within 10 seconds, without a traceback, and leave no
unfinished file; or it had ended well before. What Python itself does before it comes to Distill counts as
well. With --load, so many other processes are busy meanwhile.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from chaos.recipe import RATE, TINY

LONG = 60
WITHIN = 10.0
HANGS = 60.0
EARLIEST = 0.5
STARTS = 3.0
"""Before `EARLIEST`, or so many times what Python takes to start, it may not have come to Distill yet."""

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SMALL = [word for option in TINY for word in ("--set", option)]
COMMANDS = {
    "generate": ["generate", "run", "-n", "5000", "--out", "OUT"],
    "reconstruct": ["reconstruct", "run", "long", "--out", "OUT"],
    "evaluate": ["evaluate", "run", "long", "--no-visqol"],
    "shard": ["shard", "long", "OUT", "--minutes", "1"],
    "report": ["report", "run"],
    "report --watch": ["report", "run", "--watch"],
    "runs": ["runs", "."],
    "losses": ["losses"],
    "losses check": ["losses", "check", "stft"],
    "losses profile": ["losses", "profile", "long", "--run", "run", "--batches", "100000"],
    "losses new": ["losses", "new", "spark", "--out", "OUT"],
    "recipe": ["recipe", "--loss", "stft,recon,kl"],
    "train": ["train", "long", "--loss", "stft,recon,kl", *SMALL, "--minutes", "10", "--out", "OUT"],
    "train, after its last step": ["train", "few", "--steps", "1", "--out", "OUT"],
    "train, default size": ["train", "long", "--minutes", "10", "--out", "OUT"],
    "train --repeat-batch": ["train", "--repeat-batch", "--out", "run"],
}

LATE = {"train, after its last step": (10.0, 60.0), "train, default size": (8.0, 60.0)}
"""Commands that are stopped later, between so many seconds after their start."""


def prepare(work: Path) -> None:
    """Write recordings, and train a run on some of them."""
    random = np.random.default_rng(0)
    for folder, seconds in (("few", 0.5), ("long", LONG)):
        (work / folder).mkdir()
        for number in range(5):
            noise = 0.1 * random.normal(size=round(seconds * RATE))
            soundfile.write(work / folder / f"{number}.wav", noise, RATE)
    words = ["train", "few", "--loss", "stft,recon,kl", *SMALL, "--steps", "4", "--out", "run"]
    subprocess.run([sys.executable, "-m", "distill", *words], cwd=work, check=True, stdout=subprocess.DEVNULL)


def attempt(work: Path, words: list[str], number: int, seconds: float) -> tuple[float, str]:
    """Send a command a signal after some seconds; return how long it then took, and what was wrong."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    words = [str(out) if word == "OUT" else word for word in words]
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import distill.system.stopping"], check=True)
    earliest = max(EARLIEST, STARTS * (time.monotonic() - began))
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "distill", *words],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(seconds)
        sent = time.monotonic()
        process.send_signal(number)
        try:
            printed, errors = process.communicate(timeout=HANGS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # after which Python says where its threads are
            return HANGS, f"it hangs:\n{process.communicate()[1]}"
    took = time.monotonic() - sent
    said = f"{printed}\n{errors}".splitlines()
    stopped = [line for line in said if "Stopped" in line or "Interrupted" in line]
    partial = [path for path in out.rglob("*") if path.name.endswith(".partial") and not path.is_dir()]
    frames = [line for line in errors.splitlines() if line.startswith("  File") and "distill/" in line]
    importing = all("<module>" in line and ("__main__" in line or "stopping" in line) for line in frames)
    python_ends = process.returncode == -number or ("Traceback" in errors and importing)
    problem = ""
    if python_ends and seconds < earliest:  # it has not come to Distill yet
        pass
    elif "Traceback" in errors or "Exception ignored" in errors:
        problem = f"a traceback:\n{errors}"
    elif process.returncode not in (0, 130):
        problem = f"status {process.returncode}: {errors}"
    elif process.returncode == 130 and len(stopped) != 1:
        problem = f"not one line: {errors}"
    elif partial:
        problem = f"{partial[0].name} is left"
    elif took > WITHIN:
        problem = f"it took {took:.1f} s: {errors}"
    return took, problem


def stop_all(only: str, rounds: int, random: Random) -> int:
    """Stop each command at random moments; return how often something was wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="stopping-") as name:
        work = Path(name)
        prepare(work)
        for command, words in COMMANDS.items():
            if only not in command:
                continue
            slowest = 0.0
            for turn in range(rounds):
                # Half of them while modules are imported, unless that is of no interest.
                late = LATE.get(command, (2.0, 12.0))
                seconds = (
                    random.uniform(*late) if turn % 2 == 0 or command in LATE else random.uniform(0.05, 2)
                )
                number = random.choice(SIGNALS)
                took, problem = attempt(work, words, number, seconds)
                slowest = max(slowest, took)
                wrong += bool(problem)
                if problem:
                    what = f"{signal.Signals(number).name} after {seconds:.2f} s"
                    print(f"{command}: {what}: {problem}", flush=True)
            print(f"{command}: {rounds} signals, at most {slowest:.1f} s to the end", flush=True)
    return wrong


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--load", type=int, default=0)
    options = parser.parse_args()
    # Background jobs of shells ignore Ctrl-C, those under nohup SIGHUP, and they pass that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.load)]
    try:
        wrong = stop_all(options.only, options.rounds, Random(options.seed))  # noqa: S311  # no secret
    finally:
        for process in busy:
            process.kill()
    load = f"on {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}"
    print(f"{wrong} ended in another way than they should, {load}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
