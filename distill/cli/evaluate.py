"""`distill evaluate`: how close a model's reconstructions come, beside baselines."""

import json
from pathlib import Path

import click

from distill.cli import completion
from distill.cli.options import no_plugins_option, refine_option


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
    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.inference import load
    from distill.storage.run import Run
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    model = load(Run(run))
    with evaluation_progress(Console(stderr=True)) as on_progress:
        table = model.evaluate(
            corpus,
            heldout=heldout,
            loss=loss,
            visqol=not no_visqol,
            refinements=refinements,
            on_progress=on_progress,
        )
    click.echo(json.dumps(table.to_dict(), indent=1) if as_json else table.as_text(files))
