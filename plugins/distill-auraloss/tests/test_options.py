"""Tests of the options, which are auraloss's parameters."""

import attrs
import pytest

from distill import DistillError, Registry, compose
from distill_auraloss.options import WITHHELD
from distill_auraloss.signatures import loss_classes

TERMS = {term.spec.config.loss.name: term for term in Registry().terms() if term.is_from("distill-auraloss")}


def test_every_loss_class_is_a_term():
    """No class of auraloss is left out."""
    assert set(TERMS) == set(loss_classes())


@pytest.mark.parametrize("name", TERMS)
def test_every_parameter_is_an_option_or_withheld_with_a_reason(name):
    """What auraloss can be told can be told to the term, with auraloss's default."""
    parameters = loss_classes()[name].parameters
    options = {option.name: option.default for option in attrs.fields(TERMS[name].spec.config)}
    for parameter, default in parameters.items():
        expected = tuple(default) if isinstance(default, list) else default
        reason = WITHHELD.get(parameter) or WITHHELD.get(f"{name}.{parameter}")
        assert bool(reason) != (parameter in options)
        assert reason or options[parameter] == expected


@pytest.mark.parametrize("name", TERMS)
def test_every_option_says_what_it_is_for(name):
    """`distill losses show` has help for each of them."""
    assert all(option.metadata["help"] for option in attrs.fields(TERMS[name].spec.config))


@pytest.mark.parametrize(
    ("term", "options", "message"),
    [
        (
            "stft",
            {"window": "hann"},
            (
                'window: expected one of "hann_window", "bartlett_window", "blackman_window", '
                '"hamming_window", "kaiser_window", got "hann"'
            ),
        ),
        ("stft", {"win_length": 2048}, "win_length: must be at most fft_size 1024, got 2048"),
        ("stft", {"scale": "mel"}, "n_bins: must be set together with scale, and only then, got None"),
        ("mel_stft", {"n_mels": 600}, "n_mels: must be at most half the FFT size 1024, got 600"),
        (
            "multi_resolution_stft",
            {"hop_sizes": [1]},
            (
                "win_lengths: must be one for each resolution, with hop_sizes [1] and fft_sizes "
                "[1024, 2048, 512], got [600, 1200, 240]"
            ),
        ),
        (
            "multi_resolution_stft",
            {"win_lengths": [600, 1200, 600]},
            (
                "win_lengths: must be at most the FFT sizes, with hop_sizes [120, 240, 50] and fft_sizes "
                "[1024, 2048, 512], got [600, 1200, 600]"
            ),
        ),
        (
            "random_resolution_stft",
            {"max_fft_size": 1000},
            "max_fft_size: must be a power of two from 4 to 131072, got 1000",
        ),
        (
            "random_resolution_stft",
            {"max_fft_size": 16},
            "max_fft_size: must be above min_fft_size 16, got 16",
        ),
        (
            "random_resolution_stft",
            {"min_hop_size": 0.05},
            "min_hop_size: must be at least one sample of min_fft_size 16, got 0.05",
        ),
        (
            "random_resolution_stft",
            {"max_hop_size": 0.05},
            "max_hop_size: must be at least min_hop_size 0.1, got 0.05",
        ),
        (
            "esr",
            {"reduction": "none"},
            'reduction: unknown option, got "none"; expected one of weight, schedule, eps',
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(term, options, message):
    """Where auraloss fails an assertion, or goes on, one message says which option and what it may be."""
    with pytest.raises(DistillError) as caught:
        compose(f"auraloss_{term}", {f"auraloss_{term}.{name}": value for name, value in options.items()})
    assert str(caught.value) == f"loss.auraloss_{term}.{message}"
