"""Tests of distill.model.arguments: what is returned; refusals are tested with the methods, too."""

import numpy as np
import pytest
import torch

from distill.errors import InputError, ShapeError
from distill.model.arguments import device_like, latents_like, seconds_like, temperature_like, waveform_like
from distill.model.sounds import Encoded


def test_a_device_is_one_of_torch():
    """A device is given by its name or as it is."""
    assert device_like("cpu") == device_like(torch.device("cpu")) == torch.device("cpu")


def test_a_waveform_has_a_dimension_of_channels():
    """An array or a tensor, in single or double precision, gets a dimension of channels."""
    for waveform in (np.zeros(7), torch.zeros(7), torch.zeros(1, 7, dtype=torch.float64)):
        checked = waveform_like(waveform)
        assert (checked.shape, checked.dtype) == ((1, 7), torch.float32)


def test_latents_keep_their_coherence():
    """Latents keep their coherence, and those given as a tensor have none."""
    latents = torch.zeros(2, 3, 4)
    coherence = torch.ones(2, 2, 5)
    for given, expected in ((latents, None), (Encoded(latents, coherence), coherence)):
        found = latents_like(given, 3)
        assert found[0] is latents
        assert found[1] is expected
    with pytest.raises(ShapeError) as caught:
        latents_like(latents, 5)
    remedy = "Pass what `encode` of this model returns, or an entry of its `latents`."
    assert str(caught.value) == f"latents must have the shape [C, 5, T']: got [2, 3, 4]\n{remedy}"


@pytest.mark.parametrize(("check", "name", "bounds"), [
    (temperature_like, "temperature", (0, 100)), (seconds_like, "seconds", (0.05, 600)),
])  # fmt: skip
def test_numbers_are_within_bounds(check, name, bounds):
    """A number equal to a bound is accepted, and one beyond it is an error."""
    assert tuple(map(check, bounds)) == bounds
    for value in (bounds[0] - 0.01, bounds[1] + 1.0):
        with pytest.raises(InputError) as caught:
            check(value)
        assert str(caught.value).startswith(
            f"{name}: expected a number within {bounds[0]}..{bounds[1]}, got {value!r}\n"
        )
