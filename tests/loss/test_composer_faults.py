"""Tests of distill.loss.composer: a term that fails is named, and where it failed is shown."""

import io
import os
import sys
from pathlib import Path

import pytest
import torch
from attrs import evolve, frozen
from torch import nn

from distill import TermConfig, TermSpec
from distill.errors import TermError
from distill.loss.composing import compose
from distill.testing import loss_inputs
from distill.views import LogMagnitude, LossInputs, Waveform


def message(fault, *, monitored=False):
    """Return the whole message with which a loss refuses a term that does `fault` with its inputs."""

    class Faulty(nn.Module):
        def __init__(self, _):
            super().__init__()

        def forward(self, inputs):
            value = (inputs.view(LogMagnitude())[0] - inputs.view(LogMagnitude())[1]).abs().mean()
            fault(inputs)
            return value

    spec = TermSpec(name="faulty", config=TermConfig, build=Faulty, summary="")
    loss = compose(["recon", spec, "stft"], {"faulty.weight": 0.0} if monitored else {})
    with pytest.raises(TermError) as caught:
        loss(loss_inputs())
    return str(caught.value)


def raising(error):
    """Return a fault that raises an error."""

    def fault(_):
        raise error

    return fault


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (raising(ValueError("no bands")), "ValueError: no bands"),
        (raising(OSError("no table")), "OSError: no table"),
        (raising(AssertionError()), "AssertionError"),
        (lambda _: sys.exit(0), "SystemExit: 0"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (lambda _: torch.ones(2) @ torch.ones(3), "RuntimeError: inconsistent tensor size"),
    ],
)
def test_a_term_that_raises_is_named_with_the_place(fault, shown):
    """The message names the term and the place, whatever is raised, an exit included."""
    said = message(fault)
    assert said.startswith(f"faulty (tests): the term raised {shown}")
    assert "tests/loss/test_composer_faults.py:" in said
    assert said.endswith("\nSee what breaks it: distill losses check faulty")


def test_ctrl_c_and_a_full_memory_keep_their_type():
    """KeyboardInterrupt and OutOfMemoryError pass through unchanged, not blamed on a term."""
    for error in (KeyboardInterrupt(), torch.OutOfMemoryError("no memory")):
        spec = TermSpec(
            name="faulty", config=TermConfig, summary="", build=lambda _, error=error: raising_module(error)
        )
        with pytest.raises(type(error)):
            compose(["recon", spec])(loss_inputs())


def test_what_a_term_changes_of_the_process_disturbs_no_other(tmp_path, monkeypatch):
    """Working folder, standard output and torch's default dtype are restored after each call of a term."""
    monkeypatch.chdir(tmp_path)
    output = sys.stdout

    def change(_):
        os.chdir("/")
        sys.stdout = io.StringIO()
        sys.stdout.close()
        torch.set_default_dtype(torch.float64)

    def seen(_):
        assert (Path.cwd(), sys.stdout, torch.get_default_dtype()) == (tmp_path, output, torch.float32)

    specs = [
        TermSpec(name=name, config=TermConfig, summary="", build=lambda _, does=does: doing_module(does))
        for name, does in (("changing", change), ("seeing", seen))
    ]
    try:
        compose(specs)(loss_inputs())
        seen(None)
    finally:
        torch.set_default_dtype(torch.float32)


def doing_module(does):
    """Return a term that does something with its inputs."""
    module = nn.Module()
    module.forward = lambda inputs: inputs.view(LogMagnitude())[0].mean() if does(inputs) is None else None
    return module


def raising_module(error):
    """Return a module that raises an error when it is called."""
    module = nn.Module()
    module.forward = raising(error)
    return module


def write_shared_view(inputs):
    """Halve a view that another term has computed."""
    with torch.no_grad():
        inputs.view(LogMagnitude())[1].mul_(0.5)


def write_own_view(inputs):
    """Halve a view that nothing else has computed yet."""
    with torch.no_grad():
        inputs.view(Waveform())[0].mul_(0.5)


