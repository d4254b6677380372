"""Loading and saving of a run's model and of the latents of its training recordings."""

import math
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, cast

import attrs
import torch
from torch import Tensor

from distill.config import structure, unstructure
from distill.config.settings import CorpusSettings, ModelSettings, RepresentationSettings
from distill.errors import RunError, TrainingError, shortened
from distill.model.building import make_model, make_representation
from distill.model.memory import Sizes
from distill.model.sounds import Encoded
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import (
    Which,
    load_checkpoint,
    load_latest,
    load_state,
    options_in,
    save_state,
)
from distill.storage.ending import ending_of
from distill.storage.run import Run

_MOST_CHANNELS = 64
_LONGEST_SECONDS = 600
_LARGEST = 1000
"""Bounds of the recordings whose latents a run may hold, and of these, whose variance is about 1."""

_FIXED = "representation.", "model.", "corpus.full_scale"
"""What the addresses of options begin with that a model and what it is measured on depend on."""

_SPARE = 2**20
"""The bytes of a file besides its tensors: their names, and the structure of the state."""


def load_model(run: Run, checkpoint: Which | None = None) -> tuple[VAE, MagnitudeIF]:
    """Load the model of a run, whether finished or not, or of one of its checkpoints; and its representation.

    The run's loss terms need not be installed.

    Raises:
        RunError: the folder is not a run, holds no model yet or not that checkpoint, or holds a damaged one.
        ConfigError: the run's recipe is not valid.
    """
    tree = run.read_recipe()
    with run.naming_recipe():
        transform = structure(tree.get("representation", {}), RepresentationSettings, at="representation")
        settings = structure(tree.get("model", {}), ModelSettings, at="model")
        corpus = structure(tree.get("corpus", {}), CorpusSettings, at="corpus")
    sizes = Sizes(settings, transform)
    sizes.require_sounds()
    state: object
    saved: Mapping[str, Any] | None = None
    if checkpoint is not None:
        saved = load_checkpoint(run.checkpoints, checkpoint).state
    elif run.model.exists():
        state = load_state(run.model, most=_SPARE + 2 * sizes.bytes)
        options: object = options_in(run.model)
    else:
        _require_unfinished(run)
        latest = load_latest(run.checkpoints)
        if latest is None:
            raise RunError(
                "holds no trained model yet",
                culprit=str(run.folder),
                remedy="Train it on with --resume; a model is saved every few minutes and at the end.",
            )
        saved = latest.state
    if saved is not None:
        made = saved.get("made_with")
        state, options = saved.get("model"), made.get("recipe") if isinstance(made, dict) else None
    _require_options(options, {"representation": transform, "model": settings, "corpus": corpus}, run)
    weights = require_weights(state, sizes.weights, run)
    representation = make_representation(transform)
    vae = make_model(settings, representation, seed=0)
    vae.load_state_dict(weights)
    return vae.eval(), representation


def _require_unfinished(run: Run) -> None:
    """Check that a run without `model.safetensors` has not ended: its checkpoints are not calibrated.

    Raises:
        RunError: it has ended, so that the file was there.
    """
    if ending_of(run).state == "finished":
        raise RunError(
            "is missing, although the training run has finished",
            culprit=str(run.model),
            remedy="Restore it from a copy, let `distill train --resume` write it again, or choose a "
            "checkpoint, which is not calibrated.",
        )


def save_model(run: Run, vae: VAE, options: Mapping[str, Any]) -> None:
    """Save a model with those of the `options`, by address, that `load_model` compares with the recipe.

    Raises:
        RunError: the file cannot be written.
        TrainingError: a weight is not finite. Nothing is written.
    """
    weights = vae.state_dict()
    require_finite(weights, run.model)
    save_state(run.model, weights, {path: options[path] for path in options if path.startswith(_FIXED)})


def require_finite(values: Mapping[str, Tensor], path: Path) -> None:
    """Check values by name before they are saved as a result of a training run.

    Raises:
        TrainingError: some are NaN or infinite.
    """
    bad = [name for name, value in values.items() if not value.isfinite().all()]
    if bad:
        raise TrainingError(
            f"would hold values that are not finite, and was not written: {shortened(bad)}",
            culprit=str(path),
            remedy="What was saved before is still there. To finish the run with an earlier checkpoint: "
            f"distill train --resume --out {quote(str(path.parent))} --from best",
        )


def _require_options(recorded: object, sections: Mapping[str, Any], run: Run) -> None:
    """Check that the recipe describes the model that was saved. Older files do not say which.

    Raises:
        RunError: it does not, since recipe.toml was changed.
    """
    if not isinstance(recorded, dict):
        return
    changed = []
    for section, value in sections.items():
        plain = unstructure(value)
        for name in attrs.fields_dict(type(value)):
            path, now = f"{section}.{name}", plain.get(name)
            if path.startswith(_FIXED) and path in recorded and recorded[path] != now:
                changed.append(f"{path} is {now!r}, and was {recorded[path]!r}")
    if changed:
        raise RunError(
            f"is not the recipe that the model was trained with: {'; '.join(changed)}",
            culprit=str(run.recipe),
            remedy="Restore the file as the training wrote it.",
        )


