"""Tests of distill.training.retention: how much of a training run is kept."""

import math
import shutil

import attrs
import pytest
import torch

from distill.audio.corpus import open_corpus
from distill.base import load_base
from distill.config.settings import ModelSettings
from distill.evaluation import Metrics
from distill.model import VAE
from distill.spectral.representation import MagnitudeIF
from distill.training.retention import Retention, interpolate, retain, score

REPRESENTATION = MagnitudeIF()


@pytest.fixture(scope="module")
def base():
    """Load the base model's weights once."""
    return load_base().weights


@pytest.fixture(scope="module")
def few(recordings, tmp_path_factory):
    """Copy three of the tiny recordings, each of which is measured six times."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("a.wav", "b.wav", "stereo.wav"):
        shutil.copy(recordings / name, folder)
    return folder


@pytest.fixture(scope="module")
def corpus(few, tmp_path_factory):
    """Open them at the base model's sample rate, one of three held out."""
    cache = tmp_path_factory.mktemp("cache")
    corpus = open_corpus(few, sample_rate=44_100, cache=cache, heldout_fraction=0.4)
    assert len(corpus.heldout.recordings) == 1
    return corpus


def trained(base, change):
    """Return the base model after a training that scaled its last layer's weights by one plus `change`."""
    vae = VAE(ModelSettings(), REPRESENTATION).eval().requires_grad_(False)
    vae.load_state_dict(base)
    vae.patch_out.weight *= 1 + change
    return vae


def test_weights_between_two_models():
    """A quarter of the way from 1 to 3 is 1.5; what is no real number is that of the end."""
    vae = VAE(ModelSettings(width=16, fine_width=8), REPRESENTATION)
    start, end = ({k: torch.full_like(v, value) for k, v in vae.state_dict().items()} for value in (1.0, 3.0))
    interpolate(vae, start, end, 0.25)
    assert all(
        (tensor == (1.5 if tensor.is_floating_point() else 3)).all() for tensor in vae.state_dict().values()
    )


def test_what_is_an_improvement_is_kept_whole(base, corpus):
    """A training that mended the last layer leaves the base model."""
    vae, start = trained(base, 0.0), trained(base, -0.1).state_dict()
    assert retain(vae, start, REPRESENTATION, corpus) == Retention(share=1.0, recordings=3)
    assert all(torch.equal(tensor, base[name]) for name, tensor in vae.state_dict().items())


def test_what_is_nothing_but_harm_is_undone(base, corpus):
    """The model is the one that the training began with. Each of the six measurements is told."""
    vae, told = trained(base, -1.5), []
    assert retain(vae, base, REPRESENTATION, corpus, told.append) == Retention(share=0.0, recordings=3)
    assert [each.done for each in told] == [*range(6 * 3)]
    assert {(each.stage, each.total) for each in told} == {("keeping", 6 * 3)}
    assert all(torch.equal(tensor, base[name]) for name, tensor in vae.state_dict().items())


def test_the_best_share_is_kept(base, corpus):
    """A training from one side of the base model to the other, both of them random, is kept by half."""
    weight = base["patch_out.weight"]
    noise = weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    vae, start = trained(base, 0.0), dict(base) | {"patch_out.weight": weight + noise}
    vae.patch_out.weight -= noise
    assert retain(vae, start, REPRESENTATION, corpus) == Retention(share=0.5, recordings=3)
    torch.testing.assert_close(vae.patch_out.weight.detach(), weight)


def test_without_held_out_recordings_those_trained_on_are_heard(base, few, tmp_path):
    """All three training recordings are measured where none is held out."""
    corpus = open_corpus(few, sample_rate=44_100, cache=tmp_path, heldout_fraction=0.0)
    vae, start = trained(base, 0.0), trained(base, -0.1).state_dict()
    assert retain(vae, start, REPRESENTATION, corpus) == Retention(share=1.0, recordings=3)


def heard(*mels):
    """Return the metrics of recordings that differ in their mel distances alone, in dB."""
    same = {name: 0.0 for name in attrs.fields_dict(Metrics) if name not in ("zimtohrli", "visqol", "terms")}
    return [None if mel is None else Metrics(**{**same, "mel": mel}) for mel in mels]


def change(heldout, trained):
    """Return the score of changes of mel distances, in dB, from 1 dB."""
    before = [heard(*(None if mel is None else 1.0 for mel in mels)) for mels in (heldout, trained)]
    after = [heard(*(None if mel is None else 1.0 + mel for mel in mels)) for mels in (heldout, trained)]
    return score(tuple(after), tuple(before))


@pytest.mark.parametrize(
    ("heldout", "trained", "expected"),
    [
        ((), (-0.01, -0.03), 1.0),
        ((-0.1,), (0.02, 0.04), 1.75),  # (-0.1 + 0.03) / 2, in units of 0.02
        ((0.01,), (), -0.5),
        ((None, 0.01), (None, None), -0.5),  # what cannot be measured is left out
        ((0.5,), (-0.6,), 2.5),  # one recording is sure of nothing
        ((0.2, -0.1), (-0.3, -0.3), 6.25),  # 0.05 worse, with a standard error of 0.15 / sqrt(2)
        ((0.1, 0.1), (-0.9, 0.1), 7.5),  # two alike are not sure where the others vary by 0.5
    ],
)
def test_a_score_is_in_units_of_what_a_seed_changes(heldout, trained, expected):
    """Held-out and trained recordings count alike, however many they are."""
    assert change(heldout, trained) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("heldout", "trained"),
    [
        ((), (0.01, 0.04)),
        ((0.03,), (0.03,)),
        ((0.1, 0.1), (-0.3, -0.3)),
        ((0.2, -0.1), (0.0, 0.0)),
        ((0.1,), (-0.3, -0.31)),  # one alone, where the others hardly vary
    ],
)
def test_what_is_worse_has_no_score(heldout, trained):
    """A change has no score if its mean is over 0.02 dB worse, or worse held out beyond the error."""
    assert change(heldout, trained) == -math.inf


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"tones": 0.495}, -0.5), ({"tones": 0.485}, -math.inf), ({"tones": 0.6}, 10.0),
     ({"texture": 6.35}, -0.5), ({"texture": 6.45}, -math.inf), ({"texture": 5.8}, 1.0)],
)  # fmt: skip
def test_tones_and_textures_count_as_mel_distances_do(changed, expected):
    """A step is 0.01 of tones, and 0.1 dB of texture, on either side of the original's 6 dB."""
    (same,) = (attrs.evolve(each, tones=0.5, texture=6.3, original_texture=6.0) for each in heard(1.0))
    assert score(([], [attrs.evolve(same, **changed)]), ([], [same])) == pytest.approx(expected)
