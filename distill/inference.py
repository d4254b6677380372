"""The `Model` class, which `distill.load` returns and the command line uses.

Shapes: `C` channels, `N` samples, `D` numbers per latent frame, `T'` latent frames. Full scale is 1.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from distill.arguments import (
    checkpoint_like,
    corpus_location,
    optional_callable,
    path_like,
    whole_number,
)
from distill.audio.corpus import NamedArray
from distill.audio.corpus.arrays import as_rate
from distill.audio.corpus.places import temporary_cache
from distill.audio.progress import Progress, telling
from distill.audio.soundfiles import Written, require_format, resample
from distill.audio.streaming import open_audio, resampled, write_blocks
from distill.base import load_base
from distill.config import structure, unstructure
from distill.config.settings import MOST_REFINEMENTS
from distill.controls.generating import SoundGenerator
from distill.errors import InputError, OutputError, RunError, ShapeError, TermError
from distill.model import VAE, sounds
from distill.model.arguments import device_like, latents_like, waveform_like
from distill.model.building import make_model, make_representation
from distill.model.loading import load_latents, load_model
from distill.model.sounds import Encoded
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import Which
from distill.storage.files import require_writable
from distill.storage.run import Run, run_of
from distill.system.utf8 import as_text

if TYPE_CHECKING:
    from distill.evaluation.table import Table
    from distill.recipe import Recipe

StrPath: TypeAlias = str | os.PathLike[str]

BASE = "base"
"""The argument of `load` that selects the base model shipped with the package."""


def load(
    run: Run | StrPath, *, device: str | torch.device = "cpu", checkpoint: int | str | None = None
) -> "Model":
    """Load the model of a training run, whether finished or not, or that of one of its checkpoints.

    The run's loss terms need not be installed.

        model = distill.load("runs/first")
        sounds = model.generate(8, seed=0)

    Args:
        run: the value returned by `distill.train`, or the path of a run folder. `"base"` loads the base model
            shipped with the package, from which training starts by default.
        device: the device to load the model onto.
        checkpoint: `"best"` loads the checkpoint with the lowest held-out loss, `"last"` the newest, and a
            number that of a step, without the calibration at the end of a training run. Default: the model
            of the run.

    Raises:
        RunError: the folder is not a run, holds no model yet or not that checkpoint, or holds a damaged one.
        ConfigError: the run's recipe is not valid.
        InputError: the device is not available, or `run` is not a run.
    """
    which = None if checkpoint is None else checkpoint_like(checkpoint, culprit="checkpoint")
    if run == BASE and which is not None:
        raise InputError("the base model has no checkpoints", culprit="checkpoint", remedy="Leave it out.")
    if run == BASE:
        base = load_base()
        representation = make_representation(base.representation)
        vae = make_model(base.model, representation, seed=0)
        vae.load_state_dict(base.weights)
        tree = {"representation": unstructure(base.representation), "model": unstructure(base.model)}
        return Model(vae.eval(), representation, recipe=tree).to(device)
    folder = run_of(run, expected="a run, its folder, or 'base'")
    vae, representation = load_model(folder, which)
    place = Run(folder.folder.absolute())  # for a notebook that changes the working folder
    return Model(vae, representation, recipe=folder.read_recipe(), run=place, checkpoint=which).to(device)


class Model(SoundGenerator):
    """A trained model that encodes, decodes, reconstructs, generates and evaluates.

    `vae` and `representation` are torch modules: `representation` maps waveforms `[B, N]` to spectrograms
    `[B, 2, F, T]`, and `vae` is an autoencoder of these. `run` is the run folder, or None for the base model.

    Methods take a waveform as a tensor or array of floats `[N]` or `[C, N]`, at the model's `sample_rate`
    unless another rate is passed. They return waveforms `[C, N]`, with `C` = 1 for a single channel. Returned
    tensors have no gradient and are on the device of the input.
    """

    def __init__(
        self,
        vae: VAE,
        representation: MagnitudeIF,
        *,
        recipe: Mapping[str, Any],
        run: Run | None = None,
        checkpoint: Which | None = None,
    ) -> None:
        self.vae, self.representation, self.run = vae, representation, run
        self._checkpoint = checkpoint
        self._tree = recipe

    def __repr__(self) -> str:
        source = "base" if self.run is None else str(self.run.folder)
        return f"Model({source!r}, sample_rate={self.sample_rate}, device={str(self.device)!r})"

    @property
    def sample_rate(self) -> int:
        """The sample rate of the model's output, in Hz."""
        return self.representation.sample_rate

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.vae.device

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device and return the model.

        Raises:
            InputError: the device is not available.
        """
        device = device_like(device)
        self.vae.to(device)
        self.representation.to(device)
        return self

    @cached_property
    def recipe(self) -> "Recipe":
        """The recipe of the training run; for the base model, the defaults with its settings.

        `recipe.loss` holds a config for each term, or plain data where a term is not installed.

        Raises:
            ConfigError: the recipe is not valid.
        """
        from distill.config.renamed_options import move_renamed  # noqa: PLC0415  # as above
        from distill.plugin.registry import Registry  # noqa: PLC0415  # making sounds needs no plugins
        from distill.recipe import Recipe, read_recipe  # noqa: PLC0415  # as above

        recorded = self._tree.get("provenance", {})
        try:
            recipe = read_recipe(self._tree, Registry()).recipe
        except (RunError, TermError):
            return structure(move_renamed(self._tree), Recipe)
        return attrs.evolve(recipe, provenance=recipe.provenance | recorded)

    def _axes_run(self) -> Run | None:
        return self.run if self._checkpoint is None else None

    @cached_property
    def latents(self) -> dict[str, Encoded]:  # type: ignore[override]  # computed at first use
        """The latents of the training recordings, by name. `generate` mixes these.

        Each entry has `latents` `[C, D, T']` and the `coherence` of its channels; `decode` accepts it. Those
        of a checkpoint are computed from the recordings.

        Raises:
            RunError: the training run is not finished; this is the base model; or the recordings of a
                checkpoint's run are no longer there.
        """
        if self.run is None:
            raise RunError(
                "holds no latents to make sounds of",
                culprit="the base model",
                remedy="Train it on recordings of your own, for a minute at least: distill train FOLDER",
            )
        if self._checkpoint is not None:
            from distill.evaluation.encoding import encode_trained  # noqa: PLC0415  # imports metrics

            vae, which = self.vae, self._checkpoint
            with temporary_cache() as cache:
                return encode_trained(vae, self.representation, self.run, which, cache=cache)
        return load_latents(self.run, self.representation, self.vae)

    @torch.no_grad()
    def encode(self, waveform: Any, sample_rate: int | None = None) -> Tensor:  # noqa: ANN401  # an array
        """Return the latents `[C, D, T']` of a waveform: the means of the posterior.

        Each channel is encoded independently. Memory use grows with the length of the waveform.

        Raises:
            InputError: the waveform does not consist of finite floats `[N]` or `[C, N]`.
        """
        prepared, device = self._prepared(waveform, sample_rate)
        latents, _ = self.vae.encode(self.representation(prepared.to(self.device)))
        return latents.to(device)

    def decode(self, latents: Tensor | Encoded, samples: int | None = None) -> Tensor:
        """Decode latents `[C, D, T']` into a waveform `[C, N]` at the model's sample rate.

        Each channel is decoded independently. To keep the correlation between channels, use `reconstruct` or
        pass an entry of `latents`.

        Args:
            latents: the result of `encode`, or an entry of `latents`.
            samples: N. Default: those of the recording that an entry of `latents` is of, otherwise as many as
                the latents hold.

        Raises:
            ShapeError: the latents have another shape, or hold fewer samples.
            InputError: the latents are not finite floats, or `samples` is not a whole number.
        """
        entry, coherence = latents_like(latents, self.vae.latent_size)
        frames = entry.shape[-1]
        held = self.representation.samples(frames * self.vae.stride)
        if samples is None and isinstance(latents, Encoded):
            samples = sounds.length_of(self.vae, self.representation, latents)
        samples = held if samples is None else whole_number(samples, culprit="samples")
        if not 0 < samples <= held:
            problem = f"{frames} latents hold 1 to {held} samples: {samples} were asked for"
            raise ShapeError(problem, remedy="Leave `samples` out for as many as they hold.")
        sound = sounds.decode(self.vae, self.representation, entry.float(), samples, coherence)
        return sound.to(entry.device)

    def reconstruct(
        self,
        waveform: Any,  # noqa: ANN401  # an array
        sample_rate: int | None = None,
        *,
        refinements: int = 0,
    ) -> Tensor:
        """Encode and decode a waveform.

        The correlation of the channels is kept. A long waveform is processed in pieces of 20 seconds, so that
        memory use does not grow with its length.

        Args:
            waveform: the waveform `[N]` or `[C, N]`.
            sample_rate: the sample rate of the waveform in Hz. Default: that of the model.
            refinements: the number of optimization steps on the latents. They lower the spectral distance to
                the waveform but make tones and level less accurate.

        Returns:
            The reconstruction `[C, N]`, with the length, sample rate and channels of the waveform.

        Raises:
            InputError: the waveform does not consist of finite floats `[N]` or `[C, N]`, or another argument
                is out of bounds.
        """
        refinements = whole_number(refinements, culprit="refinements", least=0, below=MOST_REFINEMENTS + 1)
        length = waveform_like(waveform).shape[-1]
        prepared, device = self._prepared(waveform, sample_rate)
        made = sounds.reconstruct(self.vae, self.representation, prepared, refinements=refinements)
        if sample_rate is not None:
            made = resample(made, self.sample_rate, as_rate(sample_rate, culprit="sample_rate"), length)
        return made.to(device)

    def reconstruct_file(
        self,
        source: StrPath,
        target: StrPath,
        *,
        refinements: int = 0,
        overwrite: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Written:
        """Encode and decode an audio file, and write the result as WAV.

        The result is that of `reconstruct`. Memory use does not grow with the length of the file.

        Args:
            source: a file that `distill train` would read.
            target: the file to write.
            refinements: as in `reconstruct`.
            overwrite: replace the file `target` if it exists.
            on_progress: called with a `Progress` of the stage `reconstructing`, in seconds, after each piece.

        Returns:
            What was written: its path, its peak, and a remark on the file if its level or length is unusual.

        Raises:
            CorpusError: the file cannot be decoded.
            OutputError: the file `target` exists already, or is the source.
            RunError: the result cannot be written.
            InputError: the name of `target` stands for another audio format.
        """
        refinements = whole_number(refinements, culprit="refinements", least=0, below=MOST_REFINEMENTS + 1)
        on_progress = optional_callable(on_progress, culprit="on_progress")
        place = path_like(target, culprit="target", expected="a path")
        require_format(place, "WAV")
        require_writable([place], overwrite=overwrite)
        original = path_like(source, culprit="source", expected="a path", recorded=False)
        if place.exists() and original.exists() and place.samefile(original):
            problem = f"is the source, {original}, which the reconstruction would replace"
            raise OutputError(problem, culprit="target", remedy="Write to another file.")
        file = open_audio(original)
        length = -(-file.samples * self.sample_rate // file.sample_rate)
        waveform = resampled(file.blocks(), file.sample_rate, self.sample_rate, length)
        made = sounds.reconstruct_blocks(self.vae, self.representation, waveform, refinements=refinements)
        if on_progress is not None:
            made = telling(made, length, self.sample_rate, as_text(file.path.name), on_progress)
        output = resampled(made, self.sample_rate, file.sample_rate, file.samples)
        written = write_blocks(place, output, file.sample_rate, file.channels)
        return attrs.evolve(written, remark=file.remark)

    def evaluate(
        self,
        corpus: StrPath | Iterable[NamedArray] | None = None,
        *,
        heldout: bool = False,
        loss: str | None = None,
        visqol: bool = True,
        speech: bool = False,
        refinements: int = 0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> "Table":
        """Measure how close the model's reconstructions and those of baselines are to recordings.

            table = model.evaluate("my-sounds")
            print(table)
            print(table.mean.mel, table.to_dict()["model"])

        Only the first minute of a long recording is measured. `docs/metrics.md` defines each measure.

        Args:
            corpus: a folder of recordings, a single file, shards or arrays, as in `distill.train`. Default:
                the corpus of the run. For sharded corpora, the held-out shards are measured.
            heldout: measure only the recordings that the run held out.
            loss: additional loss terms to measure, comma-separated, with their default options.
            visqol: compute ViSQOL, if it is installed. It takes most of the time.
            speech: compute PESQ and STOI, for recordings of speech.
            refinements: as in `reconstruct`.
            on_progress: called while recordings are decoded and measured.

        Raises:
            RunError: the run does not record what it held out, or held out nothing.
            CorpusError: the corpus does not exist, or holds none of the recordings to measure.
            TermError: a term is unknown, or cannot be measured.
            InputError: `speech` is given, and the extra `distill[speech]` is not installed.
        """
        from distill.evaluation.contest import evaluate_model  # noqa: PLC0415  # making sounds needs no metrics

        refinements = whole_number(refinements, culprit="refinements", least=0, below=MOST_REFINEMENTS + 1)
        on_progress = optional_callable(on_progress, culprit="on_progress")
        if isinstance(corpus, str | os.PathLike):
            corpus = corpus_location(corpus, recorded=False)
        with temporary_cache() as cache:
            return evaluate_model(
                self.vae,
                self.representation,
                self.run,
                corpus,
                cache=cache,
                heldout=heldout,
                loss=loss,
                visqol=visqol,
                speech=speech,
                refinements=refinements,
                on_progress=on_progress,
            )

    def _prepared(self, waveform: Any, sample_rate: int | None) -> tuple[Tensor, torch.device]:  # noqa: ANN401  # an array
        """Return the waveform `[C, N]` at the model's sample rate on the CPU, and its original device."""
        checked = waveform_like(waveform)
        if sample_rate is not None:
            rate = as_rate(sample_rate, culprit="sample_rate")
            checked = resample(checked, rate, self.sample_rate)
        device = waveform.device if isinstance(waveform, Tensor) else torch.device("cpu")
        return checked, device
