"""Evaluation of a model and its baselines on a corpus, as one table."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from distill.audio.corpus import NamedArray
from distill.audio.progress import Progress
from distill.evaluation import baselines
from distill.evaluation.contenders import Reconstruct, evaluate_all, term_values
from distill.evaluation.listeners import LISTENERS, installed_listeners, quick_listeners
from distill.evaluation.recordings import open_measured
from distill.evaluation.speech import speech_listeners
from distill.evaluation.table import LABELS, Table
from distill.model import VAE, sounds
from distill.spectral.representation import MagnitudeIF
from distill.storage.run import Run

_NO_STATISTICS = "the run has no baselines.safetensors, which the end of a training run writes"
_NO_RUN = "they are made of the recordings of a run, and the base model has none"


def evaluate_model(
    vae: VAE,
    representation: MagnitudeIF,
    run: Run | None,
    corpus: str | Iterable[NamedArray] | None,
    *,
    cache: Path,
    heldout: bool = False,
    loss: str | None = None,
    visqol: bool = True,
    speech: bool = False,
    refinements: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Table:
    """Measure a model and its baselines on recordings; see `distill.Model.evaluate`.

    `cache` is a folder for decoded recordings.
    """
    tell = on_progress or (lambda _: None)
    rate = representation.sample_rate
    statistics = None if run is None else baselines.load_statistics(run, representation.bins)
    contenders = _contenders(vae, representation, statistics, refinements)
    measure = term_values(loss, representation) if loss else None
    listeners = installed_listeners() if visqol else quick_listeners()
    missing = tuple(name for name in LISTENERS if name not in listeners and (visqol or name != "visqol"))
    if speech:
        listeners |= speech_listeners()
    measured = open_measured(
        run,
        corpus,
        heldout=heldout,
        sample_rate=rate,
        cache=cache,
        on_progress=lambda done, total: tell(Progress(stage="decoding", done=done, total=total)),
    )
    done, total = 0, len(contenders) * measured.count
    tell(Progress(stage="measuring", done=0, total=total))

    def tell_measured(contender: str, recording: str) -> None:
        nonlocal done
        done += 1
        item = f"{recording}: {LABELS[contender]}"
        tell(Progress(stage="measuring", done=done, total=total, item=item))

    results = evaluate_all(
        contenders,
        measured.recordings(),
        measure,
        sample_rate=rate,
        listeners=listeners,
        on_progress=tell_measured,
    )
    return Table(
        contenders=results,
        trained_on=measured.trained_on,
        remarks=measured.remarks,
        skipped=measured.skipped,
        absent=measured.absent,
        listeners=tuple(listeners),
        missing=missing,
        without_baselines="" if statistics is not None else _NO_RUN if run is None else _NO_STATISTICS,
    )


def _contenders(
    vae: VAE, representation: MagnitudeIF, statistics: baselines.Statistics | None, refinements: int
) -> dict[str, Reconstruct]:
    """Return the model and the baselines in display order."""
    rows: dict[str, Reconstruct] = {
        "model": partial(sounds.reconstruct, vae, representation, refinements=refinements),
        "silence": baselines.silence,
        "ceiling": baselines.ceiling(vae, representation),
    }
    if statistics is not None:
        rows["linear_code"] = baselines.linear_code(statistics, vae, representation)
        rows["mean_spectrum"] = baselines.mean_spectrum_baseline(statistics.mean_frame, representation)
    return {name: rows[name] for name in LABELS if name in rows}
