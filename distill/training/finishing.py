"""The end of a training run: choose how much of the training to keep, and write the results."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from attrs import frozen

from distill.audio.corpus import Corpus, Recording
from distill.audio.progress import Progress
from distill.audio.soundfiles import write_audio
from distill.config.settings import TrainingSettings
from distill.errors import RunError
from distill.evaluation.baselines import components_per_frame, measure_recordings, save_statistics
from distill.model import VAE
from distill.model.loading import require_weights, save_latents, save_model
from distill.model.sounds import Encoded, encode, encode_all, reconstruct
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state
from distill.storage.files import file_name
from distill.storage.run import Run
from distill.training.batches import calibrate
from distill.training.memory import release_freed_memory
from distill.training.retention import Retention, interpolate, retain

_LATENT_SECONDS = 60
_FRAMES_AT_A_TIME = 2048
_FRAMES_TO_RELEASE = 16_384
"""After so many frames, freed memory is released: their waveforms have 30 MB at the default hop."""

_PAIR_SECONDS = 10
_LEAST_SECONDS = 2


@frozen(kw_only=True)
class Finished:
    """The results of `finish`.

    `retention` says how much of the training is kept, None if the run started from random weights. `pairs`
    are the files of originals and reconstructions.
    """

    retention: Retention | None
    pairs: tuple[tuple[Path, Path], ...]


def finish(
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    settings: TrainingSettings,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_usable: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = lambda _: None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Finished:
    """Complete a training run and write its results to the run folder.

    A model trained from random weights is calibrated to predict its error, so that uncertain magnitudes are
    rendered as noise. A model that started from another one keeps as much of the training as does no harm,
    see `retention`. Then these are saved: the model, the latents of the recordings for generating sounds,
    the statistics of the recordings for the baselines, and pairs of originals and reconstructions.

    `on_progress` is called with the progress of each of these; `on_usable` when the model and the latents
    are saved; and `warn` with a message if the pairs cannot be written. `options` of the recipe, by address,
    are saved with the model.

    Raises:
        RunError: something cannot be written.
        TrainingError: a result is not finite. It is not written, and what was there before is.
    """
    release_freed_memory()  # that of the steps
    if not run.start.exists():
        calibrate(vae, representation, corpus.train, settings, on_progress=on_progress)
    retention = _retain(run, vae, representation, corpus, settings.keep, on_progress)
    save_model(run, vae, options)
    save_latents(run, _encode(vae, representation, corpus, on_progress))
    on_usable()
    save_statistics(run, measure_recordings(corpus.train, representation, components_per_frame(vae)))
    pairs = _write_pairs(run, vae, representation, corpus, settings.pairs, warn, on_progress)
    release_freed_memory()  # for the page
    return Finished(retention=retention, pairs=pairs)


def finish_early(
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    settings: TrainingSettings,
    seconds_left: Callable[[], float],
    within_time: Callable[[Callable[[], None]], bool],
    options: Mapping[str, Any],
) -> None:
    """Write the results of a run that was stopped, as far as time allows, from its saved model.

    Latents are written in any case: those of the first seconds of a recording at least. They come before the
    statistics and the pairs, and half of the time may be spent on the calibration. `within_time` calls a
    function, cuts it short when the time is over, and returns whether it was completed.

    Raises:
        RunError: something cannot be written, or the saved model cannot be read.
        TrainingError: a result is not finite.
    """
    vae.load_state_dict(load_state(run.model))
    if not run.start.exists():
        half = seconds_left() / 2
        within_time(
            lambda: calibrate(
                vae, representation, corpus.train, settings, go_on=lambda: seconds_left() > half
            )
        )
        save_model(run, vae, options)
    bank: dict[str, Encoded] = {}

    def encode_first(seconds: int, recordings: Sequence[Recording]) -> None:
        for recording in recordings:
            waveform = corpus.train.read(recording, stop=seconds * corpus.sample_rate)
            bank[recording.name] = encode(vae, representation, waveform)

    recordings = corpus.train.recordings
    encode_first(_LEAST_SECONDS, recordings[:1])
    within_time(lambda: encode_first(_LATENT_SECONDS, recordings))
    save_latents(run, bank)

    def complete() -> None:
        save_statistics(run, measure_recordings(corpus.train, representation, components_per_frame(vae)))
        _write_pairs(run, vae, representation, corpus, settings.pairs)

    within_time(complete)


def _encode(
    vae: VAE, representation: MagnitudeIF, corpus: Corpus, on_progress: Callable[[Progress], None]
) -> dict[str, Encoded]:
    """Encode the beginnings of the training recordings, those of the same length together."""
    longest = _LATENT_SECONDS * corpus.sample_rate
    recordings = corpus.train.recordings
    alike: dict[int, list[Recording]] = defaultdict(list)
    for recording in recordings:
        alike[representation.frames(min(recording.samples, longest))].append(recording)
    bank: dict[str, Encoded] = {}
    unreleased = 0
    on_progress(Progress(stage="finishing", done=0, total=len(recordings)))
    for frames in sorted(alike):
        at_a_time = max(1, _FRAMES_AT_A_TIME // frames)
        for start in range(0, len(alike[frames]), at_a_time):
            group = alike[frames][start : start + at_a_time]
            waveforms = [corpus.train.read(recording, stop=longest) for recording in group]
            encoded = encode_all(vae, representation, waveforms)
            bank |= zip([recording.name for recording in group], encoded, strict=True)
            on_progress(Progress(stage="finishing", done=len(bank), total=len(recordings)))
            unreleased += frames * len(group)
            if unreleased >= _FRAMES_TO_RELEASE:
                release_freed_memory()
                unreleased = 0
    release_freed_memory()
    return {recording.name: bank[recording.name] for recording in recordings}


def _retain(
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    keep: float | None,
    on_progress: Callable[[Progress], None],
) -> Retention | None:
    if not run.start.exists():
        return None
    start = require_weights(load_state(run.start), vae.state_dict(), run)
    if keep is None:
        return retain(vae, start, representation, corpus, on_progress)
    interpolate(vae, start, vae.state_dict(), keep)
    return Retention(share=keep)


def _write_pairs(
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    count: int,
    warn: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[tuple[Path, Path], ...]:
    """Write originals and reconstructions of held-out recordings or, if none are, of training recordings.

    A file that cannot be written is only a warning, since the model is complete without it.
    """
    split = corpus.heldout if corpus.heldout.recordings else corpus.train
    pairs = []
    # Numbers keep names unique: recordings in two folders may share a name.
    chosen = split.recordings[:count]
    for number, recording in enumerate(chosen, 1):
        on_progress(Progress(stage="writing", done=number - 1, total=len(chosen), item=recording.name))
        original = split.read(recording, stop=_PAIR_SECONDS * corpus.sample_rate)
        stem = f"{number}-{PurePath(recording.name).stem}"
        # Cut alike, so that one name follows from the other.
        name = file_name(stem, ".reconstruction.wav", run.audio).removesuffix(".reconstruction.wav")
        first, second = run.audio / f"{name}.original.wav", run.audio / f"{name}.reconstruction.wav"
        try:
            write_audio(first, original, corpus.sample_rate)
            write_audio(second, reconstruct(vae, representation, original), corpus.sample_rate)
        except RunError as error:
            warn(f"The model is saved, and not all sounds to listen to: {error}")
            break
        pairs.append((first, second))
    return tuple(pairs)
