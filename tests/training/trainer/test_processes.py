"""Trainings by several processes against the same by one.

Processes are forked from a server that has imported torch and Distill, with the environment that torchrun
gives; what depends on torchrun or on how Python ends is launched by torchrun, in interpreters of their own.
"""

import json
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import Forked
from safetensors.torch import load_file

from distill.storage.checkpoints import load_latest

TORCHRUN = """
from torch.distributed.run import main

main()
"""
"""The launcher alone: what it launches are programs of their own."""
EVEN = ["training.batch_size=4", "training.learning_rate=0.001", "loss.reconstruction.if_weight=0"]
"""An example's IF error is weighted by the mean amplitude of its batch, so it must stay out here."""
STFT = ["loss.stft.fft_sizes=[128, 256]", "loss.stft.hop_sizes=[32, 64]", "loss.stft.win_lengths=[128, 256]"]
PRECISE = '''
import torch

torch.set_default_dtype(torch.float64)


class AdamW(torch.optim.AdamW):
    """The fused one, which stops at a flag, has float32 alone."""

    def __init__(self, *arguments, fused, **options):
        super().__init__(*arguments, **options)

    def step(self):
        del self.found_inf
        super().step()


torch.optim.AdamW = AdamW

from contextlib import nullcontext

from distill.cli import main
from distill.training import batches, torch_state

batches._CALIBRATIONS = 2
torch_state._float32 = nullcontext  # else a run sets the default dtype itself
main()
'''
"""Distill in float64."""


JUDGED = """
import sys

import torch
from attrs import frozen
from torch import nn

from distill import Registry, TermSpec, TrainedTermConfig, hookimpl
from distill.plugin import registry
from distill.views import LogMagnitude


@frozen(kw_only=True)
class Config(TrainedTermConfig):
    start: float = 0.2
    learning_rate: float = 0.01


class Judge(nn.Module):
    def __init__(self, _):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(129))

    def judge(self, magnitudes):
        return torch.einsum("bft,f->bt", magnitudes, self.weights).tanh()

    def forward(self, inputs):
        return (1 - self.judge(inputs.view(LogMagnitude())[0])).mean()

    def objective(self, inputs):
        prediction, target = map(self.judge, inputs.view(LogMagnitude()))
        return (1 + prediction).mean() + (1 - target).mean()


@hookimpl
def distill_loss_terms():
    yield TermSpec(name="judge", config=Config, build=Judge, summary="")


class WithJudge(Registry):
    def __init__(self):
        super().__init__(discover=False)
        self.register(sys.modules[__name__], name="judging", version="1")


registry.Registry = WithJudge

from distill.cli import main
from distill.training import batches

batches._CALIBRATIONS = 2
main()
"""
"""Distill with a term that is trained itself."""
THREADS = """
import atexit
import os
from pathlib import Path


@atexit.register
def say_threads():
    names = sorted(file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm"))
    os.write(1, f"threads: {' '.join(names)}\\n".encode())  # at once: two processes write to one pipe


from distill.cli import main
from distill.training import batches

batches._CALIBRATIONS = 2
main()
"""
"""Distill that says which threads are left when it has ended."""

SIGNALLED = """
import atexit
import os
import signal
import time
from pathlib import Path

ended = Path(__file__).with_name("ended")
if os.environ["RANK"] == "1":
    atexit.register(ended.touch)

from distill.cli import main
from distill.training import batches, session

batches._CALIBRATIONS = 2
finish = session.finish


def finish_signalled(*arguments, **options):
    while not ended.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    return finish(*arguments, **options)


session.finish = finish_signalled
main()
"""
"""Distill of which the first process receives a signal after the last step, when the other has ended."""

