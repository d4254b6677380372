"""`distill evaluate`: how close a model's reconstructions come, beside baselines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distill.cli import completion
from distill.cli.options import no_plugins_option, refine_option

if TYPE_CHECKING:
    from distill.cli.measured import Measured
    from distill.evaluation import Evaluation, Reconstruct
    from distill.evaluation.baselines import Statistics
    from distill.model import VAE
    from distill.spectral.representation import MagnitudeIF

_ROWS = ("model", "linear_code", "mean_spectrum", "silence", "ceiling")


@click.command(short_help="Measure a model beside baselines.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("corpus", required=False)
@click.option("--heldout", is_flag=True, help="Measure those recordings alone that the run held out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")
@click.option(
    "--files", type=click.IntRange(min=0), default=10, show_default=True,
    help="Recordings to list one by one, the worst first.",
)  # fmt: skip
@click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms to measure sounds by, too, comma-separated: mel.",
)
@click.option("--no-visqol", is_flag=True, help="Leave out ViSQOL, which takes longest by far.")
@refine_option
@no_plugins_option
def evaluate(
    run: Path,
    corpus: str | None,
    *,
    heldout: bool,
    as_json: bool,
    files: int,
    loss: str | None,
    no_visqol: bool,
    refinements: int,
) -> None:
    """Measure the model of the run folder RUN on all recordings in CORPUS, at the model's sample rate.

    CORPUS is by default that of the run. It may be what `distill shard` wrote, too, as a folder or a URL:
    the held-out recordings are measured, those that it has cut to pieces piece by piece.

    Beside the model stand baselines: a linear code with as many numbers per second, the mean spectrum of
    the recordings it was trained on, silence, and as the ceiling the original magnitudes with phases found
    as the model finds them. Of a long recording, the first minute is measured. With --loss, terms that
    need nothing but sounds are measures, too, with their default options.
    """
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from distill import evaluation
    from distill.cli.measured import open_measured
    from distill.cli.measurements import evaluation_progress
    from distill.storage.run import Run
    from distill.training import assembly
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    folder, console = Run(run), Console(stderr=True)
    vae, representation = assembly.load_model(folder)
    statistics = assembly.load_statistics(folder)
    contenders = _contenders(vae, representation, statistics, refinements)
    measure = evaluation.term_values(loss, representation) if loss else None
    listeners = evaluation.installed_listeners()
    missing = [name for key, name in evaluation.LISTENERS.items() if key not in listeners]
    if no_visqol:
        listeners.pop("visqol", None)
    rate = representation.sample_rate
    with TemporaryDirectory() as cache:
        measured = open_measured(
            folder, corpus, heldout=heldout, sample_rate=rate, cache=Path(cache), console=console
        )
        with evaluation_progress(console, len(contenders) * measured.count) as on_progress:
            results = evaluation.evaluate_all(
                contenders,
                measured.recordings(),
                measure,
                sample_rate=rate,
                listeners=listeners,
                on_progress=on_progress,
            )
    if as_json:
        click.echo(json.dumps(_as_json(results, measured), indent=1))
        return
    _print(results, measured, list(listeners), files)
    _print_what_is_missing(statistics, missing)


def _contenders(
    vae: "VAE", representation: "MagnitudeIF", statistics: "Statistics | None", refinements: int
) -> dict[str, "Reconstruct"]:
    """Return the model and the baselines, in the order in which they are shown."""
    from distill.evaluation import baselines
    from distill.model import sounds

    rows: dict[str, Reconstruct] = {
        "model": lambda waveform: sounds.reconstruct(vae, representation, waveform, refinements=refinements),
        "silence": baselines.silence,
        "ceiling": baselines.ceiling(vae, representation),
    }
    if statistics is not None:
        rows["linear_code"] = baselines.linear_code(statistics, vae, representation)
        rows["mean_spectrum"] = baselines.mean_spectrum_baseline(statistics.mean_frame, representation)
    return {name: rows[name] for name in _ROWS if name in rows}


def _as_json(results: Mapping[str, "Evaluation"], measured: "Measured") -> dict[str, Any]:
    """Return plain data; a baseline that the run knows nothing of is None."""
    told: dict[str, Any] = {name: results[name].as_json() if name in results else None for name in _ROWS}
    for row in filter(None, told.values()):
        for recording in row["recordings"]:
            recording["trained_on"] = measured.trained_on.get(recording["name"])
    told["skipped"] = [{"path": each.path, "reason": each.reason} for each in measured.skipped]
    return told


def _print(
    results: Mapping[str, "Evaluation"], measured: "Measured", listeners: list[str], files: int
) -> None:
    from distill.cli.measurements import mean_note, print_contenders, print_recordings, printable

    model = results["model"]
    print_contenders(results, listeners)
    print_recordings(model, measured.trained_on, listeners, files)
    click.echo(f"\n{mean_note(model, measured.trained_on)}")
    if measured.absent:
        click.echo(f"not in the corpus: {measured.absent} of the recordings that the run held out")
    for left_out in model.left_out:
        click.echo(f"left out: {printable(left_out.name)}: {left_out.left_out}")
    for each in measured.skipped:
        click.echo(f"skipped: {printable(each.path)}: {each.reason}")


def _print_what_is_missing(statistics: "Statistics | None", missing: list[str]) -> None:
    if statistics is None:
        click.echo(
            "linear code and mean spectrum: left out, since the run has no baselines.safetensors, "
            "which the end of a training writes"
        )
    if missing:
        click.echo(f'{" and ".join(missing)}: pip install "distill[hearing]"')
