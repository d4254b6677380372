"""Tests of the terms against auraloss's classes, called directly."""

import auraloss
import librosa.filters
import numpy as np
import pytest
import torch

from distill import DistillError, LossInputs, MagnitudeIF, Signal, compose

SAMPLE_RATE = 22_050
REPRESENTATION = MagnitudeIF(sample_rate=SAMPLE_RATE, n_fft=512, hop=128)
SAMPLES = 5000


def term(name, **options):
    """Compose one term, as in anybody's training loop."""
    return compose(f"auraloss_{name}", {f"auraloss_{name}.{key}": value for key, value in options.items()})


def compare(loss, prediction, target):
    """Return what the loss makes of two waveforms."""
    sides = {"prediction": prediction, "target": target}
    return loss(LossInputs(**{k: Signal.from_waveform(v, REPRESENTATION) for k, v in sides.items()}))["total"]


@pytest.fixture
def pair():
    """A prediction and a target, four clips of noise each."""
    generator = torch.Generator().manual_seed(0)
    target = 0.1 * torch.randn(4, SAMPLES, generator=generator) + 0.01
    return (target + 0.05 * torch.randn(4, SAMPLES, generator=generator)).requires_grad_(), target


def mono(reference):
    """Call a class of auraloss with one channel per row."""
    return lambda prediction, target: reference(prediction[:, None], target[:, None])


def stereo(reference):
    """Call a class of auraloss with rows 2i and 2i + 1 as the channels of a sound."""

    def compare_channels(prediction, target):
        left_and_right = (torch.stack([side[0::2], side[1::2]], dim=1) for side in (prediction, target))
        return reference(*left_and_right)

    return compare_channels


def magnitudes(reference):
    """Call a class of auraloss with the STFT magnitudes of both sides."""

    def compare_magnitudes(prediction, target):
        window = torch.hann_window(1024)
        sides = (
            torch.stft(side, 1024, 256, window=window, return_complex=True) for side in (prediction, target)
        )
        return reference(*(side.abs().clamp(min=1e-4) for side in sides))

    return compare_magnitudes


def chroma(prediction, target):
    """Compare as auraloss's chroma loss would if it could be built: its base class with librosa's filters."""
    reference = auraloss.freq.STFTLoss()
    reference.scale = "chroma"
    reference.fb = torch.from_numpy(librosa.filters.chroma(sr=SAMPLE_RATE, n_fft=1024, n_chroma=12))
    return mono(reference)(prediction, target)


SIZES = {"fft_sizes": [512, 256], "hop_sizes": [100, 50], "win_lengths": [400, 200]}
MEL = {"scale": "mel", "n_bins": 32}
RATE = {"sample_rate": SAMPLE_RATE}

CASES = [
    ("esr", {}, mono(auraloss.time.ESRLoss())),
    ("dc", {"eps": 1e-3}, mono(auraloss.time.DCLoss(eps=1e-3))),
    ("log_cosh", {"a": 5.0}, mono(auraloss.time.LogCoshLoss(a=5.0))),
    ("snr", {}, mono(auraloss.time.SNRLoss())),
    ("sisdr", {"zero_mean": False}, mono(auraloss.time.SISDRLoss(zero_mean=False))),
    ("sdsdr", {}, mono(auraloss.time.SDSDRLoss())),
    ("spectral_convergence", {}, magnitudes(auraloss.freq.SpectralConvergenceLoss())),
    ("stft_magnitude", {}, magnitudes(auraloss.freq.STFTMagnitudeLoss())),
    (
        "stft_magnitude",
        {"log": False, "distance": "L2"},
        magnitudes(auraloss.freq.STFTMagnitudeLoss(log=False, distance="L2")),
    ),
    ("stft", {}, mono(auraloss.freq.STFTLoss())),
    (
        "stft",
        {"perceptual_weighting": True, "window": "hamming_window", "w_lin_mag": 0.5},
        mono(
            auraloss.freq.STFTLoss(perceptual_weighting=True, window="hamming_window", w_lin_mag=0.5, **RATE)
        ),
    ),
    ("mel_stft", {"n_mels": 64}, mono(auraloss.freq.MelSTFTLoss(SAMPLE_RATE, n_mels=64))),
    ("chroma_stft", {}, chroma),
    ("multi_resolution_stft", {}, mono(auraloss.freq.MultiResolutionSTFTLoss())),
    (
        "multi_resolution_stft",
        SIZES | MEL | {"fft_sizes": [1024, 512]},
        mono(auraloss.freq.MultiResolutionSTFTLoss(**(SIZES | MEL | RATE | {"fft_sizes": [1024, 512]}))),
    ),
    (
        "sum_and_difference_stft",
        SIZES | {"w_diff": 0.5, "w_phs": 0.1},
        stereo(auraloss.freq.SumAndDifferenceSTFTLoss(**SIZES, w_diff=0.5, w_phs=0.1)),
    ),
]


@pytest.mark.parametrize(("name", "options", "reference"), CASES)
def test_value_and_gradient_are_auraloss_s(name, options, reference, pair):
    """A term is its class, called with the prediction first."""
    prediction, target = pair
    result, expected = compare(term(name, **options), prediction, target), reference(prediction, target)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    gradient, wanted = (torch.autograd.grad(value, prediction)[0] for value in (result, expected))
    assert (gradient - wanted).norm() <= 1e-5 * wanted.norm()


