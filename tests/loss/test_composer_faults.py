"""Tests of distill.loss.composer: a term that fails is named, and where it failed is shown."""

import sys

import pytest
import torch
from torch import nn

from distill import TermConfig, TermSpec
from distill.errors import TermError
from distill.loss.composer import compose
from distill.testing import loss_inputs
from distill.views import LogMagnitude, Waveform


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
        (lambda _: torch.ones(2) @ torch.ones(3), "RuntimeError: inconsistent tensor size"),
    ],
)
def test_a_term_that_raises_is_named_with_the_place(fault, shown):
    """Whatever it raises, an exit included."""
    said = message(fault)
    assert said.startswith(f"faulty (tests): the term raised {shown}")
    assert "tests/loss/test_composer_faults.py:" in said
    assert said.endswith("\nSee what breaks it: distill losses check faulty")


def test_ctrl_c_and_a_full_memory_keep_their_type():
    """Those who catch them do not look for the fault of a term."""
    for error in (KeyboardInterrupt(), torch.OutOfMemoryError("no memory")):
        spec = TermSpec(
            name="faulty", config=TermConfig, summary="", build=lambda _, error=error: raising_module(error)
        )
        with pytest.raises(type(error)):
            compose(["recon", spec])(loss_inputs())


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
    """Also where autograd would not notice, and the other terms would compute something else in silence."""
    assert message(fault, monitored=monitored) == (
        f"faulty (tests): the term writes in place to {written}, which other "
        "terms and the gradient use\nChange a copy: x = x * 2 instead of x *= 2, or x.clone() first."
    )
