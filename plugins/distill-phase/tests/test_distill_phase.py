"""Tests of the plugin, with expected values worked out by hand or by linear algebra in numpy.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import distill_phase
from distill import DistillError, LossInputs, MagnitudeIF, Signal, compose
from distill.testing import check_term, registry_with
from distill_phase.distances import anti_wrapping, cosine
from distill_phase.views import ComplexSpectrogram

REPRESENTATION = MagnitudeIF(8000, 64, 16)
TERMS = ["phase", "group_delay", "consistency"]
COMPARING = [
    ("phase", "cosine"),
    ("phase", "anti_wrapping"),
    ("group_delay", "cosine"),
    ("group_delay", "anti_wrapping"),
]


@pytest.fixture(scope="module")
def registry():
    """Return the built-in terms and this plugin's."""
    return registry_with(distill_phase)


@pytest.fixture
def loss(registry):
    """Return the function that composes a term with options and calls it on two signals."""

    def compute(term, prediction, target, **options):
        composed = compose(
            term, {f"{term}.{name}": value for name, value in options.items()}, registry=registry
        )
        return composed(LossInputs(prediction=prediction, target=target))["total"]

    return compute


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_waveform(waveform, representation=REPRESENTATION):
    """Make a signal of a waveform."""
    return Signal.from_waveform(waveform, representation)


def of_spectrogram(spectrogram, representation=REPRESENTATION, **options):
    """Make a signal of a spectrogram."""
    return Signal.from_spectrogram(spectrogram, representation, **options)


@pytest.mark.parametrize("term", TERMS)
def test_every_term_passes_the_kit(registry, term):
    """Every term passes the checks of `distill.testing` that are not waived with a reason."""
    check_term(registry.choose(term)[0])


@given(st.floats(-20, 20), st.integers(-3, 3))
def test_distances_know_no_turns(error, turns):
    """Both are those of the error's angle on the circle, however often it is wound."""
    wound = torch.tensor(error + 2 * math.pi * turns, dtype=torch.float64)
    angle = abs(math.atan2(math.sin(error), math.cos(error)))
    assert anti_wrapping(wound).item() == pytest.approx(angle, abs=1e-9)
    assert cosine(wound).item() == pytest.approx(2 * math.sin(angle / 2) ** 2, abs=1e-9)


@pytest.mark.parametrize(
    ("distance", "slope"),
    [("cosine", 0), ("anti_wrapping", math.pi)],
)
@pytest.mark.parametrize("error", [1 - 1e-4, -1 + 1e-4])
def test_only_anti_wrapping_pulls_at_an_error_of_pi(loss, distance, slope, error):
    """There 1 - cos has no slope; anti-wrapping pulls as everywhere, by pi per unit of the IF."""
    target = REPRESENTATION(noise(2, 400))
    frequency = (target[:, 1] + error).requires_grad_()
    prediction = of_spectrogram(torch.stack([target[:, 0], frequency], dim=1))
    loss("phase", prediction, of_spectrogram(target), distance=distance).backward()
    # The weights of an example are those of a mean, and there are two examples.
    pull = frequency.grad.sum((-2, -1)) * 2
    assert pull.tolist() == pytest.approx([math.copysign(slope, error)] * 2, abs=2e-3)


@pytest.mark.parametrize(
    ("distance", "expected"), [("cosine", 1 - math.cos(0.25 * math.pi)), ("anti_wrapping", 0.25 * math.pi)]
)
def test_an_error_everywhere_costs_its_distance(loss, distance, expected):
    """Weights are those of a mean: an IF that is off by a quarter of pi costs the distance of that."""
    target = REPRESENTATION(noise(2, 400))
    prediction = target + torch.tensor([0, 0.25])[:, None, None]
    total = loss("phase", of_spectrogram(prediction), of_spectrogram(target), distance=distance)
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_an_advance_weighs_as_the_softer_of_its_frames(loss):
    """The weight of an error is as calculated by hand for one bin in the second of two frames."""
    representation = MagnitudeIF(8000, 4, 2)
    amplitude = torch.tensor([[[4.0, 1.0], [2.0, 6.0], [1.0, 0.5]]])
    target = torch.stack([representation.log_magnitude(amplitude), torch.zeros(1, 3, 2)], dim=1)
    prediction = target.clone()
    prediction[0, 1, 1, 1] = 0.5
    sides = (of_spectrogram(side, representation) for side in (prediction, target))
    # The first frame weighs 4 + 2 + 1, the second 1 + 2 + 0.5; the error of pi / 2 has the weight 2.
    expected = 2 / 10.5 * math.pi / 2
    assert loss("phase", *sides, distance="anti_wrapping").item() == pytest.approx(expected, rel=1e-5)


