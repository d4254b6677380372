"""Tests of distill.views: what each view is, what is computed, and how often."""

import math
from itertools import pairwise

import pytest
import torch
from attrs import field, frozen

from distill.config import structure
from distill.errors import ConfigError, InputError, ShapeError, TermError
from distill.spectral.representation import MagnitudeIF
from distill.views import (
    FlatMagnitude,
    FlatMagnitudeStft,
    InstantaneousFrequency,
    LogMagnitude,
    LossInputs,
    Magnitude,
    Posterior,
    Signal,
    Spectrogram,
    Stft,
    StftMagnitude,
    View,
    Waveform,
)

REPRESENTATION = MagnitudeIF(8000, 64, 16)
LONG_STFT = Stft(n_fft=64, hop=8)
EVERY_VIEW = [
    Spectrogram(),
    LogMagnitude(),
    Magnitude(),
    InstantaneousFrequency(),
    Waveform(),
    FlatMagnitude(),
    Stft(n_fft=32, hop=8),
    StftMagnitude(n_fft=32, hop=8, win_length=20),
    FlatMagnitudeStft(n_fft=32, hop=8),
]


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(prediction, target, **others):
    """Make loss inputs of a predicted spectrogram and a target waveform."""
    return LossInputs(
        prediction=Signal.from_spectrogram(prediction, REPRESENTATION),
        target=Signal.from_waveform(target, REPRESENTATION),
        **others,
    )


def test_what_each_view_is():
    """Each view (channels, amplitude, flattened magnitude, transforms) follows its definition."""
    waveform = noise(2, 400)
    spectrogram = REPRESENTATION(waveform)
    signal = Signal.from_waveform(waveform, REPRESENTATION)
    magnitude, frequency = spectrogram.unbind(1)
    flat = magnitude.reshape(2, -1)

    def stft(signal, win_length=32):
        return torch.stft(signal, 32, 8, win_length, torch.hann_window(win_length), return_complex=True)

    expected = [
        spectrogram,
        magnitude,
        1e-6 * (magnitude.exp() - 1),
        frequency,
        waveform,
        flat,
        stft(waveform),
        stft(waveform, 20).abs().clamp(min=1e-4),
        stft(flat).abs().clamp(min=1e-4),
    ]
    for view, value in zip(EVERY_VIEW, expected, strict=True):
        torch.testing.assert_close(signal.view(view), value, rtol=1e-4, atol=1e-5)


def test_a_waveform_is_made_with_griffin_lim_iterations():
    """The signal has the number of Griffin-Lim iterations of the inverse, by default none."""
    spectrogram = REPRESENTATION(noise(1, 400)) + noise(1, 2, 33, 26, seed=1).abs()
    signals = [Signal.from_spectrogram(spectrogram, REPRESENTATION, iterations=count) for count in (0, 3)]
    plain, iterated = (signal.view(Waveform()) for signal in signals)
    torch.testing.assert_close(plain, REPRESENTATION.inverse(spectrogram))
    torch.testing.assert_close(iterated, REPRESENTATION.inverse(spectrogram, iterations=3))
    assert not torch.allclose(plain, iterated, atol=1e-3)
    torch.testing.assert_close(Signal.from_spectrogram(spectrogram, REPRESENTATION).view(Waveform()), plain)


@pytest.mark.parametrize("view", EVERY_VIEW, ids=repr)
def test_the_first_examples_look_as_they_do_among_all(view):
    """A view of the first two is the first two of that view, on both sides; the posterior goes along."""
    posterior = Posterior(mu=noise(3, 5), logvar=noise(3, 5, seed=1))
    inputs = inputs_of(REPRESENTATION(noise(3, 400)), noise(3, 400, seed=2), posterior=posterior).renewed()
    first = inputs.first(2)
    assert (inputs.batch_size, first.batch_size) == (3, 2)
    for some, all_of_them in zip(first.view(view), inputs.view(view), strict=True):
        torch.testing.assert_close(some, all_of_them[:2])
    assert torch.equal(first.posterior.mu, posterior.mu[:2])
    assert torch.equal(first.posterior.logvar, posterior.logvar[:2])


def test_the_first_examples_share_what_is_computed():
    """Terms that ask for as many get the same views, made of the whole waveform where there is one."""
    inputs = inputs_of(REPRESENTATION(noise(3, 400)), noise(3, 400, seed=1)).renewed()
    assert inputs.first(3) is inputs.first(8) is inputs
    assert inputs.first(2).prediction is inputs.first(2).prediction
    assert inputs.first(2).target is inputs.first(2).target
    whole, _ = inputs.view(Waveform())
    part, _ = inputs.first(1).view(Waveform())
    assert part.data_ptr() == whole.data_ptr()


