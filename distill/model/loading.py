"""Loading and saving of a run's model and of the latents of its training recordings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.config import structure
from distill.errors import RunError
from distill.model.building import make_model, make_representation
from distill.model.sounds import Encoded
from distill.model.vae import VAE
from distill.settings import ModelSettings, RepresentationSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_latest, load_state, save_state
from distill.storage.run import Run


def load_model(run: Run) -> tuple[VAE, MagnitudeIF]:
    """Load the model of a run, whether finished or not, and its representation.

    The run's loss terms need not be installed.

    Raises:
        RunError: the folder is not a run, holds no model yet, or holds a damaged one.
        ConfigError: the run's recipe is not valid.
    """
    tree = run.read_recipe()
    representation = make_representation(
        structure(tree.get("representation", {}), RepresentationSettings, at="representation")
    )
    settings = structure(tree.get("model", {}), ModelSettings, at="model")
    vae = make_model(settings, representation, seed=0)
    state: dict[str, Any]
    if run.model.exists():
        state = load_state(run.model)
    else:
        checkpoint = load_latest(run.checkpoints)
        if checkpoint is None:
            raise RunError(
                "holds no trained model yet",
                culprit=str(run.folder),
                remedy="Train it on with --resume; a model is saved every few minutes and at the end.",
            )
        state = checkpoint.state["model"]
    try:
        vae.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"does not hold the model that its recipe describes: {str(error).splitlines()[-1].strip()}",
            culprit=str(run.folder),
            remedy="Restore recipe.toml as the training wrote it.",
        ) from error
    return vae.eval(), representation


def save_latents(run: Run, bank: Mapping[str, Encoded]) -> None:
    """Save the latents of recordings, by name, for `load_latents`.

    Raises:
        RunError: the file cannot be written.
    """
    save_state(run.latents, {"latents": {name: _to_state(entry) for name, entry in bank.items()}})


def load_latents(run: Run, representation: MagnitudeIF) -> dict[str, Encoded]:
    """Load the latents of a run's training recordings, by name.

    Older runs hold the latents of a single channel.

    Raises:
        RunError: the training run is not finished.
    """
    if not run.latents.exists():
        raise RunError(
            "holds no latents to make sounds of",
            culprit=str(run.folder),
            remedy="They are written at the end of the training: go on with --resume.",
        )
    try:
        entries = load_state(run.latents)["latents"]
        return {name: _from_state(entry, representation.bins) for name, entry in entries.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            "does not hold the latents of recordings",
            culprit=str(run.latents),
            remedy="Restore it from a copy, or train again.",
        ) from error


def _to_state(entry: Encoded) -> Tensor | dict[str, Tensor]:
    """Return the saved form of an entry. For one channel it is the latents `[D, T']`, as in older runs."""
    if len(entry.latents) == 1:
        return entry.latents[0]
    return {"latents": entry.latents, "coherence": torch.view_as_real(entry.coherence)}


def _from_state(state: Tensor | dict[str, Tensor], bins: int) -> Encoded:
    """Return the entry of a saved form."""
    if isinstance(state, Tensor):
        return Encoded.mono(state, bins)
    return Encoded(state["latents"], torch.view_as_complex(state["coherence"]))
