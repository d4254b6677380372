"""Tests of distill.training.partial_run: what a run that was stopped by a signal holds, in every phase."""

import os
import shutil
import signal

import pytest
import torch

import distill
from distill import Interrupted, Observer
from distill.storage.checkpoints import checkpoint_paths, load_state
from distill.storage.run import Run


class Listener(Observer):
    """Sends a signal at the record of a step, and keeps the outcome."""

    def __init__(self, step=None, number=None):
        self.step, self.number, self.outcome = step, number, None

    def record(self, record):
        """Send the signal."""
        if record.step == self.step and record.split == "train":
            os.kill(os.getpid(), self.number)

    def done(self, outcome):
        """Keep it."""
        self.outcome = outcome


def stopping_in(stage, done, number):
    """Return a function that sends a signal at some progress."""

    def on_progress(progress):
        if (progress.stage, progress.done) == (stage, done):
            os.kill(os.getpid(), number)

    return on_progress


@pytest.fixture
def train(recordings, tiny_options, tmp_path):
    """Train three steps, or go on."""

    def train(*, resume=False, **words):
        given = {} if resume else {"options": tiny_options, "loss": "recon,kl", "steps": 3}
        corpus = () if resume else (recordings,)
        return distill.train(*corpus, out=tmp_path / "run", resume=resume, **given, **words)

    return train


@pytest.fixture
def interrupted(train):
    """Train until a signal comes: the step that is told."""

    def interrupted(**words):
        listener = words.setdefault("observer", Listener())
        with pytest.raises(Interrupted) as caught:
            train(**words)
        assert (listener.outcome.interrupted, listener.outcome.step) == (True, caught.value.step)
        return caught.value.step

    return interrupted


@pytest.fixture(scope="module")
def straight(recordings, tiny_options, tmp_path_factory):
    """Train a run that is never stopped."""
    out = tmp_path_factory.mktemp("straight") / "run"
    return distill.train(recordings, loss="recon,kl", steps=3, options=tiny_options, out=out)


@pytest.fixture
def equals_one_never_stopped(train, straight):
    """Go on with the run, and compare it with another."""

    def check():
        resumed = train(resume=True)
        for name in ("model", "latents", "baselines"):
            one, other = (load_state(getattr(run, name)) for run in (resumed, straight))
            assert [*flat(one)] == [*flat(other)]

    return check


def flat(state):
    """Yield names and values of a state."""
    for name, value in state.items():
        if isinstance(value, dict):
            yield from flat(value)
        else:
            yield name, value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_stopped_in_training_can_be_used(interrupted, equals_one_never_stopped, tmp_path, number):
    """It has latents of all recordings, from which sounds are made, and goes on as if never stopped."""
    assert interrupted(observer=Listener(1, number)) == 2
    model = distill.load(tmp_path / "run")
    assert len(model.latents) == 4
    assert len(model.generate(1)) == 1
    assert [*checkpoint_paths(tmp_path / "run" / "checkpoints")] == [2]
    if number == signal.SIGHUP:
        equals_one_never_stopped()


def test_a_run_stopped_before_its_first_step_can_be_resumed(interrupted, equals_one_never_stopped, tmp_path):
    """A run that stops before any recording is decoded has a recipe and can be resumed."""
    assert interrupted(on_progress=stopping_in("decoding", 2, signal.SIGTERM)) == 0
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_file()] == ["recipe.toml"]
    equals_one_never_stopped()


@pytest.mark.parametrize("done", [0, 3])
def test_a_run_stopped_after_its_last_step_can_be_used(interrupted, equals_one_never_stopped, tmp_path, done):
    """A resumed run computes the results that it lacked when a signal stopped it."""
    assert interrupted(on_progress=stopping_in("finishing", done, signal.SIGTERM)) == 3
    assert len(distill.load(tmp_path / "run").latents) == 4
    if done:
        equals_one_never_stopped()


def test_little_time_is_enough_for_some_latents(interrupted, monkeypatch, tmp_path):
    """One recording is encoded in any case; statistics are left for later."""
    monkeypatch.setattr("distill.training.interruption._SECONDS_TO_FINISH", -1)
    interrupted(observer=Listener(1, signal.SIGINT))
    assert len(distill.load(tmp_path / "run").latents) == 1
    assert not Run(tmp_path / "run").baselines.exists()


def test_complete_results_are_kept(interrupted, monkeypatch, tmp_path):
    """A signal while statistics are computed takes nothing back, however little time is left."""
    monkeypatch.setattr("distill.training.interruption._SECONDS_TO_FINISH", -1)
    measure = distill.training.finishing.measure_recordings

    def stop(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(*arguments)

    monkeypatch.setattr("distill.training.finishing.measure_recordings", stop)
    interrupted()
    assert len(distill.load(tmp_path / "run").latents) == 4


def test_a_signal_that_a_destructor_swallowed_counts(interrupted, monkeypatch):
    """A signal stops the run even if it is raised in a destructor, where Python drops it."""
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)

    class Dropped:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            torch.zeros(1)

    assert interrupted(on_progress=lambda progress: progress.done == 1 and Dropped() and None) == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_a_run_folder_that_was_removed_is_whole_again(train, interrupted, tmp_path, stopped):
    """A removed folder is made again with recipe, split and model, without earlier records."""

    class Removing(Listener):
        def record(self, record):
            if record.step == 2 and record.split == "train":
                shutil.rmtree(tmp_path / "run")
            super().record(record)

        def warning(self, warning):
            assert str(warning) == (
                f"{tmp_path / 'run'}: files were removed during the training. Its recipe is there again."
            )

    if stopped:
        interrupted(observer=Removing(2, signal.SIGTERM))
    else:
        train(observer=Removing())
    assert len(distill.load(tmp_path / "run").generate(1)) == 1
    assert (tmp_path / "run" / "split.json").exists()
