"""What comes after the last step of a training run: how much of it is kept, and what is left to be used."""

from collections.abc import Callable
from pathlib import Path, PurePath

from attrs import frozen

from distill.audio.corpus import Corpus
from distill.audio.soundfiles import write_audio
from distill.evaluation.baselines import components_per_frame, measure_recordings, save_statistics
from distill.model import VAE
from distill.model.loading import save_latents
from distill.model.sounds import Encoded, encode, reconstruct
from distill.settings import TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run
from distill.training.batches import calibrate
from distill.training.retention import Retention, interpolate, retain

_LATENT_SECONDS = 60
_PAIR_SECONDS = 10


@frozen(kw_only=True)
class Finished:
    """How much of what was learnt is kept, None where the run began with nothing, and the pairs written."""

    retention: Retention | None
    pairs: tuple[tuple[Path, Path], ...]


def finish(
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    settings: TrainingSettings,
    on_progress: Callable[[int, int], None] | None = None,
) -> Finished:
    """Do everything that follows the training, and keep it in the run folder.

    A model that has begun with nothing learns how far off it is, which makes noise of what it does not
    know. One that has begun with another keeps as much of what it has learnt as does no harm. The model
    is saved, then the latents of the recordings, to make new sounds of, what baselines need to know of
    the recordings, and some originals beside their reconstructions, to listen to.

    `on_progress` is called with the recordings encoded and their number, for the first time with none.

    Raises:
        RunError: something cannot be written.
        TrainingError: a reconstruction is not finite.
    """
    recordings = corpus.train.recordings
    if on_progress is not None:
        on_progress(0, len(recordings))
    if not run.start.exists():
        calibrate(vae, representation, corpus.train, settings)
    retention = _retain(run, vae, representation, corpus, settings.keep)
    save_state(run.model, vae.state_dict())
    longest = _LATENT_SECONDS * corpus.sample_rate
    bank: dict[str, Encoded] = {}
    for number, recording in enumerate(recordings, 1):
        bank[recording.name] = encode(vae, representation, corpus.train.read(recording)[:, :longest])
        if on_progress is not None:
            on_progress(number, len(recordings))
    save_latents(run, bank)
    save_statistics(run, measure_recordings(corpus.train, representation, components_per_frame(vae)))
    pairs = _write_pairs(run, vae, representation, corpus, settings.pairs)
    return Finished(retention=retention, pairs=pairs)


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


def _write_pairs(
    run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus, count: int
) -> tuple[tuple[Path, Path], ...]:
    """Write held-out recordings, or trained ones where none are, beside what the model makes of them."""
    split = corpus.heldout if corpus.heldout.recordings else corpus.train
    pairs = []
    # Numbered, since recordings in two folders may share a name.
    for number, recording in enumerate(split.recordings[:count], 1):
        original = split.read(recording)[:, : _PAIR_SECONDS * corpus.sample_rate]
        name = f"{number}-{PurePath(recording.name).stem}"
        pair = run.audio / f"{name}.original.wav", run.audio / f"{name}.reconstruction.wav"
        write_audio(pair[0], original, corpus.sample_rate)
        write_audio(pair[1], reconstruct(vae, representation, original), corpus.sample_rate)
        pairs.append(pair)
    return tuple(pairs)
