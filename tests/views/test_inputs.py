"""Tests of distill.views.inputs: both sides of a step, their posterior, progress and extras."""

import pytest
import torch
from view_inputs import EVERY_VIEW, REPRESENTATION, inputs_of, noise

from distill.errors import InputError, ShapeError, TermError
from distill.views import (
    LogMagnitude,
    LossInputs,
    Magnitude,
    Posterior,
    Signal,
    Spectrogram,
    Stft,
    StftMagnitude,
    Waveform,
)


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
        "the term needs the posterior, and the inputs have none\n"
        "Leave the term out, or, in Python, pass posterior=Posterior(mu=mu, logvar=logvar)."
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
        "Leave the term out, or, in Python, pass LossInputs(..., extras={'condition': ...})."
    )


@pytest.mark.parametrize("extras", [[1], {1: 2}, None])
def test_extras_have_names(extras):
    """Extras that are no mapping of names to values are refused."""
    with pytest.raises(InputError) as caught:
        inputs_of(REPRESENTATION(noise(1, 160)), noise(1, 160), extras=extras)
    assert str(caught.value) == f"LossInputs: extras must be a mapping of names to values: got {extras!r}"