def test_the_sample_rate_is_that_of_the_sounds(pair):
    """Filters are made for the rate of the representation that the term meets."""
    loss = term("mel_stft", n_mels=32)
    for sample_rate in (16_000, 22_050):
        representation = MagnitudeIF(sample_rate=sample_rate, n_fft=512, hop=128)
        prediction, target = (Signal.from_waveform(side, representation) for side in pair)
        result = loss(LossInputs(prediction=prediction, target=target))["total"]
        expected = mono(auraloss.freq.MelSTFTLoss(sample_rate, n_mels=32))(*pair)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


def test_a_term_first_called_in_inference_mode_learns_afterwards(pair):
    """What it makes of the sample rate is no tensor of that mode."""
    loss = term("mel_stft", n_mels=32)
    with torch.inference_mode():
        first = compare(loss, *pair)
    later = compare(loss, *pair)
    later.backward()
    assert later.item() == first.item()


RANDOM = {"max_fft_size": 2048, "seed": 3}


def test_random_resolutions_follow_from_the_seed(pair):
    """The first draw is that of numpy seeded with the seed and 0, and numpy's own state is left alone."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # auraloss draws from this one
    result = compare(term("random_resolution_stft", **RANDOM), *pair)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    reference = auraloss.freq.RandomResolutionSTFTLoss(max_fft_size=2048)
    np.random.seed((3, 0))  # noqa: NPY002
    torch.testing.assert_close(result, mono(reference)(*pair), rtol=1e-5, atol=1e-6)


def test_random_resolutions_fit_into_the_clip(pair):
    """Of 5000 samples, where auraloss would raise at its default of 32768, those below 4096 are drawn."""
    lowered = compare(term("random_resolution_stft"), *pair)
    assert lowered == compare(term("random_resolution_stft", max_fft_size=4096), *pair)


def test_random_resolutions_change_from_call_to_call_and_only_in_training(pair):
    """A training meets others each time; what is evaluated is compared at the same."""
    loss = term("random_resolution_stft", **RANDOM)
    first, second = compare(loss, *pair), compare(loss, *pair)
    assert first != second
    loss.eval()
    assert compare(loss, *pair) == compare(loss, *pair) == first
    loss.train()
    assert compare(loss, *pair) not in (first, second)


def test_random_resolutions_stay_for_as_many_calls_as_asked(pair):
    """The rate is that of auraloss, in calls."""
    loss = term("random_resolution_stft", randomize_rate=2, **RANDOM)
    values = [compare(loss, *pair).item() for _ in range(4)]
    assert values[0] == values[1] != values[2] == values[3]


def test_a_resumed_training_draws_on(pair):
    """The state dict holds how far the draws have come."""
    loss, resumed = term("random_resolution_stft", **RANDOM), term("random_resolution_stft", **RANDOM)
    compare(loss, *pair)
    resumed.load_state_dict(loss.state_dict())
    assert compare(resumed, *pair) == compare(loss, *pair)


def test_no_filters_are_in_the_state_dict(pair):
    """What follows from the options is not saved, so a state fits before the first sound and after it."""
    loss = term("mel_stft", n_mels=32)
    compare(loss, *pair)
    assert loss.state_dict() == {}


@pytest.mark.parametrize(
    ("name", "too_few"), [("stft", 512), ("sum_and_difference_stft", 1024), ("random_resolution_stft", 32)]
)
def test_a_clip_that_is_too_short_is_refused(name, too_few):
    """A clip that is too short is refused with one message; one sample more is long enough."""
    loss, clips = term(name), torch.randn(2, too_few + 1, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DistillError) as caught:
        compare(loss, clips[:, 1:], clips[:, 1:])
    assert str(caught.value) == (
        f"loss.auraloss_{name}: auraloss needs clips of more than {too_few} samples at these FFT sizes: "
        f"got {too_few}\nTake smaller FFTs, or longer clips: training.clip_seconds."
    )
    assert compare(loss, clips, clips) == 0


def test_an_odd_number_of_rows_is_refused(pair):
    """Stereo needs both channels."""
    with pytest.raises(DistillError) as caught:
        compare(term("sum_and_difference_stft"), *(side[:3] for side in pair))
    assert str(caught.value) == (
        "loss.auraloss_sum_and_difference_stft: stereo sounds have their left channel in row 2i and their "
        "right one in row 2i + 1: got 3 rows\n"
        "Pass both channels of each sound, or an even training.batch_size."
    )


def test_empty_mel_filters_are_refused(pair):
    """A mel filterbank with empty filters is refused with its settings, where auraloss gives NaN."""
    representation = MagnitudeIF(sample_rate=44_100, n_fft=512, hop=128)
    prediction, target = (Signal.from_waveform(side, representation) for side in pair)
    with pytest.raises(DistillError) as caught:
        term("mel_stft", fft_size=512, win_length=512)(LossInputs(prediction=prediction, target=target))
    assert str(caught.value) == (
        "loss.auraloss_mel_stft.n_mels: some of 128 mel filters are empty at an FFT size of 512 and "
        "44100 Hz\nTake fewer, or a larger FFT."
    )