KILLED = """
import os
import signal

from distill.cli import main
from distill.training import batches, trainer

batches._CALIBRATIONS = 2
take_step = trainer.Trainer._take_step


def take_step_or_die(self):
    if self.step == 3 and os.environ["RANK"] == "{rank}":
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(self)


trainer.Trainer._take_step = take_step_or_die
main()
"""
"""Distill of which one process is killed before its fourth step."""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command in one process or two, to its end."""
    runs = []

    def run(*words, processes=1, status=0, **options):
        folder = tmp_path / f"process-{len(runs)}"
        folder.mkdir()
        runs.append(folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes}
        started = []
        for rank in range(processes):
            ranks = {**group, "LOCAL_WORLD_SIZE": processes, "RANK": rank, "LOCAL_RANK": rank}
            environment = ranks if processes > 1 else {}
            started.append(Forked(folder, *words, name=str(rank), environment=environment, **options))
        found, out, err = zip(*(each.finish() for each in started), strict=True)
        assert [*found] == ([status] * processes if isinstance(status, int) else status), err
        return SimpleNamespace(stdout="".join(out), stderr="".join(err))

    return run


def settings(*texts):
    """Return the words that set options."""
    return [word for text in texts for word in ("--set", text)]


def difference(one, other):
    """Return the largest difference between the weights of two runs, but for the spread's, fitted later."""
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    trained = [name for name in first if not name.startswith("spread_out")]
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in trained)