@pytest.mark.parametrize("monitored", [False, True])
@pytest.mark.parametrize(
    ("fault", "written"),
    [
        (write_shared_view, "the view Spectrogram()"),  # of which it is a part
        (write_own_view, "the view Waveform()"),
        (lambda inputs: inputs.target.sources[0].zero_(), "its target"),
    ],
)
def test_a_term_that_writes_in_place_is_named(fault, written, monitored):
    """A term that writes in place is an error, also where autograd does not notice."""
    assert message(fault, monitored=monitored) == (
        f"faulty (tests): the term writes in place to {written}, which other "
        "terms and the gradient use\nChange a copy: x = x * 2 instead of x *= 2, or x.clone() first."
    )


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (torch.zeros(2), "a torch.float32 tensor of shape [2]"),
        (torch.zeros(1), "a torch.float32 tensor of shape [1]"),
        (torch.tensor(1), "a torch.int64 tensor of shape []"),
        (torch.tensor(1j), "a torch.complex64 tensor of shape []"),
        (3, "3"),
        (0.5, "0.5"),
        (None, "None"),
        ({}, "{}"),
        (
            {"fine": torch.tensor(1.0, requires_grad=True), "x": torch.zeros(2)},
            "a torch.float32 tensor of shape [2] as part 'x'",
        ),
        ({"x": None}, "None as part 'x'"),
    ],
)
def test_a_term_that_returns_no_loss_is_named(returned, shown, make_step, composed):
    """The message names the term, its distribution, what it returned, what is expected, and a remedy."""
    with pytest.raises(TermError) as caught:
        composed(lambda _: returned)(make_step().inputs)
    assert str(caught.value) == (
        f"a (my-loop 1): the term returned {shown}; expected a scalar float tensor or a dict of them\n"
        "Reduce the loss to one number, with .mean() for example."
    )


def test_no_part_is_called_as_the_whole_is(make_step, composed):
    """A part named `total` could be taken for the loss."""
    with pytest.raises(TermError) as caught:
        composed(lambda _: {"total": torch.tensor(1.0, requires_grad=True)})(make_step().inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term returned a part called 'total', which is the name of the whole loss\n"
        "Call the part something else, or leave it out: a term is the sum of its parts."
    )


@pytest.mark.parametrize("part", ["", "a\nb", "\udc80", 3])
def test_a_part_has_a_name_that_can_be_printed(make_step, composed, part):
    """Names of parts are shown in tables and written to files, which took some for a fault of Distill."""
    with pytest.raises(TermError) as caught:
        composed(lambda _: {part: torch.tensor(1.0, requires_grad=True)})(make_step().inputs)
    assert str(caught.value) == (
        f"a (my-loop 1): the term returned a part named {part!r}; expected text that can be printed\n"
        "Name each part with a word, such as 'magnitude'."
    )


def test_a_missing_posterior_is_an_error_only_for_who_asks(make_step):
    """`recon` does without; `kl` says what is missing."""
    step = make_step()
    inputs = LossInputs(prediction=step.inputs.prediction, target=step.inputs.target)
    assert compose("recon")(inputs)["total"].isfinite()
    with pytest.raises(TermError, match=r"^kl \(distill .*\): the term needs the posterior"):
        compose("kl")(inputs)


def test_an_extra_is_given_to_the_term_that_asks(make_step, composed):
    """A term gets the extra that it asks for; if it is missing, the message names the term."""
    loss = composed(lambda inputs: (inputs.view(LogMagnitude())[0] * inputs.extra("mask")).mean())
    step = make_step()
    masked = evolve(step.inputs, extras={"mask": torch.zeros(())})
    assert loss(masked)["a"].item() == 0
    with pytest.raises(TermError) as caught:
        loss(step.inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term needs the extra 'mask', and the inputs have none\n"
        "Leave the term out, or, in Python, pass LossInputs(..., extras={'mask': ...})."
    )


def test_a_term_without_a_gradient_is_an_error(make_step, composed):
    """A detached term is an error, and one message names the distribution, the term and a remedy."""
    with pytest.raises(TermError) as caught:
        composed(lambda inputs: inputs.view(LogMagnitude())[0].mean().detach())(make_step().inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term has no gradient: its result is detached from the prediction\n"
        "Compute it from inputs.view(...) without detach(), item() or no_grad(), or monitor it with a weight "
        "of 0: loss.a.weight = 0"
    )


def test_a_term_without_a_gradient_may_monitor(make_step, composed):
    """A detached term is accepted with weight 0, without gradients, or of a detached prediction."""
    detached = composed(
        lambda inputs: inputs.view(LogMagnitude())[0].mean().detach(), options={"a.weight": 0.0}
    )
    assert detached(make_step().inputs)["total"].item() == 0
    loss, step = composed(lambda inputs: inputs.view(LogMagnitude())[0].mean().detach()), make_step()
    with torch.no_grad():
        assert loss(step.inputs)["total"].item() != 0
    assert loss(step.inputs.detached())["total"].item() != 0


def test_a_weight_that_cannot_be_computed_names_the_term():
    """An error in the config of a term, which computes its weight, names the term and the place."""

    @frozen(kw_only=True)
    class Config(TermConfig):
        def weight_at(self, _):
            raise OverflowError("no weight")

    spec = TermSpec(name="faulty", config=Config, build=lambda _: nn.Identity(), summary="")
    with pytest.raises(TermError) as caught:
        compose(spec)(loss_inputs())
    problem, remedy = str(caught.value).split("\n")
    assert problem.startswith("faulty (tests): the term raised OverflowError: no weight (")
    assert "test_composer_faults.py:" in problem
    assert remedy == "See what breaks it: distill losses check faulty"
