"""The composition root: the parts of a run made from its recipe, and loaded from its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from distill.checkpoints import load_latest, load_state, save_state
from distill.config import structure
from distill.corpus import Corpus, open_corpus, write_demo_corpus
from distill.errors import ConfigError, RunError
from distill.model import VAE
from distill.representation import MagnitudeIF
from distill.run import Run
from distill.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.sounds import encode

_CACHE = ".distill"


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Choose the device and the precision, within a process group where torchrun started one.

    Raises:
        ConfigError: the device that is asked for is not there.
    """
    there = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[settings.device]:
        names = ", ".join(name for name, usable in there.items() if usable)
        raise ConfigError(
            f"training.device: this machine has no {settings.device!r}; expected one of {names}"
        )
    on_cpu = settings.device == "cpu" or not (there["cuda"] or there["mps"])
    reduced = settings.precision == "bfloat16" or (
        settings.precision == "auto" and there["cuda"] and not on_cpu
    )
    return Accelerator(cpu=on_cpu, mixed_precision="bf16" if reduced else "no")


def make_representation(settings: RepresentationSettings) -> MagnitudeIF:
    """Make the representation of a recipe."""
    return MagnitudeIF(settings.sample_rate, settings.n_fft, settings.hop, settings.floor)


def make_model(settings: ModelSettings, representation: MagnitudeIF, seed: int) -> VAE:
    """Make the model of a recipe, its weights drawn with a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(settings, representation)


def open_recipe_corpus(
    settings: CorpusSettings,
    sample_rate: int,
    runs: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Open the corpus of a recipe, or the demo corpus, with its cache in the folder `runs`.

    Raises:
        CorpusError: it is not there, or holds no audio that can be used.
    """
    cache = runs / _CACHE
    folder = write_demo_corpus(cache / "demo") if settings.path is None else Path(settings.path)
    return open_corpus(
        folder,
        sample_rate=sample_rate,
        cache=cache,
        heldout_fraction=settings.heldout_fraction,
        on_progress=on_progress,
    )


def load_model(run: Run) -> tuple[VAE, MagnitudeIF]:
    """Load the model of a run, finished or not, and its representation. Its loss terms are not needed.

    Raises:
        RunError: the folder is not a run, or holds no model yet, or a damaged one.
        ConfigError: its recipe does not fit.
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


def save_latents(run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus) -> None:
    """Keep the latents of the training recordings in the run, for new sounds to be made of."""
    limit = 60 * corpus.sample_rate
    bank = {
        recording.name: encode(vae, representation, corpus.train.read(recording)[:, :limit])
        for recording in corpus.train.recordings
    }
    save_state(run.latents, {"latents": bank})


def load_latents(run: Run) -> list[Tensor]:
    """Load what `save_latents` kept.

    Raises:
        RunError: the training has not come to its end yet.
    """
    if not run.latents.exists():
        raise RunError(
            "holds no latents to make sounds of",
            culprit=str(run.folder),
            remedy="They are written at the end of the training: go on with --resume.",
        )
    return list(load_state(run.latents)["latents"].values())
