"""Tests of what is read from auraloss's source, against auraloss imported."""

import inspect
import subprocess
import sys

import auraloss
import pytest
import torch

from distill_auraloss.signatures import loss_classes

IMPORTED = {
    name: value
    for module in (auraloss.freq, auraloss.time, auraloss.perceptual)
    for name, value in vars(module).items()
    if inspect.isclass(value) and issubclass(value, torch.nn.Module) and name.endswith("Loss")
}


def test_every_loss_class_is_found():
    """What the source declares is what the imported modules hold, and where."""
    found = {name: loss.module for name, loss in loss_classes().items()}
    assert found == {name: value.__module__ for name, value in IMPORTED.items()}
    assert len(found) == 14


@pytest.mark.parametrize("name", IMPORTED)
def test_parameters_and_defaults_are_those_of_the_signature(name):
    """Parameters and defaults are those that `inspect` finds, apart from keywords that are passed on."""
    signature = inspect.signature(IMPORTED[name]).parameters.values()
    own = {p.name: p.default for p in signature if p.kind is not inspect.Parameter.VAR_KEYWORD}
    read = loss_classes()[name].parameters
    assert list(read)[: len(own)] == list(own)
    given = {name: default for name, default in own.items() if default is not inspect.Parameter.empty}
    assert {name: read[name] for name in given} == given


@pytest.mark.parametrize(
    ("name", "passed_on"),
    [
        ("MelSTFTLoss", "perceptual_weighting scale_invariance eps output reduction mag_distance device"),
        ("MultiResolutionSTFTLoss", "eps output reduction mag_distance device"),
        ("RandomResolutionSTFTLoss", ""),
    ],
)
def test_keywords_are_those_of_the_class_they_are_passed_on_to(name, passed_on):
    """What `**kwargs` accept is a parameter, and what is passed on by position is not."""
    own = inspect.signature(IMPORTED[name]).parameters
    assert [p for p in loss_classes()[name].parameters if p not in own] == passed_on.split()


def test_a_parameter_without_default_has_that_of_the_class_it_is_passed_on_to():
    """The stereo loss takes the resolutions of the multi-resolution loss, which has some."""
    read, default = loss_classes(), inspect.signature(auraloss.freq.MultiResolutionSTFTLoss).parameters
    for name in ("fft_sizes", "hop_sizes", "win_lengths"):
        assert read["SumAndDifferenceSTFTLoss"].parameters[name] == default[name].default


def test_listing_the_terms_loads_no_torch():
    """Whoever only lists terms does not wait for torch, nor for auraloss."""
    code = (
        "import sys, distill_auraloss; list(distill_auraloss.distill_loss_terms()); "
        "print({'torch', 'auraloss'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    assert run.stdout == "set()\n"
