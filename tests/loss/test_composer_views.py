"""Tests of distill.loss.composer: terms share the views of a step, and each is computed once."""

import pytest
import torch
from attrs import frozen

from distill.loss.composing import compose
from distill.views import LogMagnitude, Stft, StftMagnitude, View, Waveform


def test_a_view_is_computed_once_per_side(make_step, composed):
    """Two terms that ask for equal views share one."""
    computed = []

    @frozen
    class Counting(View):
        def compute(self, signal):
            computed.append(signal)
            return signal.view(LogMagnitude()).square()

    def term(inputs):
        prediction, target = inputs.view(Counting())
        return (prediction - target).abs().mean()

    composed(term, term)(make_step().inputs)["total"].backward()
    assert len(computed) == 2


@pytest.fixture
def transforms(monkeypatch):
    """Return the list of the FFT sizes that are transformed from now on."""
    sizes = []

    def counting(frames):
        sizes.append(frames.shape[-1])
        return rfft(frames)

    rfft = torch.fft.rfft
    monkeypatch.setattr("torch.fft.rfft", counting)
    return sizes


def size_of(view):
    """Make a term: the mean size of the prediction in a view."""
    return lambda inputs: inputs.view(view)[0].abs().mean()


@pytest.mark.parametrize("weight", [1, 0])
@pytest.mark.parametrize("view", [Stft(n_fft=32, hop=8), StftMagnitude(n_fft=32, hop=8)])
@pytest.mark.parametrize("first", ["waveform", "custom"])
def test_two_terms_on_one_stft_compute_it_once(
    transforms, first, view, weight, make_step, composed, small_waveform
):
    """`waveform` and a third party's term share either side's transform, and the inverse, in any order."""
    step = make_step()
    loss = composed(size_of(view), built_in=["waveform"], options=small_waveform | {"a.weight": weight})
    if first == "custom":
        loss.origins = dict(reversed(loss.origins.items()))
    transforms.clear()
    loss(step.inputs)["total"].backward()
    assert transforms.count(32) == 2
    assert step.representation.backs == 1


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_magnitude_and_its_stft_are_one_transform(transforms, first, make_step, composed):
    """Terms of third parties share it as well, whichever of the two is asked for first."""
    step = make_step()
    loss = composed(size_of(Stft(n_fft=32, hop=8)), size_of(StftMagnitude(n_fft=32, hop=8)))
    if first == "b":
        loss.origins = dict(reversed(loss.origins.items()))
    transforms.clear()
    loss(step.inputs)["total"].backward()
    assert transforms.count(32) == 2


def test_waveform_is_the_same_shared_or_not(make_step, composed, small_waveform):
    """`waveform` has the same value from the samples as from magnitudes that another term shares."""
    alone, shared = make_step(), make_step()
    other = size_of(StftMagnitude(n_fft=32, hop=8))
    expected = compose("waveform", small_waveform)(alone.inputs)
    actual = composed(other, built_in=["waveform"], options=small_waveform).differentiable(shared.inputs)
    torch.testing.assert_close(actual["waveform"], expected["waveform"], rtol=1e-6, atol=0)
    expected["total"].backward()
    actual["waveform"].backward()
    error = (shared.prediction.grad - alone.prediction.grad).norm()
    assert error <= 1e-5 * alone.prediction.grad.norm()


def test_waveform_makes_no_views_that_nobody_shares(monkeypatch, make_step, small_waveform):
    """`waveform` computes no magnitudes beside terms on other things, wherever it stands in the list."""

    def refuse(*_):
        pytest.fail("magnitudes were computed")

    monkeypatch.setattr(StftMagnitude, "compute", refuse)
    for terms in ("waveform", "waveform,recon,kl", "recon,waveform"):
        assert compose(terms, small_waveform)(make_step().inputs)["waveform"] > 0


def test_a_term_may_look_at_other_things_in_every_step(transforms, make_step, composed, small_waveform):
    """`waveform` can share in one step the views that it leaves out in another."""
    views = [Waveform(), Stft(n_fft=32, hop=8), Waveform(), StftMagnitude(n_fft=64, hop=16, win_length=50)]
    steps = iter(views)

    def restless(inputs):
        return size_of(next(steps))(inputs)

    loss = composed(restless, built_in=["waveform"], options=small_waveform)
    values = []
    for _ in views:
        step = make_step()
        transforms.clear()
        values.append(loss(step.inputs)["waveform"].item())
        assert [transforms.count(size) for size in (32, 64)] == [2, 2]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)


def test_what_no_term_asks_for_is_not_computed(make_step, small_stft, small_waveform):
    """The loss computes an inverse or a transform only where a term asks for it."""
    step = make_step()
    compose("stft,recon,kl", small_stft)(step.inputs)["total"].backward()
    assert (step.representation.forths, step.representation.backs) == (1, 0)
    step = make_step()
    compose("waveform", small_waveform)(step.inputs)["total"].backward()
    assert (step.representation.forths, step.representation.backs) == (0, 1)
    step = make_step()
    compose("kl")(step.inputs)
    assert (step.representation.forths, step.representation.backs) == (0, 0)


def test_the_memo_dies_with_the_step(make_step, numbers, small_stft):
    """A second call, after the prediction has changed in place, computes the loss and its gradient anew."""
    step = make_step()
    loss = compose("stft,recon", small_stft)
    first = loss(step.inputs)
    first["total"].backward()
    with torch.no_grad():
        step.prediction[:, 0] *= 0.5
    second = loss(step.inputs)
    second["total"].backward()
    assert second["stft"] != first["stft"]
    assert numbers(second) == numbers(loss(step.inputs))


def test_a_predicted_waveform_is_cut_to_the_length_of_the_target(make_step, composed):
    """160 samples are in 11 frames; beside a target of 150, the loss sees 150 of either."""
    shapes = []

    def term(inputs):
        shapes.extend(list(side.shape) for side in inputs.view(Waveform()))
        return torch.tensor(0.0, requires_grad=True)

    composed(term)(make_step(samples=150).inputs)
    assert shapes == [[2, 150], [2, 150]]