def losses(folder):
    """Return what was recorded of the training: all components of each step."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["components"] for record in records if record["split"] == "train"]


@pytest.fixture
def trained(run, tmp_path):
    """Return a function that trains a run in one process and one in two, and returns their folders."""

    def trained(*words, **options):
        words = ("train", *words, *settings("training.pairs=0"), "--out")
        for processes in (1, 2):
            run(*words, tmp_path / f"{processes}", processes=processes, **options)
        return tmp_path / "1", tmp_path / "2"

    return trained


def test_two_processes_give_the_weights_of_one(recordings, tiny, tmp_path, run, trained):
    """Two processes log and learn what one does, in float32 over 15 steps."""
    words = (recordings, "--loss", "recon,kl", *tiny, *settings(*EVEN), "--steps", 15)
    words = (*words[:-2], "--set", "training.learning_rate=1e-4", *words[-2:])
    one, two = trained(*words)
    assert difference(one, two) < 1e-5
    words = (*words[:-1], 1, *settings("training.pairs=0", "training.learning_rate=1e-12"))
    run("train", *words, "--out", tmp_path / "start")
    assert difference(one, tmp_path / "start") > 5e-4
    for first, second in zip(losses(one), losses(two), strict=True):
        assert first == pytest.approx(second, rel=1e-4)


def test_two_processes_train_a_term_as_one_does(recordings, tiny, trained):
    """Their gradients of its own parameters are averaged: model and term are those of one process."""
    words = (recordings, "--loss", "recon,kl,judge", *tiny, *settings(*EVEN), "--steps", 8)
    one, two = trained(*words, program=JUDGED)
    assert difference(one, two) < 1e-5
    weights = [
        load_latest(folder / "checkpoints").state["loss"]["terms.judge.weights"] for folder in (one, two)
    ]
    assert float((weights[0] - weights[1]).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("per_example", "balancer"), [(True, ()), (True, ("--balance", "gradient")), (False, ())]
)
def test_the_norm_of_the_spectral_convergence_decides(recordings, tiny, trained, per_example, balancer):
    """Per example, two processes give the weights of one; over the batch, as in auraloss, they do not.

    So they do with balanced terms, whose gradient norms are then those of all examples.

    In float64: logarithms near their floor amplify the rounding of float32, by which the very first
    steps differ, far beyond 1e-5 within a dozen steps.
    """
    norms = [f"loss.{term}.per_example={str(per_example).lower()}" for term in ("stft", "waveform")]
    small = [text.replace("stft", term, 1) for text in STFT for term in ("stft", "waveform")]
    options = settings(*EVEN, *norms, *small)
    words = (recordings, "--loss", "stft,waveform,recon,kl", *balancer, *tiny, *options, "--steps", 6)
    one, two = trained(*words, program=PRECISE)
    assert (difference(one, two) < 1e-5) == per_example


def assert_that_their_group_ended(printed):
    """Require that two processes left no thread of their group.

    A thread that lets go of a tensor while the interpreter ends would abort a process that is done.
    """
    threads = [line for line in printed.splitlines() if line.startswith("threads:")]
    assert len(threads) == 2
    assert "gloo" not in "".join(threads)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed on Linux alone")
def test_a_stream_goes_on_in_two_processes(shards, tiny, tmp_path, run):
    """Stopped by a signal to torchrun, and resumed, it ends as it would have: weights to the bit.

    Two processes write one run, with the files that one process leaves.
    """
    (tmp_path / "threads.py").write_text(THREADS)
    words = ("train", shards, "--loss", "recon,kl", *tiny, "--set", "corpus.pool_shards=2")
    words = (*words, "--steps", 30, "--out")
    run(*words, tmp_path / "straight", processes=2)
    stopped = tmp_path / "stopped"
    words = ("--standalone", "--nproc-per-node=2", tmp_path / "threads.py", *words, stopped)
    launcher = Forked(tmp_path, *words, program=TORCHRUN)
    while launcher.process.is_alive() and not (stopped / "metrics.jsonl").exists():
        time.sleep(0.01)
    launcher.process.terminate()
    _, output, _ = launcher.finish()
    assert output.count(f"  distill train --resume --out {stopped}") == output.count("device") == 1
    assert_that_their_group_ended(output)
    assert (stopped / "latents.safetensors").exists()
    state = load_latest(stopped / "checkpoints").state
    assert 0 < state["step"] < 30
    assert state["corpus"].items() >= {"drawn": 2 * state["step"], "processes": 2}.items()
    result = run("train", "--resume", "--out", stopped, status=2)
    assert result.stderr == (
        f"Error: {shards}: its shards were divided among 2 processes, and now there are 1\n"
        "Go on with as many: torchrun with 2 processes in all.\n"
    )
    result = run("train", "--resume", "--out", stopped, processes=2, program=THREADS)
    assert result.stdout.count("Done.") == 1
    assert_that_their_group_ended(result.stdout)
    assert difference(stopped, tmp_path / "straight") == 0
    assert losses(stopped) == losses(tmp_path / "straight")


def test_a_signal_after_the_last_step_of_two_processes(recordings, tiny, tmp_path, run):
    """The main process does not wait for the other, which has ended: it saves what there is, in one line."""
    words = ("train", recordings, "--loss", "recon,kl", *tiny, "--steps", 1, "--out", tmp_path / "run")
    result = run(*words, processes=2, program=SIGNALLED, status=[130, 0])
    assert "Traceback" not in result.stderr
    assert result.stdout.count(f"  distill train --resume --out {tmp_path / 'run'}") == 1
    assert load_latest(tmp_path / "run" / "checkpoints").step == 1
    assert (tmp_path / "run" / "latents.safetensors").exists()


def test_a_process_that_is_killed_ends_the_others_with_a_message(recordings, tiny, tmp_path, run):
    """The main process says so in one message, after saving the state before the step under way."""
    out = tmp_path / "run"
    words = ("train", recordings, "--loss", "recon,kl", *tiny, "--steps", 6, "--out", out)
    result = run(*words, processes=2, program=KILLED.format(rank=1), status=[1, -signal.SIGKILL])
    message = (
        "Error: process 0: another of the 2 processes of this training run has ended\n"
        "Its own output says why, unless it was killed.\n"
        "The state of step 3 is saved. Go on from there with 2 processes again: "
        f"distill train --resume --out {out}\n"
    )
    assert message in result.stderr
    assert result.stderr.count("Error") == 1  # and no traceback
    assert load_latest(out / "checkpoints").step == 3
    assert json.loads((out / "outcome.json").read_text())["state"] == "failed"
