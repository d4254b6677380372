"""The composition root: the parts of a run made from its recipe, and loaded from its folder."""

import atexit
import gc
import hashlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from distill.audio.corpus import Corpus, is_sharded, open_corpus, open_shards, write_demo_corpus
from distill.config import structure
from distill.errors import ConfigError, RunError
from distill.evaluation.baselines import Statistics, components_per_frame, measure_recordings
from distill.loss.composer import CombinedLoss
from distill.model import VAE
from distill.model.sounds import Encoded, encode
from distill.recipe import Draft
from distill.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_latest, load_state, save_state
from distill.storage.run import Run
from distill.training.batches import begin, calibrate
from distill.training.retention import Retention, interpolate, retain

_CACHE = ".distill"
_LATENT_SECONDS = 60


def _cpu_has_bfloat16() -> bool:
    """Tell whether the CPU multiplies matrices of bfloat16; others only store it, and are slower in it."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has none
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Choose the device and the precision, within a process group where torchrun started one.

    Raises:
        ConfigError: the device that is asked for is not there, or the processes cannot share a step evenly.
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
        settings.precision == "auto" and (_cpu_has_bfloat16() if on_cpu else there["cuda"])
    )
    if "LOCAL_RANK" in os.environ:  # what tells an accelerator of a process group
        # Distributed modules load it, and if the group exists by then, it keeps that for ever.
        importlib.import_module("torch._dynamo")
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="bf16" if reduced else "no")
    if accelerator.num_processes > 1:
        atexit.register(_end_process_group, accelerator.state)
    # The mean of the processes' means is the mean over the step's clips where their shares are equal.
    if settings.batch_size % accelerator.num_processes:
        raise ConfigError(
            "training.batch_size: must be a multiple of the number of processes, "
            f"{accelerator.num_processes}, got {settings.batch_size}"
        )
    return accelerator


def _end_process_group(state: AcceleratorState) -> None:
    """End the threads of the process group while Python lives.

    One that still lets go of a tensor while the interpreter ends aborts the process, though it is done:
    pytorch issue 190489.
    """
    state.destroy_process_group()
    gc.collect()  # what was prepared by the accelerator holds the group, too


def make_representation(settings: RepresentationSettings) -> MagnitudeIF:
    """Make the representation of a recipe."""
    return MagnitudeIF(settings.sample_rate, settings.n_fft, settings.hop, settings.floor)


def make_model(settings: ModelSettings, representation: MagnitudeIF, seed: int) -> VAE:
    """Make the model of a recipe, its weights drawn with a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(settings, representation)