def test_what_is_barely_predicted_counts_in_proportion(loss):
    """At a hundredth of the target's amplitude a bin counts a tenth of a tenth, for two frames each."""
    target = REPRESENTATION(noise(1, 400))
    quiet = REPRESENTATION.log_magnitude(0.01 * REPRESENTATION.amplitude(target[:, 0]))
    prediction = torch.stack([quiet, target[:, 1] + 0.5], dim=1)
    total = loss("phase", of_spectrogram(prediction), of_spectrogram(target), distance="anti_wrapping")
    amplitude = REPRESENTATION.amplitude(target[:, 0])
    weights = torch.minimum(amplitude[..., 1:], amplitude[..., :-1]).sum().item()
    first = amplitude[..., 0].sum().item()
    expected = (0.01 * weights + 0.1 * first) / (weights + first) * math.pi / 2
    assert total.item() == pytest.approx(expected, rel=1e-3)


def impulse(at):
    """Make silence with one sample of 1: `[1, 192]`."""
    return torch.zeros(1, 192).index_fill(1, torch.tensor([at]), 1.0)


@pytest.mark.parametrize(
    ("distance", "formula"), [("anti_wrapping", abs), ("cosine", lambda x: 1 - math.cos(x))]
)
@pytest.mark.parametrize("delay", [-7, 4, 12])
def test_a_delay_costs_its_share_of_a_turn(loss, distance, formula, delay):
    """An impulse that comes `delay` samples late turns each bin by 2 pi delay / n_fft more than the last."""
    representation = MagnitudeIF(8000, 64, 32)
    sides = (of_waveform(impulse(at), representation) for at in (96 + delay, 96))
    # Only the frame around sample 96 holds the target's; it holds the delayed one clearly, too.
    expected = formula(2 * math.pi * delay / 64)
    total = loss("group_delay", *sides, distance=distance, accumulate=True)
    assert total.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("accumulate", "frames"), [(False, 1), (True, 5)])
def test_an_error_counts_where_it_is_made_or_from_there_on(loss, accumulate, frames):
    """An IF that is off turns its bin from both neighbours, in its frame or in all that follow, too."""
    representation = MagnitudeIF(8000, 8, 4)
    target = torch.stack([torch.full((1, 5, 8), 9.0), torch.zeros(1, 5, 8)], dim=1)
    prediction = target.clone()
    prediction[0, 1, 2, 3] = 0.25
    sides = (of_spectrogram(side, representation) for side in (prediction, target))
    total = loss("group_delay", *sides, accumulate=accumulate)
    # All turns weigh alike: of 4 x 8, two in each frame concerned are off by a quarter of pi.
    assert total.item() == pytest.approx(2 * frames / 32 * math.pi / 4, rel=1e-4)


@pytest.mark.parametrize(("accumulate", "share"), [(True, 5 / 8.5), (False, 2 / 5.5)])
def test_a_turn_weighs_as_the_softest_of_its_bins(loss, accumulate, share):
    """The weight of a turn is as calculated by hand for one bin in the first of two frames and three bins."""
    representation = MagnitudeIF(8000, 4, 2)
    amplitude = torch.tensor([[[4.0, 5.0], [2.0, 6.0], [1.0, 0.5]]])
    target = torch.stack([representation.log_magnitude(amplitude), torch.zeros(1, 3, 2)], dim=1)
    prediction = target.clone()
    prediction[0, 1, 0, 1] = 0.5
    sides = (of_spectrogram(side, representation) for side in (prediction, target))
    # The turns weigh 2 and 1 in the first frame; in the second, whose first turn is off, 5 and 0.5, of
    # which 2 and 0.5 are left if they go on from the frame before.
    total = loss("group_delay", *sides, accumulate=accumulate)
    assert total.item() == pytest.approx(share * math.pi / 2, rel=1e-4)


@pytest.mark.parametrize("accumulate", [False, True])
def test_the_phase_itself_has_no_group_delay(loss, accumulate):
    """Turning all phases of the first frame, and so of all, by one angle costs nothing."""
    target = REPRESENTATION(noise(2, 400))
    prediction = target.clone()
    prediction[:, 1, :, 0] += 0.3
    total = loss("group_delay", of_spectrogram(prediction), of_spectrogram(target), accumulate=accumulate)
    assert total.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", [of_spectrogram, of_waveform])
