"""Tests of distill.model.initialization: the axes with which a small code begins."""

import torch

from distill.config import structure
from distill.config.settings import ModelSettings
from distill.model.building import make_model
from distill.model.initialization import code_statistics, importance_of, initialize_axes, windows
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)
SAMPLES = 8000
COMPACT = {"code": "compact", "joint_frames": 2}


def small(representation=REPRESENTATION, **options):
    """Make a small model; its code is rich unless the options say otherwise."""
    sizes = {"width": 16, "fine_width": 8, "expansion": 2}
    blocks = {"encoder_blocks": [1, 1], "decoder_blocks": [1, 1]}
    return make_model(structure({**sizes, **blocks, **options}, ModelSettings), representation, seed=0).eval()


def draw(*shape, seed=0):
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_a_compact_code_begins_with_the_principal_axes_of_the_rich_one():
    """Latents over what it begins with have unit variance; where nothing is heard does not count."""
    vae = small(code="compact", joint_frames=1)
    drawn = REPRESENTATION(torch.stack([0.2 * draw(SAMPLES), torch.zeros(SAMPLES)]))
    initialize_axes(vae, drawn)
    mu, _ = vae.encode(drawn)
    assert mu.shape[1] == 8
    # The last latent frame is mostly beyond the end, but heard, too.
    torch.testing.assert_close(mu[0, 1:].std(1, correction=0), torch.ones(7), rtol=0.02, atol=0)
    torch.testing.assert_close(mu[0, 1:].mean(1), torch.zeros(7), rtol=0, atol=0.01)


@torch.no_grad()
def test_axes_of_several_batches():
    """Batches given one after the other make the axes of all of them together."""
    spectrograms = REPRESENTATION(torch.stack([level * draw(SAMPLES) for level in (0.2, 0.1, 0.3, 0.05)]))
    one, other = small(**COMPACT), small(**COMPACT)
    other.load_state_dict(one.state_dict())
    initialize_axes(one, spectrograms)
    initialize_axes(other, iter(spectrograms.split(3)))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)


@torch.no_grad()
def test_axes_are_those_of_the_corpus_and_of_sounds_in_general(sounds):
    """A prior counts as much as the spectrograms; where it is that of the spectrograms, nothing changes."""
    drawn, other = REPRESENTATION(sounds), REPRESENTATION(0.1 * draw(3, SAMPLES, seed=9))
    alone, same, mixed = (small(**COMPACT) for _ in range(3))
    initialize_axes(alone, drawn)
    initialize_axes(same, drawn, code_statistics(same, drawn, 2))
    initialize_axes(mixed, drawn, code_statistics(mixed, other, 2))
    torch.testing.assert_close(same.axes.state_dict(), alone.axes.state_dict())
    mean = (code_statistics(mixed, drawn, 1).mean + code_statistics(mixed, other, 1).mean) / 2
    torch.testing.assert_close(mixed.axes.outwards.bias, mean.float().repeat(2))


def test_numbers_of_a_code_count_by_what_is_heard_of_them(sounds):
    """Numbers that the decoder ignores count nothing, and levels of low bands more than of high ones."""
    vae = small()
    level, codes, _ = vae.encode_rich(REPRESENTATION(sounds))
    with torch.no_grad():
        vae.latents_in.weight[:, 0] = 0  # the first shape number of each band
    importance = importance_of(vae, level, codes)
    levels, shapes = importance[: vae.bands], importance[vae.bands :]
    assert levels[0] > levels[-1] > 0
    first = [sum(vae.code.counts[:band]) for band in range(vae.bands)]
    unheard = torch.zeros(len(shapes), dtype=torch.bool)
    unheard[first] = True
    assert (shapes[unheard] == 0).all()
    assert (shapes[~unheard] > 0).all()


def test_windows_begin_with_the_waveform():
    """The last is padded with silence; the first has the frames of the waveform, but those at its end."""
    vae, waveform = small(), 0.1 * draw(20_000)
    cut = windows(vae, REPRESENTATION, waveform)
    assert cut.shape == (2, 2, 129, 256)  # 32 frames of 8, which are 16,384 samples
    whole = REPRESENTATION(waveform[None])
    torch.testing.assert_close(cut[0, 0, :, :254], whole[0, 0, :, :254], rtol=0, atol=1e-4)
    assert not cut[1, 0, :, 60:].any()
