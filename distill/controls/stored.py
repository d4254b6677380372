"""Storing of the axes of a run in its folder, so that they are measured once.

Shapes: `D` numbers per latent frame, `Q` bands, `A` axes.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from attrs import fields
from torch import Tensor

from distill.audio.progress import Progress
from distill.controls.axes import Axes, Axis, measure_axes
from distill.controls.descriptors import DESCRIPTORS
from distill.controls.directions import MOST_AXES, Directions
from distill.errors import RunError
from distill.model.sounds import Encoded
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run

_FORM = 4
"""Changes with the meaning of the file, so that axes which were measured otherwise are measured again."""

_LARGEST = 1000.0
_MOST_BYTES = 2**24
_LONGEST = 500


def checksum_of(vae: VAE, bank: Mapping[str, Encoded]) -> str:
    """Return the checksum of a model and of the latents of its recordings: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in vae.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    for name, entry in bank.items():
        digest.update(name.encode())
        digest.update(_bytes(entry.latents))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def axes_of(
    run: Run | None,
    vae: VAE,
    representation: MagnitudeIF,
    bank: Mapping[str, Encoded],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Axes:
    """Return the axes stored in a run folder, or measure and store them if there are none of this model.

    A stored file that is damaged or holds something else is replaced. If nothing can be written to the
    folder, the axes are only returned. `on_progress` is called while they are measured.
    """
    checksum = checksum_of(vae, bank)
    if run is not None:
        with suppress(RunError, ValueError):
            return _from_state(load_state(run.axes, most=_MOST_BYTES), checksum, vae)
    axes = measure_axes(vae, representation, [*bank.values()], on_progress)
    if run is not None:
        with suppress(RunError):  # a folder that may not be written to
            save_state(run.axes, _to_state(axes, checksum))
    return axes


def stored_axes(run: Run) -> dict[str, str]:
    """Return the names and descriptions of the axes stored in a run folder, whichever model they are of.

    There are none if the axes have not been measured, or the file is damaged.
    """
    with suppress(RunError, ValueError, KeyError, TypeError):
        found = load_state(run.axes, most=_MOST_BYTES)["axes"]
        return {str(axis["name"]): str(axis["description"]) for axis in found}
    return {}


def _to_state(axes: Axes, checksum: str) -> dict[str, object]:
    directions = axes.directions
    return {
        "form": _FORM,
        "checksum": checksum,
        "principal": directions.principal,
        "shares": directions.shares,
        "tilt": directions.tilt,
        "noisy": directions.noisy,
        "axes": [
            {
                "name": axis.name,
                "unit": axis.unit,
                "effect": axis.effect,
                "correlation": axis.correlation,
                "description": axis.description,
                "lowest": axis.lowest,
                "highest": axis.highest,
            }
            for axis in axes.axes
        ],
    }


def _from_state(state: Mapping[str, object], checksum: str, vae: VAE) -> Axes:
    """Return the axes of a stored state, after checking it.

    Raises:
        ValueError: it is of another model, or something else.
    """
    if state.get("form") != _FORM or state.get("checksum") != checksum:
        raise ValueError("measured on another model")
    size, bands = 1 + vae.code.size, vae.bands
    principal = state.get("principal")
    count = len(principal) if isinstance(principal, Tensor) and principal.ndim == 2 else -1
    if not 0 <= count <= MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes")
    directions = Directions(
        principal=_tensor(principal, (count, size)),
        shares=_tensor(state.get("shares"), (count,)),
        tilt=None if state.get("tilt") is None else _tensor(state.get("tilt"), (bands,)),
        noisy=None if state.get("noisy") is None else _tensor(state.get("noisy"), (size,)),
    )
    listed = state.get("axes")
    if not isinstance(listed, list) or not listed:
        raise ValueError("expected axes")
    axes = tuple(_axis(each) for each in listed)
    names = [axis.name for axis in axes]
    known = {*DESCRIPTORS, *(f"axis {number}" for number in range(1, count + 1))}
    if len({*names}) < len(names) or not {*names} <= known:
        raise ValueError("expected each axis of the model once")
    return Axes(axes=axes, directions=directions)


def _axis(state: object) -> Axis:
    if not isinstance(state, dict) or {*state} != {each.name for each in fields(Axis)}:
        raise ValueError("expected an axis")
    texts = [state.get(key) for key in ("name", "unit", "description")]
    numbers = [state.get(key) for key in ("effect", "correlation", "lowest", "highest")]
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        raise ValueError("expected texts")
    if not all(
        isinstance(number, float) and math.isfinite(number) and abs(number) <= _LARGEST for number in numbers
    ):
        raise ValueError("expected finite numbers")
    axis = Axis(**state)
    if not axis.lowest <= 0 <= axis.highest:
        raise ValueError("expected a range around 0")
    return axis


def _tensor(value: object, shape: tuple[int, ...]) -> Tensor:
    if (
        not isinstance(value, Tensor)
        or tuple(value.shape) != shape
        or value.dtype != torch.float32
        or not bool((value.abs() <= _LARGEST).all())
    ):
        raise ValueError(f"expected finite float32 values of the shape {list(shape)}")
    return value