def test_the_complex_spectrogram_is_the_transform(kind):
    """Built of phases or not, it is the Fourier transform of zero-padded, Hann-windowed frames."""
    waveform = noise(2, 250)
    padded = np.pad(waveform.double().numpy(), ((0, 0), (32, 64)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    frames = [padded[:, t * 16 : t * 16 + 64] * window for t in range(REPRESENTATION.frames(250))]
    expected = torch.tensor(np.stack([np.fft.rfft(frame) for frame in frames], axis=-1) * 4 / 64)
    signal = kind(waveform if kind is of_waveform else REPRESENTATION(waveform))
    spectrum = signal.view(ComplexSpectrogram())
    assert torch.view_as_real(spectrum - expected).abs().max() < 1e-5


@pytest.mark.parametrize("more_frames", [0, 3])
@pytest.mark.parametrize("iterations", [0, 2])
def test_inconsistency_is_the_distance_from_the_nearest_sound(loss, more_frames, iterations):
    """The inconsistency of noise is the distance to the least-squares sound, over all its possible samples.

    Frames beyond the sound's end must be silent; Griffin-Lim iterations for other terms do not matter.
    """
    n_fft, hop, samples = 8, 2, 21
    representation = MagnitudeIF(8000, n_fft, hop)
    frames = representation.frames(samples) + more_frames
    generator = torch.Generator().manual_seed(0)
    spectrogram = torch.rand(1, 2, 5, frames, generator=generator) + torch.tensor([12.0, -0.5])[:, None, None]
    real = [0, n_fft // 2]
    spectrogram[:, 1, real] = 0  # bins that a real signal has no imaginary part in
    signal = of_spectrogram(spectrogram, representation, length=samples, iterations=iterations)
    spectrum = signal.view(ComplexSpectrogram())[0].numpy().astype(complex)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    rows = np.zeros((frames * n_fft, samples), complex)
    for t in range(frames):
        for n in range(n_fft):
            at = t * hop + n - n_fft // 2
            if 0 <= at < samples:
                rows[t * n_fft : (t + 1) * n_fft, at] = (
                    window[n] * np.exp(-2j * np.pi * np.arange(n_fft) * n / n_fft) * 4 / n_fft
                )
    whole = np.concatenate([spectrum, spectrum[-2:0:-1].conj()])  # both halves of each frame's bins
    sound, *_ = np.linalg.lstsq(
        np.concatenate([rows.real, rows.imag]), np.concatenate([whole.T.real.ravel(), whole.T.imag.ravel()])
    )
    nearest = (rows @ sound).reshape(frames, n_fft).T[:5]
    expected = (np.abs(spectrum - nearest) ** 2).sum() / (np.abs(spectrum) ** 2).sum()
    target = of_waveform(torch.zeros(1, samples), representation)
    assert 0.1 < expected < 1
    assert loss("consistency", signal, target).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("samples", [250, 256, 20])
@pytest.mark.parametrize("iterations", [0, 2])
def test_the_spectrogram_of_a_sound_is_consistent(loss, samples, iterations):
    """The term is 0 for the spectrogram of a sound of any length, with or without Griffin-Lim iterations."""
    waveform = noise(2, samples)
    prediction = of_spectrogram(REPRESENTATION(waveform), iterations=iterations)
    assert loss("consistency", prediction, of_waveform(waveform)) < 1e-9


@pytest.mark.parametrize("gain", [1e-3, 1, 10])
def test_descent_makes_a_spectrogram_consistent(loss, gain):
    """Steps along the gradient lower the inconsistency of one whose IFs are disturbed, loud or quiet."""
    target = of_waveform(noise(2, 400))
    spectrogram = REPRESENTATION(gain * noise(2, 400))
    spectrogram[:, 1] += noise(*spectrogram[:, 1].shape, seed=1)
    values = []
    for _ in range(20):
        spectrogram.requires_grad_()
        total = loss("consistency", of_spectrogram(spectrogram), target)
        (pull,) = torch.autograd.grad(total, spectrogram)
        spectrogram = (spectrogram - 0.02 * pull / pull.abs().max()).detach()
        values.append(total.item())
    assert values[0] > 0.1
    assert values[-1] < 0.7 * values[0]


def test_magnitudes_are_not_pulled_to_consistency(loss):
    """The consistency term gives no gradient to magnitudes, as a loud tone would hide the inconsistency."""
    spectrogram = noise(1, 2, 33, 20).abs().requires_grad_()
    loss("consistency", of_spectrogram(spectrogram), of_waveform(noise(1, 304))).backward()
    assert (spectrogram.grad[:, 0] == 0).all()
    assert spectrogram.grad[:, 1].abs().sum() > 0


def test_the_target_has_no_part_in_consistency(loss):
    """The value depends on the prediction only."""
    prediction = noise(1, 2, 33, 20).abs()
    first, second = (
        loss("consistency", of_spectrogram(prediction), of_waveform(noise(1, 304, seed=seed)))
        for seed in (1, 2)
    )
    assert first == second


@pytest.mark.parametrize("term", TERMS)
def test_whole_turns_cost_nothing(loss, term):
    """IFs that are off by 2, a whole turn, are the same IFs."""
    target = REPRESENTATION(noise(2, 400))
    prediction = REPRESENTATION(noise(2, 400, seed=1))
    turns = torch.randint(-2, 3, prediction[:, 1].shape, generator=torch.Generator().manual_seed(0))
    turned = torch.stack([prediction[:, 0], prediction[:, 1] + 2 * turns], dim=1)
    values = [
        loss(term, of_spectrogram(side), of_spectrogram(target)).item() for side in (prediction, turned)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", [of_spectrogram, of_waveform])
@pytest.mark.parametrize(("term", "distance"), [*COMPARING, ("consistency", None)])
@pytest.mark.parametrize("silent", ["prediction", "target", "both"])
def test_silence_has_a_finite_gradient(loss, kind, term, distance, silent):
    """Neither value nor gradient breaks where there is no phase; a silent target costs nothing."""
    waveforms = [
        torch.zeros(2, 400) if silent in (side, "both") else noise(2, 400, seed=seed)
        for seed, side in enumerate(["prediction", "target"])
    ]
    source = (waveforms[0] if kind is of_waveform else REPRESENTATION(waveforms[0])).requires_grad_()
    options = {"distance": distance} if distance else {}
    total = loss(term, kind(source), of_waveform(waveforms[1]), **options)
    total.backward()
    assert total.isfinite()
    assert source.grad.isfinite().all()
    if silent != "prediction" and term != "consistency":
        assert total == 0


@pytest.mark.parametrize(("term", "distance"), COMPARING)
def test_the_gradient_is_bounded_however_quiet_the_prediction(loss, term, distance):
    """That of an angle grows as 1 / amplitude; this one does so for 20 dB, and no further."""
    target = of_waveform(noise(2, 400))

    def steepest(gain):
        waveform = (gain * noise(2, 400, seed=1)).requires_grad_()
        loss(term, of_waveform(waveform), target, distance=distance).backward()
        return waveform.grad.abs().max().item()

    usual = steepest(1.0)
    assert usual > 0
    for gain in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9):
        assert steepest(gain) < 20 * usual


@pytest.mark.parametrize("term", TERMS)
def test_a_loud_example_does_not_drown_a_quiet_one(loss, term):
    """The value of two clips is the mean of theirs, though one is 40 dB louder."""
    gains = torch.tensor([[1.0], [0.01]])
    target, prediction = gains * noise(2, 400), REPRESENTATION(gains * noise(2, 400, seed=1))
    prediction[:, 1] += noise(*prediction[:, 1].shape, seed=2)

    def value(examples):
        return loss(term, of_spectrogram(prediction[examples]), of_waveform(target[examples])).item()

    assert value([0, 1]) == pytest.approx((value([0]) + value([1])) / 2, rel=1e-4)


@pytest.mark.parametrize(("term", "distance"), COMPARING)
def test_descent_brings_phases_nearer(loss, term, distance):
    """Steps along the gradient lower the distance of phases that are not too far off."""
    target = REPRESENTATION(noise(2, 400))
    frequency = target[:, 1] + noise(*target[:, 1].shape, seed=1)
    values = []
    for _ in range(10):
        frequency.requires_grad_()
        prediction = of_spectrogram(torch.stack([target[:, 0], frequency], dim=1))
        total = loss(term, prediction, of_spectrogram(target), distance=distance)
        (pull,) = torch.autograd.grad(total, frequency)
        frequency = (frequency - 0.01 * pull / pull.abs().max()).detach()
        values.append(total.item())
    assert values[-1] < 0.9 * values[0]


def test_an_unknown_distance_is_refused(registry):
    """An unknown distance is refused, and the message lists the known ones."""
    with pytest.raises(DistillError) as caught:
        compose("phase", {"phase.distance": "cosin"}, registry=registry)
    assert str(caught.value) == (
        'loss.phase.distance: expected one of "cosine", "anti_wrapping", got "cosin"; '
        "did you mean 'cosine'?"
    )
