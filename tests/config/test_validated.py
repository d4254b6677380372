"""Invalid values of public classes are errors of Distill, and of Python's kinds, too."""

import pickle

import pytest
import torch
from attrs import evolve, field, frozen, validators

from distill import BalancerSpec, DistillError, LossInputs, Posterior, Signal, TermConfig, TermSpec
from distill.config.settings import RepresentationSettings
from distill.spectral.representation import MagnitudeIF


@frozen(kw_only=True)
class Author(TermConfig):
    """The options of an author's term, with a validator of attrs."""

    bands: int = field(default=8, validator=validators.ge(1))


def waveforms(**options):
    """Return inputs of a loss of silence."""
    signal = Signal.from_waveform(torch.zeros(1, 100), MagnitudeIF())
    return LossInputs(prediction=signal, target=signal, **options)


@pytest.mark.parametrize(
    ("make", "kind", "problem"),
    [
        (lambda: MagnitudeIF(hop=1025), ValueError, "hop must be within 1..n_fft / 2 = 1024"),
        (lambda: RepresentationSettings(n_fft=8), ValueError, "'n_fft' must be >= 16: 8"),
        (lambda: Author(bands=0), ValueError, "'bands' must be >= 1: 0"),
        (lambda: Author(bands="x"), TypeError, "'>=' not supported"),
        (lambda: Author(band=3), TypeError, ""),
        (lambda: evolve(Author(), weight=-1), ValueError, "'weight' must be >= 0: -1"),
        (lambda: TermConfig(schedule=((2, 1),)), ValueError, "'schedule' must have progress values"),
        (lambda: TermSpec(name="A", config=Author, build="a:b", summary=""), ValueError, "'name' must be"),
        (lambda: TermSpec(name="a", config=int, build="a:b", summary=""), TypeError, "'config' of 'a' must"),
        (lambda: BalancerSpec(name="a", config=int, build="a:b", summary=""), TypeError, "'config' of 'a'"),
        (
            lambda: Posterior(mu=torch.zeros(1, 2), logvar=torch.zeros(1, 2), layout="X"),
            ValueError,
            "'layout' must be in",
        ),
        (
            lambda: LossInputs(prediction=3, target=4),
            DistillError,
            "prediction must be a Signal: got a int",
        ),
        (lambda: waveforms(progress=float("nan")), ValueError, "'progress' must be within 0..1: nan"),
    ],
)
def test_invalid_values(make, kind, problem):
    """An invalid value is caught as a `DistillError` and as what attrs raises, with the same message."""
    with pytest.raises(DistillError) as caught:
        make()
    assert isinstance(caught.value, kind)
    assert problem in str(caught.value)


def test_valid_ones_are_as_before():
    """Instances with valid values can be pickled, compared and evolved."""
    config = Author(bands=3)
    assert pickle.loads(pickle.dumps(config)) == evolve(Author(), bands=3)  # noqa: S301  # our own
    assert config != Author()
