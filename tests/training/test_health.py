"""Tests of distill.training.health: each sign of ill health is told once, with a remedy."""

import numpy as np
import pytest
import torch
from torch import nn

from distill import TermConfig, TermSpec
from distill.audio.corpus import open_arrays
from distill.loss.composing import compose
from distill.testing import loss_inputs
from distill.training.health import Health
from distill.training.term_gradients import TermGradients
from distill.views import LogMagnitude, LossInputs, Posterior

RATE = 8000


def corpus(**levels):
    """Return a corpus of noise at these levels, all to train on."""
    noise = np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32)
    arrays = [(name, level * noise, RATE) for name, level in levels.items()]
    return open_arrays(arrays, sample_rate=RATE, heldout_fraction=0.0)


class Told(Health):
    """Health that remembers what it told."""

    def __init__(self, loss="stft,kl", options=(), corpus=None):
        self.said = []
        options = {"kl.warmup_fraction": 0.0, **dict(options)} if "kl" in str(loss) else dict(options)
        super().__init__(compose(loss, options), corpus or _CORPUS, lambda *said: self.said.append(said))

    def told(self, about):
        """Return the warnings about something."""
        return [message for each, message in self.said if each == about]

    def finished_after(self, clips, *, resumed=False):
        """Draw clips, and finish."""
        self.corpus.train.draw(clips, 800, torch.Generator().manual_seed(0))
        self.finished(resumed=resumed)

    def step(self, inputs=None, progress=0.5, **components):
        """Take a step, measured, and record it."""
        self._measures = True
        TermGradients(self.loss, nn.Identity(), 0, self._warn).components(inputs or leaves(), 0, self)
        self.recorded(components, progress)


_CORPUS = corpus(a=0.5)


def sign(about, *lines):
    """Return a warning as it is told."""
    return about, "\n".join(lines)


def leaves(**posterior):
    """Return inputs of which prediction and posterior take gradients."""
    inputs = loss_inputs()
    mu = torch.randn(inputs.posterior.mu.shape, generator=torch.Generator().manual_seed(0))
    given = {"mu": mu, "logvar": torch.zeros_like(mu)} | posterior
    return LossInputs(
        prediction=inputs.prediction,
        target=inputs.target,
        posterior=Posterior(**{name: value.detach().requires_grad_() for name, value in given.items()}),
    )


class Flat(nn.Module):
    """A term whose gradient is 0."""

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return nothing."""
        return 0 * inputs.view(LogMagnitude())[0].mean()


FLAT = TermSpec(name="flat", config=TermConfig, build=Flat, summary="")


def test_a_healthy_training_is_told_nothing():
    """No warning comes where the loss falls, latents vary and all terms share the gradient."""
    health = Told("stft,recon,kl", {"recon.weight": 30.0})
    for step in range(20):
        health.step(stft=2.0 - 0.05 * step, reconstruction=1.0, kl=20.0)
        health.evaluated(step)
    health.finished_after(32)
    assert health.said == []


def test_a_collapsed_posterior():
    """A warning comes if under 1 in 20 numbers vary in five records in a row after the first tenth."""
    still = leaves().posterior.mu.detach().mul(1e-3)
    health = Told()
    for _ in range(7):
        health.step(leaves(mu=still), progress=0.05)
    for _ in range(4):
        health.step(leaves(mu=still))
    health.step()
    for _ in range(4):
        health.step(leaves(mu=still))
    assert health.told("collapse") == []
    for _ in range(3):
        health.step(leaves(mu=still))
    size = still.shape[1]
    (message,) = health.told("collapse")
    assert message == (
        f"The posterior has collapsed: 0 of {size} numbers in a latent frame vary, so that the latents say "
        "next to nothing about a recording.\n"
        "Lower loss.kl.weight_max, or raise loss.kl.free_bits or loss.kl.warmup_fraction."
    )


def test_a_term_without_gradient():
    """A warning comes after two measurements without gradient, but not for a monitored term."""
    monitored = Told(["stft", FLAT], {"flat.weight": 0.0})
    health = Told(["stft", FLAT])
    for each in (monitored, health):
        each.step()
    assert health.said == []
    for each in (monitored, health):
        each.step()
        each.step()
    assert monitored.said == []
    (message,) = health.told("gradient")
    assert message == (
        "The term 'flat' has a weight and no gradient: it does not change the training.\n"
        "Leave it out, or look whether its options let it: distill losses show flat"
    )


@pytest.mark.parametrize(("weight", "told"), [(30.0, False), (1e4, True)])
def test_a_term_with_nearly_all_of_the_gradient(weight, told):
    """A warning names a term that dwarfs the others at the output, if others reach it."""
    health = Told("stft,recon,kl", {"recon.weight": weight})
    alone = Told("recon,kl", {"recon.weight": weight, "kl.weight_max": 1e-6})
    for each in (health, alone, health, alone):
        each.step()
    assert alone.said == []
    assert [about for about, _ in health.said] == ["gradient"] * told
    if told:
        problem, remedy = health.said[0][1].split("\n")
        assert problem.startswith("The term 'reconstruction' has ")
        assert problem.endswith("of the gradient: the others (stft, kl) change next to nothing.")
        assert remedy == (
            "Lower its weight, or let weights be shares: --balance gradient. To find weights for shares: "
            "distill losses profile"
        )


def test_a_loss_that_diverges():
    """A warning comes if the mean over five records is more than 4 times the lowest such mean."""
    health = Told("stft,kl", {"kl.warmup_fraction": 0.3, "kl.weight_max": 0.5})
    for value in (1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.5, 3.5, 3.5, 3.5, 3.5):
        health.step(stft=value / 2, kl=value, total=100.0)
    assert health.said == []
    for _ in range(6):
        health.step(stft=3.0, kl=6.0)
    assert health.said == [
        sign(
            "divergence",
            "The loss diverges: its mean over 5 records, 4.5, is more than 4 times the lowest such mean, 1.",
            "Stop, and go on from an earlier checkpoint with a lower training.learning_rate.",
        )
    ]


def test_recordings_of_which_nothing_was_drawn():
    """A warning comes at the end if over half of the recordings were never drawn."""
    health = Told(corpus=corpus(**{f"sound {number}": 0.5 for number in range(30)}))
    health.finished_after(10)
    never = [
        each.name
        for each, clips in zip(health.corpus.train.recordings, health.corpus.train.heard, strict=True)
        if not clips
    ]
    assert len(never) >= 20
    assert health.said == [
        sign(
            "recordings",
            f"No clip of {len(never)} of the 30 recordings to train on was drawn in this run, and so they "
            f"teach nothing: {', '.join(never[:5])} and {len(never) - 5} more.",
            "Train for longer, with larger batches, or on fewer recordings.",
        )
    ]
    resumed = Told(corpus=corpus(**{f"sound {number}": 0.5 for number in range(30)}))
    resumed.finished_after(3, resumed=True)
    assert resumed.said == []
    most = Told(corpus=corpus(a=0.5, b=0.5, c=0.5))
    most.finished_after(100)
    assert most.said == []
