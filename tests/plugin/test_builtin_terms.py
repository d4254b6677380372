"""Tests of distill.plugin.builtin_terms."""

import subprocess
import sys

import pytest

from distill.config import describe, structure
from distill.errors import ConfigError
from distill.plugin import builtin_terms
from distill.plugin.builtin_terms import KlConfig, ReconstructionConfig, StftConfig, WaveformConfig

SPECS = {spec.name: spec for spec in builtin_terms.distill_loss_terms()}


def test_names_and_aliases_of_the_built_in_terms():
    """Distill declares four built-in terms, and `reconstruction` has the alias `recon`."""
    assert {name: spec.aliases for name, spec in SPECS.items()} == {
        "stft": (),
        "reconstruction": ("recon",),
        "kl": (),
        "waveform": (),
    }


@pytest.mark.parametrize("config", [StftConfig, WaveformConfig])
def test_defaults_of_the_multi_resolution_terms(config):
    """Both compare at the same three resolutions with weight 1."""
    assert config().weight == 1.0
    assert config().fft_sizes == (512, 1024, 2048)
    assert config().hop_sizes == (128, 256, 512)
    assert config().win_lengths == (512, 1024, 2048)


def test_resolutions_pair_the_sizes():
    """Each resolution has one FFT size, one hop and one window."""
    config = StftConfig(fft_sizes=(64, 128), hop_sizes=(8, 16), win_lengths=(32, 100))
    assert config.resolutions == ((64, 8, 32), (128, 16, 100))


def test_defaults_of_reconstruction():
    """The weight is 0.1, and the magnitude counts twice as much as the IF."""
    config = ReconstructionConfig()
    assert (config.weight, config.magnitude_weight, config.if_weight) == (0.1, 1.0, 0.5)


def test_defaults_of_kl():
    """The weight is 0.01 after 30 % of the training, with 0.1 free nats."""
    config = KlConfig()
    assert (config.weight_max, config.warmup_fraction, config.free_bits) == (0.01, 0.3, 0.1)


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 0.0), (0.15, 0.005), (0.3, 0.01), (0.300001, 0.01), (1.0, 0.01)]
)
def test_kl_weight_rises_in_a_line_and_stays(progress, weight):
    """The warm-up is linear from 0 and ends at `weight_max`."""
    assert KlConfig().weight_at(progress) == pytest.approx(weight)


def test_kl_weight_is_full_at_once_without_a_warm_up():
    """A warm-up of no length gives the full weight from the first step."""
    assert KlConfig(weight_max=0.5, warmup_fraction=0).weight_at(0.0) == 0.5


@pytest.mark.parametrize(
    ("options", "objection"),
    [
        ({"weight_max": -0.1}, "loss.kl.weight_max: must be >= 0, got -0.1"),
        ({"weight_max": float("inf")}, "loss.kl.weight_max: must be finite, got inf"),
        ({"warmup_fraction": 1.5}, "loss.kl.warmup_fraction: must be <= 1, got 1.5"),
        ({"warmup_fraction": -0.5}, "loss.kl.warmup_fraction: must be >= 0, got -0.5"),
        ({"free_bits": -1.0}, "loss.kl.free_bits: must be >= 0, got -1.0"),
    ],
)
def test_kl_bounds(options, objection):
    """Each option of `kl` has its bounds."""
    with pytest.raises(ConfigError) as caught:
        structure(options, KlConfig, at="loss.kl")
    assert str(caught.value) == objection


@pytest.mark.parametrize("option", ["weight", "magnitude_weight", "if_weight"])
def test_reconstruction_bounds(option):
    """No weight of `reconstruction` may be negative."""
    with pytest.raises(ConfigError) as caught:
        structure({option: -1.0}, ReconstructionConfig, at="loss.reconstruction")
    assert str(caught.value) == f"loss.reconstruction.{option}: must be >= 0, got -1.0"


@pytest.mark.parametrize(
    ("options", "objection"),
    [
        (
            {"hop_sizes": [128]},
            (
                "loss.stft.win_lengths: must be one for each resolution, with hop_sizes [128] "
                "and fft_sizes [512, 1024, 2048], got [512, 1024, 2048]"
            ),
        ),
        (
            {"win_lengths": [512, 1024, 2049]},
            (
                "loss.stft.win_lengths: must lie between hop and FFT size, with hop_sizes [128, 256, 512] "
                "and fft_sizes [512, 1024, 2048], got [512, 1024, 2049]"
            ),
        ),
        (
            {"win_lengths": [127, 1024, 2048]},
            (
                "loss.stft.win_lengths: must lie between hop and FFT size, with hop_sizes [128, 256, 512] "
                "and fft_sizes [512, 1024, 2048], got [127, 1024, 2048]"
            ),
        ),
        ({"engine": "quick"}, 'loss.stft.engine: expected one of "auto", "fast", "auraloss", got "quick"'),
        ({"hop_sizes": [128, 0, 512]}, "loss.stft.hop_sizes[1]: must be >= 1, got 0"),
        ({"fft_sizes": [2**40] * 3}, "loss.stft.fft_sizes[0]: must be <= 131072, got 1099511627776"),
        (
            {"fft_sizes": [2048], "hop_sizes": [1], "win_lengths": [2048]},
            (
                "loss.stft.win_lengths: must belong to FFT sizes of at most 256 hops, with hop_sizes [1] and "
                "fft_sizes [2048], got [2048]"
            ),
        ),
        (
            {"fft_sizes": [], "hop_sizes": [], "win_lengths": []},
            "loss.stft.fft_sizes: must be of length >= 1, got []",
        ),
    ],
)
def test_resolutions_must_fit_together(options, objection):
    """A hop longer than its window, a window longer than its FFT, and unequal counts are refused."""
    with pytest.raises(ConfigError) as caught:
        structure(options, StftConfig, at="loss.stft")
    assert str(caught.value).splitlines()[0] == objection


def test_a_window_may_be_as_long_as_its_fft_and_its_hop():
    """A window is valid where it is as long as its FFT and its hop."""
    assert StftConfig(fft_sizes=(64,), hop_sizes=(64,), win_lengths=(64,)).resolutions == ((64, 64, 64),)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_option_has_a_help_text(spec):
    """Every option declares a help text."""
    assert [option.name for option in describe(spec.config) if not option.help] == []


def test_the_specs_load_no_torch():
    """Listing the built-in terms does not import torch."""
    code = "import sys; from distill.plugin import builtin_terms; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
