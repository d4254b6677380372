"""Tests of distill.training.retention: how much of what a training has changed is kept."""

import attrs
import pytest
import torch

from distill.audio.corpus import open_corpus
from distill.base import load_base
from distill.evaluation import Metrics, evaluate
from distill.model import VAE
from distill.model.sounds import reconstruct
from distill.settings import ModelSettings
from distill.spectral.representation import MagnitudeIF
from distill.training.retention import Retention, does_harm, interpolate, retain

REPRESENTATION = MagnitudeIF()


@pytest.fixture(scope="module")
def base():
    """Load the base model's weights once."""
    return load_base().weights


@pytest.fixture(scope="module")
def corpus(recordings, tmp_path_factory):
    """Open the tiny recordings at the base model's sample rate, two of five held out."""
    cache = tmp_path_factory.mktemp("cache")
    return open_corpus(recordings, sample_rate=44_100, cache=cache, heldout_fraction=0.4)


def trained(base, change):
    """Return the base model after a training that scaled its last layer's weights by one plus `change`."""
    vae = VAE(ModelSettings(), REPRESENTATION).eval().requires_grad_(False)
    vae.load_state_dict(base)
    vae.patch_out.weight *= 1 + change
    return vae


def mels(vae, corpus):
    """Return the mean mel distances on the held-out and on the trained recordings, in dB."""
    return [
        evaluate(
            lambda waveform: reconstruct(vae, REPRESENTATION, waveform),
            [(each.name, split.read(each)[:1]) for each in split.recordings],
            sample_rate=corpus.sample_rate,
        ).mean.mel
        for split in (corpus.heldout, corpus.train)
    ]


def test_weights_between_two_models():
    """A quarter of the way from 1 to 3 is 1.5; what is no real number is that of the end."""
    vae = VAE(ModelSettings(width=16, fine_width=8), REPRESENTATION)
    start, end = ({k: torch.full_like(v, value) for k, v in vae.state_dict().items()} for value in (1.0, 3.0))
    interpolate(vae, start, end, 0.25)
    assert all(
        (tensor == (1.5 if tensor.is_floating_point() else 3)).all() for tensor in vae.state_dict().values()
    )


def test_what_does_no_harm_is_kept_whole(base, corpus):
    """The model is as it was after the training."""
    vae = trained(base, 1e-5)
    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    assert retain(vae, base, REPRESENTATION, corpus) == Retention(share=1.0, recordings=5)
    assert all(torch.equal(tensor, end[name]) for name, tensor in vae.state_dict().items())


def test_what_is_nothing_but_harm_is_undone(base, corpus):
    """The model is the one that the training began with."""
    vae = trained(base, -1.5)
    assert retain(vae, base, REPRESENTATION, corpus) == Retention(share=0.0, recordings=5)
    assert all(torch.equal(tensor, base[name]) for name, tensor in vae.state_dict().items())


def test_the_greatest_share_is_kept_that_does_no_harm(base, corpus):
    """The mel distances are within 0.02 dB of the start's, where one of the whole is not."""
    vae = trained(base, -0.1)
    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    before, after = mels(trained(base, 0.0), corpus), mels(vae, corpus)
    kept = retain(vae, base, REPRESENTATION, corpus)
    assert kept.share in [sixteenths / 16 for sixteenths in range(1, 16)]
    assert any(last > first + 0.02 for first, last in zip(before, after, strict=True))
    assert all(last <= first + 0.02 for first, last in zip(before, mels(vae, corpus), strict=True))
    expected = torch.lerp(base["patch_out.weight"], end["patch_out.weight"], kept.share)
    torch.testing.assert_close(vae.patch_out.weight.detach(), expected)


def test_without_held_out_recordings_those_trained_on_are_heard(base, recordings, tmp_path):
    """All five of them."""
    corpus = open_corpus(recordings, sample_rate=44_100, cache=tmp_path, heldout_fraction=0.0)
    assert retain(trained(base, 1e-5), base, REPRESENTATION, corpus) == Retention(share=1.0, recordings=5)


def heard(*mels):
    """Return the metrics of recordings that differ in their mel distances alone, in dB."""
    same = {name: 0.0 for name in attrs.fields_dict(Metrics) if name not in ("zimtohrli", "visqol", "terms")}
    return [None if mel is None else Metrics(**{**same, "mel": mel}) for mel in mels]


@pytest.mark.parametrize(
    ("heldout", "trained", "harm"),
    [
        ((), (0.01, 0.028), False),  # 0.019 on average is borne
        ((), (0.01, 0.04), True),
        ((0.5,), (-0.6,), False),  # a single recording is sure of nothing, and the mean is better
        ((0.1, 0.1), (-0.3, -0.3), True),  # surely worse on held-out recordings
        ((0.2, -0.1), (-0.3, -0.3), False),  # 0.05 on average, with a standard error of 0.15
        ((0.2, -0.1), (0.0, 0.0), True),  # 0.025 on average over all
        ((None, 0.019), (None, None), False),  # what cannot be measured is left out
    ],
)
def test_what_does_harm(heldout, trained, harm):
    """Mel distances may rise by 0.02 dB on average, on held-out recordings within the standard error."""
    before = [heard(*(None if mel is None else 1.0 for mel in mels)) for mels in (heldout, trained)]
    after = [heard(*(None if mel is None else 1.0 + mel for mel in mels)) for mels in (heldout, trained)]
    assert does_harm(tuple(after), tuple(before)) is harm


@pytest.mark.parametrize(
    ("changed", "harm"), [({"tones": 0.495}, False), ({"tones": 0.485}, True), ({"tones": 0.6}, False),
                          ({"texture": 6.3}, False), ({"texture": 6.45}, True), ({"texture": 5.8}, False)],
)  # fmt: skip
def test_tones_and_textures_count_as_mel_distances_do(changed, harm):
    """Tones may fall by 0.01, and a texture may get 0.1 dB further from the original's, on either side."""
    (same,) = (attrs.evolve(each, tones=0.5, texture=6.3, original_texture=6.0) for each in heard(1.0))
    assert does_harm(([], [attrs.evolve(same, **changed)]), ([], [same])) is harm
