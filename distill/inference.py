"""A trained model to work with: `distill.load` gives it, the commands that use a model call it.

Shapes: `C` channels, `N` samples, `D` numbers in each of `T'` latents. Waveforms have 1 as full scale.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from distill.audio.corpus import NamedArray
from distill.audio.corpus.arrays import as_rate, as_samples
from distill.audio.progress import Progress
from distill.audio.soundfiles import resample
from distill.base import load_base
from distill.config import structure, unstructure
from distill.errors import InputError, RunError, ShapeError, TermError
from distill.model import VAE, sounds
from distill.model.building import make_model, make_representation
from distill.model.loading import load_latents, load_model
from distill.model.sounds import Encoded
from distill.spectral.representation import MagnitudeIF
from distill.storage.run import Run

if TYPE_CHECKING:
    from distill.evaluation.table import Table
    from distill.recipe import Recipe

StrPath: TypeAlias = str | os.PathLike[str]

_SHORTEST, _LONGEST = 0.05, 600
"""Seconds of a new sound."""

BASE = "base"
"""What `load` takes for the model that the package brings."""


def load(run: Run | StrPath, *, device: str | torch.device = "cpu") -> "Model":
    """Load the model of a training run, finished or not. Its loss terms need not be installed.

        model = distill.load("runs/first")
        sounds = model.generate(8, seed=0)

    Args:
        run: what `distill.train` returned, or the run folder; `"base"` is the model that a training begins
            with, which the package brings.
        device: where to put it.

    Raises:
        RunError: the folder is not a run, or holds no model yet, or a damaged one.
        ConfigError: its recipe does not fit.
    """
    if run == BASE:
        base = load_base()
        representation = make_representation(base.representation)
        vae = make_model(base.model, representation, seed=0)
        vae.load_state_dict(base.weights)
        tree = {"representation": unstructure(base.representation), "model": unstructure(base.model)}
        return Model(vae.eval(), representation, recipe=tree).to(device)
    folder = run if isinstance(run, Run) else Run(Path(run).expanduser())
    vae, representation = load_model(folder)
    return Model(vae, representation, recipe=folder.read_recipe(), run=folder).to(device)


class Model:
    """A trained model, with everything that is done with one.

    `vae` and `representation` are torch modules: the latter maps waveforms `[B, N]` to spectrograms
    `[B, 2, F, T]`, of which the former is an autoencoder. `run` is the run folder, None for the base model.

    A waveform is a tensor or an array of floats `[N]` or `[C, N]`, a single channel being `[1, N]` in what is
    returned. It is at the model's `sample_rate`, unless another one is given with it. What is returned has no
    gradient, and is on the device of what was given.
    """

    def __init__(
        self,
        vae: VAE,
        representation: MagnitudeIF,
        *,
        recipe: Mapping[str, Any],
        run: Run | None = None,
    ) -> None:
        self.vae, self.representation, self.run = vae, representation, run
        self._tree = recipe

    def __repr__(self) -> str:
        source = "base" if self.run is None else str(self.run.folder)
        return f"Model({source!r}, sample_rate={self.sample_rate}, device={str(self.device)!r})"

    @property
    def sample_rate(self) -> int:
        """The sample rate of the sounds that the model makes, in Hz."""
        return self.representation.sample_rate

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.vae.device

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device, and return it."""
        self.vae.to(device)
        self.representation.to(device)
        return self

    @cached_property
    def recipe(self) -> "Recipe":
        """Everything the training was told; of the base model, what a training that begins with it is.

        Its `loss` has a config for each term or, where a term is not installed, plain data.

        Raises:
            ConfigError: the recipe does not fit.
        """
        from distill.plugin.registry import Registry  # noqa: PLC0415  # a sound needs no plugins
        from distill.recipe import Recipe, read_recipe  # noqa: PLC0415  # as above

        recorded = self._tree.get("provenance", {})
        try:
            recipe = read_recipe(self._tree, Registry()).recipe
        except (RunError, TermError):
            return structure(self._tree, Recipe)
        return attrs.evolve(recipe, provenance=recipe.provenance | recorded)

    @cached_property
    def latents(self) -> dict[str, Encoded]:
        """The latents of the recordings that the model was trained on, by name, which `generate` mixes.

        Each has `latents` `[C, D, T']` and the `coherence` of its channels, and can be decoded.

        Raises:
            RunError: the training has not come to its end, or this is the base model.
        """
        if self.run is None:
            raise RunError(
                "holds no latents to make sounds of",
                culprit="the base model",
                remedy="Train it on recordings of your own, for a minute at least: distill.train(...)",
            )
        return load_latents(self.run, self.representation)

    @torch.no_grad()
    def encode(self, waveform: Any, sample_rate: int | None = None) -> Tensor:  # noqa: ANN401  # an array
        """Return the latents `[C, D, T']` of a waveform, the means of the posterior.

        Channels are encoded each for itself. Memory grows with the length of the waveform.

        Raises:
            InputError: the waveform is not one of finite floats `[N]` or `[C, N]`.
        """
        prepared, device = self._prepared(waveform, sample_rate)
        latents, _ = self.vae.encode(self.representation(prepared.to(self.device)))
        return latents.to(device)

    def decode(self, latents: Tensor | Encoded, samples: int | None = None) -> Tensor:
        """Return the sound `[C, N]` of latents `[C, D, T']`, at the model's sample rate.

        Channels are decoded each for itself: what they have in common beyond that is kept by `reconstruct`,
        and by an entry of `latents`.

        Args:
            latents: what `encode` returned, or an entry of `latents`.
            samples: N, by default as many as the latents hold.

        Raises:
            ShapeError: the latents have another shape, or hold fewer samples.
        """
        entry, coherence = latents, None
        if isinstance(latents, Encoded):
            entry, coherence = latents.latents, latents.coherence
        if not isinstance(entry, Tensor) or entry.ndim != 3 or entry.shape[1] != self.vae.latent_size:
            got = list(entry.shape) if isinstance(entry, Tensor) else f"a {type(entry).__name__}"
            raise ShapeError(f"latents must have the shape [C, {self.vae.latent_size}, T']: got {got}")
        held = self.representation.samples(entry.shape[-1] * self.vae.stride)
        samples = held if samples is None else samples
        if not 0 < samples <= held:
            raise ShapeError(f"{entry.shape[-1]} latents hold 1 to {held} samples: {samples} were asked for")
        sound = sounds.decode(self.vae, self.representation, entry, samples, coherence)
        return sound.to(entry.device)

    def reconstruct(
        self,
        waveform: Any,  # noqa: ANN401  # an array
        sample_rate: int | None = None,
        *,
        refinements: int = 0,
    ) -> Tensor:
        """Encode and decode a waveform: return `[C, N]` of its length, sample rate and number of channels.

        The correlation of the channels is kept. A long waveform is taken in pieces of half a minute, so that
        memory stays flat.

        Args:
            waveform: the waveform.
            sample_rate: its sample rate in Hz, by default that of the model.
            refinements: steps that lower the spectral distance to the waveform, at the cost of tones and
                level.

        Raises:
            InputError: the waveform is not one of finite floats `[N]` or `[C, N]`.
        """
        length = _checked(waveform).shape[-1]
        prepared, device = self._prepared(waveform, sample_rate)
        made = sounds.reconstruct(self.vae, self.representation, prepared, refinements=refinements)
        if sample_rate is not None:
            made = resample(made, self.sample_rate, as_rate(sample_rate, culprit="sample_rate"), length)
        return made.to(device)

    def generate(
        self, count: int = 1, *, seed: int = 0, temperature: float = 1.0, seconds: float | None = None
    ) -> list[Tensor]:
        """Make new sounds: a list of waveforms `[C, N]`, at the model's sample rate.

        Each has low bands of one and high bands of another of the recordings that the model was trained on,
        and is stereo where one of them is. More sounds begin with the same ones. A peak may exceed 1.

        Args:
            count: how many.
            seed: other seed, other sounds.
            temperature: how far to wander from the recordings; 0 only mixes them.
            seconds: the length of each, by default that of what is mixed.

        Raises:
            InputError: an argument is out of bounds.
            RunError: the training has not come to its end, or this is the base model.
        """
        return list(self.iter_generate(count, seed=seed, temperature=temperature, seconds=seconds))

    def iter_generate(
        self, count: int = 1, *, seed: int = 0, temperature: float = 1.0, seconds: float | None = None
    ) -> Iterator[Tensor]:
        """Make new sounds one after the other, as `generate` does all at once."""
        for name, value, least in (("count", count, 1), ("seed", seed, 0), ("temperature", temperature, 0)):
            if value < least:
                raise InputError(f"must be at least {least}, got {value!r}", culprit=name)
        if seconds is not None and not _SHORTEST <= seconds <= _LONGEST:
            raise InputError(f"must be within {_SHORTEST}..{_LONGEST}, got {seconds!r}", culprit="seconds")
        bank = [*self.latents.values()]
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            yield sounds.generate(
                self.vae,
                self.representation,
                bank,
                generator=generator,
                temperature=temperature,
                seconds=seconds,
            )

    def evaluate(
        self,
        corpus: StrPath | Iterable[NamedArray] | None = None,
        *,
        heldout: bool = False,
        loss: str | None = None,
        visqol: bool = True,
        refinements: int = 0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> "Table":
        """Measure how close reconstructions come to recordings, beside baselines.

            table = model.evaluate("my-sounds")
            print(table)
            print(table.mean.mel, table.to_dict()["model"])

        Of a long recording, the first minute is measured. `docs/metrics.md` defines each measure.

        Args:
            corpus: a folder of recordings, a single one, shards or arrays, as `distill.train` takes them; by
                default that of the run. Of shards, those held out are measured.
            heldout: measure the recordings alone that the run held out.
            loss: terms to measure by, too, comma-separated, with their default options.
            visqol: ask ViSQOL, if it is installed; it takes longest by far.
            refinements: as in `reconstruct`.
            on_progress: is called while recordings are decoded and measured.

        Raises:
            RunError: it is not known what the run held out, or that is nothing.
            CorpusError: the corpus is not there, or has nothing of what is to be measured.
            TermError: a term is unknown or cannot measure.
        """
        from distill.evaluation.contest import evaluate_model  # noqa: PLC0415  # a sound needs no metrics

        if isinstance(corpus, str | os.PathLike):
            path = os.fspath(corpus)
            corpus = path if "://" in path else str(Path(path).expanduser())
        with TemporaryDirectory() as cache:
            return evaluate_model(
                self.vae,
                self.representation,
                self.run,
                corpus,
                cache=Path(cache),
                heldout=heldout,
                loss=loss,
                visqol=visqol,
                refinements=refinements,
                on_progress=on_progress,
            )

    def _prepared(self, waveform: Any, sample_rate: int | None) -> tuple[Tensor, torch.device]:  # noqa: ANN401  # an array
        """Return a waveform `[C, N]` at the model's rate, on the CPU, and the device that it was on."""
        checked = _checked(waveform)
        if sample_rate is not None:
            rate = as_rate(sample_rate, culprit="sample_rate")
            checked = resample(checked, rate, self.sample_rate)
        device = waveform.device if isinstance(waveform, Tensor) else torch.device("cpu")
        return checked, device


def _checked(waveform: object) -> Tensor:
    """Return a waveform as a float32 tensor `[C, N]` on the CPU."""
    checked = torch.from_numpy(as_samples(waveform, culprit="waveform")).T.contiguous()
    if not checked.isfinite().all():
        raise InputError("contains NaN or infinite samples", culprit="waveform")
    return checked