def test_the_first_of_sides_that_differ_in_examples_are_refused():
    """One prediction beside three targets is a mistake, even where one of each is looked at."""
    inputs = inputs_of(REPRESENTATION(noise(1, 400)), noise(3, 400, seed=1))
    with pytest.raises(ShapeError) as caught:
        inputs.first(1)
    assert str(caught.value) == "LossInputs: prediction and target differ in examples: 1 and 3"


def test_silence_falls_to_the_floor_of_auraloss():
    """An STFT magnitude is at least 1e-4."""
    signal = Signal.from_waveform(torch.zeros(1, 100), REPRESENTATION)
    for view in (StftMagnitude(n_fft=32, hop=8), FlatMagnitudeStft(n_fft=32, hop=8)):
        assert signal.view(view).unique().tolist() == pytest.approx([1e-4])


@pytest.mark.parametrize("view", EVERY_VIEW, ids=repr)
@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)]
)
def test_views_are_float32_or_float64(view, dtype, expected):
    """Views are float32 or float64 of any source, and half precision is computed in float32."""
    waveform = noise(1, 160)
    for signal in (
        Signal.from_waveform(waveform.to(dtype), REPRESENTATION),
        Signal.from_spectrogram(REPRESENTATION(waveform).to(dtype), REPRESENTATION),
    ):
        assert signal.view(view).dtype in (expected, expected.to_complex())


@pytest.mark.parametrize("view", EVERY_VIEW, ids=repr)
def test_views_are_differentiable(view):
    """Gradients reach the source of a view, a waveform or a spectrogram."""
    waveform = noise(1, 160).requires_grad_()
    spectrogram = REPRESENTATION(noise(1, 160)).requires_grad_()
    Signal.from_waveform(waveform, REPRESENTATION).view(view).abs().sum().backward()
    Signal.from_spectrogram(spectrogram, REPRESENTATION).view(view).abs().sum().backward()
    for source in (waveform, spectrogram):
        assert source.grad.isfinite().all()
        assert source.grad.abs().sum() > 0


def test_views_are_equal_by_value():
    """Equal options are one key, an unset window being n_fft; kinds, sizes and windows tell keys apart."""
    assert Stft(n_fft=32, hop=8) == Stft(n_fft=32, hop=8, win_length=32)
    assert hash(Stft(n_fft=32, hop=8)) == hash(Stft(n_fft=32, hop=8, win_length=32))
    assert len({*EVERY_VIEW, *[type(view)() for view in EVERY_VIEW[:6]]}) == len(EVERY_VIEW)
    different = [Stft(n_fft=32, hop=8), Stft(n_fft=32, hop=8, win_length=31), Stft(n_fft=32, hop=9)]
    different += [StftMagnitude(n_fft=32, hop=9), FlatMagnitudeStft(n_fft=32, hop=9)]
    assert all(one != other for one, other in pairwise(different))


def test_a_signal_knows_what_was_viewed():
    """A signal lists the views that it has made, those computed on the way among them."""
    signal = Signal.from_waveform(noise(1, 400), REPRESENTATION)
    assert signal.viewed == ()
    signal.view(Stft(n_fft=32, hop=8))
    assert set(signal.viewed) == {Waveform(), Stft(n_fft=32, hop=8)}


def test_a_view_is_computed_once():
    """The first who asks has it computed; the next gets the same tensor."""
    computed = []

    @frozen
    class Counting(View):
        power: int = field(default=1)

        def compute(self, signal):
            computed.append(self.power)
            return signal.view(Waveform()) ** self.power

    signal = Signal.from_waveform(noise(1, 10), REPRESENTATION)
    assert signal.view(Counting()) is signal.view(Counting())
    signal.view(Counting(2))
    assert computed == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": 1}, "stft.n_fft: must be >= 2, got 1"),
        ({"hop": 0}, "stft.hop: must be >= 1, got 0"),
        ({"win_length": 0}, "stft.win_length: must be >= 1, got 0"),
        ({"win_length": 33}, "stft.win_length: must be at most n_fft 32, got 33"),
    ],
)
def test_the_sizes_of_a_transform_are_checked(options, message):
    """The message gives the path of the option whose size is wrong."""
    with pytest.raises(ConfigError) as caught:
        structure({"n_fft": 32, "hop": 8} | options, Stft, at="stft")
    assert message in caught.value.problems


def test_the_window_of_an_option_follows_its_fft_size():
    """A recipe that sets n_fft alone gets a window of that size."""

    @frozen(kw_only=True)
    class Options:
        stft: Stft = field(default=LONG_STFT)

    assert structure({"stft": {"n_fft": 32}}, Options).stft == Stft(n_fft=32, hop=8, win_length=32)