def require_weights(state: object, model: Mapping[str, Tensor], run: Run) -> dict[str, Tensor]:
    """Return the weights of a model, after checking that they have the names and shapes of those of `model`.

    Raises:
        RunError: they are another model's, or something else.
    """
    problem = ""
    if not isinstance(state, dict):
        problem = f"expected weights by name, got a {type(state).__name__}"
    else:
        for name in sorted({*model, *map(str, state)}):
            wanted, there = model.get(name), state.get(name)
            if wanted is None or there is None:
                problem = f"{name} is {'not part of it' if wanted is None else 'missing'}"
            elif not isinstance(there, Tensor) or there.is_floating_point() != wanted.is_floating_point():
                problem = f"{name} has values of another kind"
            elif there.shape != wanted.shape:
                problem = f"{name} has the shape {list(there.shape)}, not {list(wanted.shape)}"
            if problem:
                break
    if problem:
        raise RunError(
            f"does not hold the model that its recipe describes: {problem}",
            culprit=str(run.folder),
            remedy="Restore recipe.toml as the training wrote it.",
        )
    return cast("dict[str, Tensor]", state)


def save_latents(run: Run, bank: Mapping[str, Encoded]) -> None:
    """Save the latents of recordings, by name, for `load_latents`.

    Raises:
        RunError: the file cannot be written.
        TrainingError: a latent is not finite. Nothing is written.
    """
    require_finite({name: entry.latents for name, entry in bank.items()}, run.latents)
    save_state(run.latents, {"latents": {name: _to_state(entry) for name, entry in bank.items()}})


def load_latents(run: Run, representation: MagnitudeIF, vae: VAE) -> dict[str, Encoded]:
    """Load the latents of a run's training recordings, by name.

    Older runs hold the latents of a single channel.

    Raises:
        RunError: the training run is not finished, or the file holds something else.
    """
    if not run.latents.exists():
        raise RunError(
            "holds no latents to make sounds of",
            culprit=str(run.folder),
            remedy="They are written at the end of the training: go on with --resume.",
        )
    try:
        entries = _dict_of(load_state(run.latents).get("latents"))
        return {str(name): _from_state(entry, vae, representation) for name, entry in entries.items()}
    except ValueError as error:
        raise RunError(
            f"does not hold the latents of recordings: {error}",
            culprit=str(run.latents),
            remedy="Restore it from a copy, or train again.",
        ) from error


def _to_state(entry: Encoded) -> dict[str, object]:
    """Return the saved form of an entry."""
    coherence = {} if len(entry.latents) == 1 else {"coherence": torch.view_as_real(entry.coherence)}
    return {"latents": entry.latents, **coherence, "samples": entry.samples}


def _from_state(state: object, vae: VAE, representation: MagnitudeIF) -> Encoded:
    """Return the entry of a saved form, after checking it. Older runs hold latents `[D, T']`, and no samples.

    Raises:
        ValueError: it is something else, or belongs to another model.
    """
    bins, size = representation.bins, vae.latent_size
    most = math.ceil(_LONGEST_SECONDS * representation.sample_rate / representation.hop / vae.stride)
    if isinstance(state, Tensor):
        return Encoded.mono(_checked(state, (size, None), most), bins)
    parts = _dict_of(state)
    latents = _checked(parts.get("latents"), (None, size, None), most)
    channels, samples = len(latents), parts.get("samples")
    if channels > _MOST_CHANNELS:
        raise ValueError(f"expected at most {_MOST_CHANNELS} channels, got {channels}")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise ValueError(f"expected a number of samples from 1 on, got {samples!r:.50}")
    if channels == 1 and "coherence" not in parts:
        return Encoded.mono(latents[0], bins, samples)
    coherence = _checked(parts.get("coherence"), (channels, channels, bins, 2), most)
    return Encoded(latents, torch.view_as_complex(coherence), samples)


def _checked(value: object, shape: tuple[int | None, ...], most: int) -> Tensor:
    """Return a tensor of finite float32 values and a shape, in which None is a length from 1 to `most`."""
    if not isinstance(value, Tensor):
        raise ValueError(f"expected a tensor, got a {type(value).__name__}")  # noqa: TRY004  # of a file
    fits = len(value.shape) == len(shape) and all(
        there >= 1 if wanted is None else there == wanted
        for there, wanted in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"expected the shape [{wanted}], got {list(value.shape)}")
    if shape[-1] is None and value.shape[-1] > most:
        raise ValueError(f"expected at most {most} latent frames, got {value.shape[-1]}")
    if value.dtype != torch.float32 or not value.abs().amax() <= _LARGEST:
        raise ValueError(f"expected values within -{_LARGEST}..{_LARGEST}, in float32")
    return value


def _dict_of(value: object) -> dict[object, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected values by name, got a {type(value).__name__}")  # noqa: TRY004  # of a file
    if not value:
        raise ValueError("expected values by name, got none")
    return value
