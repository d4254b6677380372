"""Tests of benchmarks/base.py and base_sounds.py: what a step draws, and how a training goes on."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from forked import SERVER

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # other processes look there, too

from base import RATE_MAX, Training
from base_sounds import RATE, Sounds, synthetic_slot

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write recordings of a second and of four seconds, each a constant of its own."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, seconds, value in (("a", 1, 0.25), ("b", 4, 0.5)):
        soundfile.write(folder / f"{name}.wav", np.full(seconds * RATE, value), RATE)
    return folder


@pytest.fixture
def sounds(folder):
    """Open pools that are closed when the test ends."""
    opened = []

    def open_sounds(**options):
        options = {"slots": 4, "share": 0.25, "step": 0, "workers": 1, **options}
        opened.append(Sounds(folder, CPU, **options))
        return opened[-1]

    yield open_sounds
    for each in opened:
        each.close()


def test_a_pool_is_that_of_its_step(sounds, monkeypatch):
    """Two sounds are replaced at every step: what is drawn later needs nothing of what was drawn before."""
    # Processes, which the next test has, take longer.
    monkeypatch.setattr("base_sounds.ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count))
    first = sounds(fresh=2)
    drawn = [first.draw(3, 1000) for _ in range(3)]
    later = sounds(fresh=2, step=2)
    assert torch.equal(later.draw(3, 1000), drawn[2])
    # After three steps the sounds 6..9 are there, each at its place.
    for number in range(6, 10):
        assert np.array_equal(later.pool[number % 4].numpy(), synthetic_slot(number))


def test_recordings_are_drawn_by_the_roots_of_their_lengths(sounds, monkeypatch):
    """A recording four times as long is drawn twice as often, and at its own level."""
    # New interpreters would take seconds to import torch.
    monkeypatch.setattr("base_sounds.get_context", lambda _: SERVER)
    pool = sounds(share=1.0)
    clips = pool._played(3000, 1, torch.Generator().manual_seed(0))  # noqa: SLF001  # before they are mixed
    counts = [int((clips == value).sum()) for value in (0.25, 0.5)]
    assert counts[1] / counts[0] == pytest.approx(2, rel=0.15)


class Noise:
    """Clips that follow from the step alone, as those of `Sounds` do, and sooner."""

    def __init__(self, step):
        self.step = step

    def draw(self, clips, samples):
        """Draw the clips of the next step."""
        self.step += 1
        return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(self.step))


def test_a_resumed_training_equals_one_that_was_never_stopped(tmp_path):
    """Weights, averages and counts of two steps are those of two trainings of a step, bit by bit."""

    def training(name):
        made = Training(tmp_path / name, CPU, batch=2)
        made.sounds = Noise(made.step)
        return made

    straight = training("straight")
    straight.run(2 * 2 * straight.samples / RATE / 3600, None, 0.0)
    stopped = training("stopped")
    for step in range(2):
        stopped._learn(step / 2)  # noqa: SLF001  # one step alone
        stopped.save()
        stopped = training("stopped")
    assert (straight.step, straight.clips) == (stopped.step, stopped.clips) == (2, 4)
    for one, other in ((straight.vae, stopped.vae), (straight.average, stopped.average)):
        states = one.state_dict(), other.state_dict()
        assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []


def test_schedules_follow_the_audio_whatever_the_batch(tmp_path):
    """The rate rises over 1600 clips, and falls over the last quarter."""
    for batch in (8, 64):
        training = Training(tmp_path, CPU, batch=batch)
        training.clips = 800 - batch
        assert training.rate_at(0.1) == pytest.approx(RATE_MAX / 2)
        training.clips = 1600
        assert training.rate_at(0.1) == RATE_MAX
        assert training.rate_at(0.875) == pytest.approx(RATE_MAX / 2)


def test_what_is_lowered_is_computed_in_float32(tmp_path):
    """Under bfloat16 autocast, every part of the loss is computed in float32 and is finite."""
    training = Training(tmp_path, CPU, batch=2)
    clips = 0.1 * torch.randn(2, training.samples, generator=torch.Generator().manual_seed(0))
    spectrogram = training.representation(clips)[..., :64]
    noise = torch.zeros(2, training.vae.latent_size, 8)
    with torch.autocast("cpu", torch.bfloat16):
        parts = training.compute(spectrogram, noise)
    assert {value.dtype for value in parts.values()} == {torch.float32}
    assert all(math.isfinite(value.detach()) for value in parts.values())