def test_a_signal_of_a_waveform_keeps_its_spectrogram():
    """A spectrogram given with the waveform is not computed again."""
    spectrogram = torch.ones(1, 2, 33, 5)
    signal = Signal.from_waveform(noise(1, 64), REPRESENTATION, spectrogram=spectrogram)
    assert signal.view(Spectrogram()) is spectrogram
    assert signal.length == 64


def test_the_length_of_a_signal():
    """The length is that of the waveform, or what the frames hold, or less if so given."""
    spectrogram = REPRESENTATION(noise(1, 50))
    assert Signal.from_spectrogram(spectrogram, REPRESENTATION).length == 64
    signal = Signal.from_spectrogram(spectrogram, REPRESENTATION, length=50)
    assert signal.view(Waveform()).shape == (1, 50)


@pytest.mark.parametrize("shape", [(2, 33, 5), (1, 1, 33, 5), (1, 2, 32, 5)])
def test_a_spectrogram_of_another_representation_is_refused(shape):
    """The error shows the shape that the representation has."""
    with pytest.raises(ShapeError) as caught:
        Signal.from_spectrogram(torch.zeros(shape), REPRESENTATION)
    assert str(caught.value) == (
        f"a spectrogram must have the shape [B, 2, 33, T] of its representation: got {list(shape)}"
    )


def test_what_is_not_a_waveform_is_refused():
    """Channels are not averaged silently: a waveform of another shape is an error."""
    with pytest.raises(ShapeError) as caught:
        Signal.from_waveform(torch.zeros(1, 2, 5), REPRESENTATION)
    assert str(caught.value) == "a waveform must have the shape [B, N]: got [1, 2, 5]"


def test_the_target_has_no_gradient():
    """The target has no gradient, even where its source asks for one; the prediction has."""
    prediction = REPRESENTATION(noise(1, 160)).requires_grad_()
    target = noise(1, 160, seed=1).requires_grad_()
    sides = inputs_of(prediction, target).view(LogMagnitude())
    assert [side.requires_grad for side in sides] == [True, False]
    renewed = inputs_of(prediction, target).renewed()
    assert not renewed.target.view(Magnitude()).requires_grad
    given = Signal.from_waveform(target, REPRESENTATION, spectrogram=prediction).detached()
    assert not given.view(Spectrogram()).requires_grad


def test_sides_that_differ_in_shape_are_refused():
    """The error names the view and both shapes, the prediction first."""
    inputs = inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 80))
    with pytest.raises(ShapeError) as caught:
        inputs.view(LogMagnitude())
    assert str(caught.value) == (
        "LogMagnitude(): prediction and target differ in shape: [1, 33, 11] and [1, 33, 6]"
    )


def test_renewed_inputs_have_no_views_and_one_length():
    """The memo dies, and a predicted spectrogram stands for as many samples as the target has."""
    prediction = REPRESENTATION(noise(1, 150))
    inputs = inputs_of(prediction, noise(1, 150, seed=1), progress=0.5)
    before = inputs.prediction.view(LogMagnitude())
    renewed = inputs.renewed()
    assert renewed.prediction.view(LogMagnitude()) is not before
    assert [side.shape for side in renewed.view(Waveform())] == [(1, 150), (1, 150)]
    assert renewed.progress == 0.5
    assert inputs.prediction.length == 160


@pytest.mark.filterwarnings("ignore:LossInputs.unshared is deprecated:DeprecationWarning")
def test_what_no_other_term_looks_at():
    """Only the last term can tell that a view is unshared, and only if neither side holds it."""
    spectrogram, waveform = REPRESENTATION(noise(1, 160)), noise(1, 160, seed=1)
    views = Stft(n_fft=32, hop=8), StftMagnitude(n_fft=32, hop=8)
    assert not inputs_of(spectrogram, waveform).unshared(*views)
    inputs = inputs_of(spectrogram, waveform, last=True)
    assert inputs.unshared(*views)
    inputs.target.view(views[1])
    assert not inputs.unshared(*views)
    assert not inputs.unshared(views[1])
    assert inputs.unshared(views[0])


def test_a_prepared_view_is_made_when_it_is_asked_for():
    """A prepared view is made once, and is held only after it is asked for."""
    made = []
    signal = Signal.from_waveform(noise(1, 10), REPRESENTATION)
    signal.prepare(LONG_STFT, lambda: made.append(1) or torch.ones(1))
    assert not signal.holds(LONG_STFT)
    assert made == []
    assert signal.view(LONG_STFT) is signal.view(LONG_STFT)
    assert signal.holds(LONG_STFT)
    assert made == [1]