def make_loss(draft: Draft, seed: int) -> CombinedLoss:
    """Make the loss of a recipe, parameters that its terms own drawn with a seed.

    Raises:
        TermError: a term or the balancer cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        balancer = None
        if draft.balancer is not None:
            config = draft.recipe.balancing[draft.balancer.name]
            balancer = draft.balancer.build(config, tuple(term.name for term in draft.terms))
        return CombinedLoss(draft.terms, draft.recipe.loss, balancer=balancer)


def open_recipe_corpus(
    settings: CorpusSettings,
    sample_rate: int,
    runs: Path,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    seed: int = 0,
    process: int = 0,
    processes: int = 1,
) -> Corpus:
    """Open the corpus of a recipe, or the demo corpus, with its cache in the folder `runs`.

    A sharded one is streamed: `seed` orders the shards, which `processes` deal out among them.

    Raises:
        CorpusError: it is not there, or holds no audio that can be used.
    """
    if settings.path is not None and is_sharded(settings.path):
        return open_shards(
            settings.path.rstrip("/"),
            sample_rate=sample_rate,
            pool_shards=settings.pool_shards,
            seed=seed,
            process=process,
            processes=processes,
        )
    folder = write_demo_corpus(runs / _CACHE / "demo") if settings.path is None else Path(settings.path)
    # A cache for each corpus, so that runs on two of them do not decode in turn.
    digest = hashlib.sha256(f"{folder.resolve()} {sample_rate}".encode()).hexdigest()[:12]
    cache = runs / _CACHE / f"{folder.stem}-{digest}"
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


def load_terms(run: Run, loss: CombinedLoss) -> None:
    """Give those terms of a loss that the run has, too, what they have learnt in it.

    Raises:
        RunError: what they have learnt does not fit their options.
    """
    checkpoint = load_latest(run.checkpoints) if loss.state_dict() else None
    learnt = checkpoint.state.get("loss", {}) if checkpoint else {}
    try:
        loss.load_state_dict(learnt, strict=False)
    except RuntimeError as error:
        raise RunError(
            "its terms were trained with other options than they have here",
            culprit=str(run.folder),
            remedy="Leave these options as the run has them.",
        ) from error


def prepare(
    run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus, settings: TrainingSettings, *, keep: bool
) -> None:
    """Do what comes before the first step; `keep` the model that it begins with in the run folder."""
    begin(vae, representation, corpus.train, settings)
    if keep:
        save_state(run.start, vae.state_dict())


def finish(
    run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus, settings: TrainingSettings
) -> Retention | None:
    """Do what is left after the training, and keep it in the run folder.

    A model that has begun with nothing learns how far off it is, which makes noise of what it does not
    know. One that has begun with another keeps as much of what it has learnt as does no harm. The latents
    of the recordings are kept to make new sounds of, and what baselines need to know of them.

    Returns:
        How much of what was learnt is kept; None where the training began with nothing.
    """
    if not run.start.exists():
        calibrate(vae, representation, corpus.train, settings)
    retention = _retain(run, vae, representation, corpus, settings.keep)
    save_state(run.model, vae.state_dict())
    longest = _LATENT_SECONDS * corpus.sample_rate
    bank = {
        recording.name: _to_state(encode(vae, representation, corpus.train.read(recording)[:, :longest]))
        for recording in corpus.train.recordings
    }
    save_state(run.latents, {"latents": bank})
    statistics = measure_recordings(corpus.train, representation, components_per_frame(vae))
    save_state(run.baselines, {"mean_frame": statistics.mean_frame, "directions": statistics.directions})
    return retention


def _retain(
    run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus, keep: float | None
) -> Retention | None:
    if not run.start.exists():
        return None
    start = load_state(run.start)
    if keep is None:
        return retain(vae, start, representation, corpus)
    interpolate(vae, start, vae.state_dict(), keep)
    return Retention(share=keep)


def load_latents(run: Run, representation: MagnitudeIF) -> list[Encoded]:
    """Load the latents that `finish` kept. Those of older runs are of one channel.

    Raises:
        RunError: the training has not come to its end yet.
    """
    if not run.latents.exists():
        raise RunError(
            "holds no latents to make sounds of",
            culprit=str(run.folder),
            remedy="They are written at the end of the training: go on with --resume.",
        )
    entries = load_state(run.latents)["latents"].values()
    return [_from_state(entry, representation.bins) for entry in entries]


def _to_state(entry: Encoded) -> Tensor | dict[str, Tensor]:
    """Return what is saved: of one channel nothing but its latents `[D, T']`, as older runs have it."""
    if len(entry.latents) == 1:
        return entry.latents[0]
    return {"latents": entry.latents, "coherence": torch.view_as_real(entry.coherence)}


def _from_state(state: Tensor | dict[str, Tensor], bins: int) -> Encoded:
    """Return the entry that was saved."""
    if isinstance(state, Tensor):
        return Encoded.mono(state, bins)
    return Encoded(state["latents"], torch.view_as_complex(state["coherence"]))


def load_statistics(run: Run) -> Statistics | None:
    """Load what `finish` kept for baselines; None where it has not, as in runs of older versions.

    Raises:
        RunError: the file is damaged.
    """
    return Statistics(**load_state(run.baselines)) if run.baselines.exists() else None


def corpus_of(run: Run) -> str | None:
    """Return where the recipe of a run has its corpus, a path or a URL; None stands for the demo corpus.

    Raises:
        RunError: the folder is not a run.
        ConfigError: its recipe does not fit.
    """
    return structure(run.read_recipe().get("corpus", {}), CorpusSettings, at="corpus").path