def test_a_predicted_waveform_keeps_its_length():
    """It is not cut to fit a target: a difference is an error."""
    inputs = LossInputs(
        prediction=Signal.from_waveform(noise(1, 90), REPRESENTATION),
        target=Signal.from_waveform(noise(1, 80), REPRESENTATION),
    ).renewed()
    with pytest.raises(ShapeError) as caught:
        inputs.view(Waveform())
    assert inputs.prediction.length == 90
    assert str(caught.value) == "Waveform(): prediction and target differ in shape: [1, 90] and [1, 80]"


def test_a_missing_posterior_is_named():
    """A term that needs a posterior raises an error with the remedy."""
    inputs = inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160))
    with pytest.raises(TermError) as caught:
        _ = inputs.posterior
    assert str(caught.value) == (
        "LossInputs: a chosen term needs the posterior and the inputs have none\n"
        "Pass posterior=Posterior(mu, logvar), or leave the term out."
    )


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float16, torch.float32), (torch.float64, torch.float64)]
)
def test_the_posterior_is_float32_or_float64(dtype, expected):
    """An exponential of half precision would overflow at 11; float64 stays what it is."""
    posterior = Posterior(mu=torch.zeros(1, 3, dtype=dtype), logvar=torch.full((1, 3), 12.0, dtype=dtype))
    assert posterior.mu.dtype == posterior.logvar.dtype == expected
    assert posterior.logvar.exp().mean().item() == pytest.approx(math.exp(12))


@pytest.mark.parametrize(("mu", "logvar"), [((2, 3), (1, 3)), ((3,), (3,)), ((1, 2, 3, 4), (1, 2, 3, 4))])
def test_the_shapes_of_a_posterior_are_checked(mu, logvar):
    """Mean and log-variance share `[B, D]` or `[B, D, T']`."""
    with pytest.raises(ShapeError) as caught:
        Posterior(mu=torch.zeros(mu), logvar=torch.zeros(logvar))
    assert str(caught.value) == (
        f"mu and logvar must share the shape [B, D] or [B, D, T']: got {list(mu)} and {list(logvar)}"
    )


@pytest.mark.parametrize("progress", [-0.1, 1.1])
def test_progress_lies_within_0_and_1(progress):
    """It is a share of the training, not a step."""
    with pytest.raises(ValueError, match="'progress' must be"):
        inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), progress=progress)


def test_the_device_is_that_of_the_target():
    """The inputs are on the device of the target, whichever source it has."""
    on_meta = torch.zeros(1, 64, device="meta")
    assert inputs_of(torch.zeros(1, 2, 33, 5), on_meta).device.type == "meta"
    sides = (
        Signal.from_spectrogram(torch.zeros(1, 2, 33, 5, device=d), REPRESENTATION) for d in ("cpu", "meta")
    )
    assert LossInputs(**dict(zip(("prediction", "target"), sides, strict=True))).device.type == "meta"


def test_extras_are_found_by_name():
    """Extras of any type come back as passed, from renewed inputs and from their first examples too."""
    extras = {"names": ["a", "b"], "draw": noise(1, 3)}
    inputs = inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), extras=extras)
    for made in (inputs, inputs.renewed(), inputs.first(1)):
        assert made.extra("names") is extras["names"]
        assert made.extra("draw") is extras["draw"]


def test_extras_of_detached_inputs_have_no_gradient():
    """Tensors in dicts, lists and tuples are detached too, and other values stay what they are."""
    tensor, other = noise(3).requires_grad_(), object()
    extras = {"a": tensor, "b": [tensor, {"c": (tensor, 1)}], "d": other}
    inputs = inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), extras=extras).detached()
    (first, inner), deep = inputs.extra("b"), inputs.extra("b")[1]["c"]
    assert not any(each.requires_grad for each in (inputs.extra("a"), first, deep[0]))
    assert (list(inner), deep[1]) == (["c"], 1)
    assert inputs.extra("d") is other


@pytest.mark.parametrize(
    ("extras", "there"),
    [
        ({}, "none"),
        ({"names": 1, "draw": 2}, "only 'names', 'draw'"),
        ({"conditions": 1}, "only 'conditions'; did you mean 'conditions'?"),
    ],
)
def test_a_missing_extra_is_named(extras, there):
    """The message names the missing extra and those there are, and says how to pass it."""
    inputs = inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), extras=extras)
    with pytest.raises(TermError) as caught:
        inputs.extra("condition")
    assert str(caught.value) == (
        f"the term needs the extra 'condition', and the inputs have {there}\n"
        "Pass LossInputs(..., extras={'condition': ...}), or leave the term out."
    )


@pytest.mark.parametrize("extras", [[1], {1: 2}, None])
def test_extras_have_names(extras):
    """Extras that are no mapping of names to values are refused."""
    with pytest.raises(InputError) as caught:
        inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), extras=extras)
    assert str(caught.value) == f"LossInputs: extras must be a mapping of names to values: got {extras!r}"
