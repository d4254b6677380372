"""`distill evaluate`: measure a model's reconstructions and compare them with baselines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli import completion
from distill.cli.options import (
    Place,
    agrees_to_fetch,
    checkpoint_option,
    json_option,
    no_plugins_option,
    overwrite_option,
    refine_option,
)
from distill.cli.stdout import print_product

if TYPE_CHECKING:
    from distill.evaluation.table import Table


@click.command(short_help="Measure a model and baselines.")
@click.argument("run", type=Place())
@click.argument("corpus", required=False, shell_complete=completion.paths)
@click.option("--heldout", is_flag=True, help="Measure only the recordings held out by the run.")
@json_option
@click.option("--csv", type=Place(), help="Write a table of all measures to this CSV file.")
@click.option(
    "--columns",
    shell_complete=completion.columns,
    help="Measures to show, comma-separated by their names in the JSON, such as mel,si_sdr; or all.",
)
@click.option(
    "--files", type=click.IntRange(0, 10**9), default=10, show_default=True,
    help="Number of recordings to list, worst first.",
)  # fmt: skip
@click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms to use as additional measures, comma-separated, such as mel.",
)
@click.option("--speech", is_flag=True, help="Compute PESQ and STOI, for recordings of speech.")
@click.option("--no-visqol", is_flag=True, help="Skip ViSQOL, which takes most of the time.")
@checkpoint_option
@refine_option
@overwrite_option
@no_plugins_option
def evaluate(
    run: Path,
    corpus: str | None,
    *,
    heldout: bool,
    as_json: bool,
    csv: Path | None,
    columns: str | None,
    files: int,
    loss: str | None,
    speech: bool,
    no_visqol: bool,
    checkpoint: str | None,
    refinements: int,
    overwrite: bool,
) -> None:
    """Measure the model of the run folder RUN on all recordings in CORPUS, at the model's sample rate.

    CORPUS is by default that of the run. It may also be the output of `distill shard`, as a folder or URL;
    then its held-out recordings are measured, in the pieces that the shards contain.

    The model is compared with baselines: a linear code with as many numbers per second, the mean spectrum of
    the training recordings, silence, and, as an upper bound, the original magnitudes with phases
    reconstructed as in the model. Only the first minute of a long recording is measured. With --loss, terms
    that depend on waveforms only are additional measures, with their default options.
    """
    from distill.arguments import corpus_location, require_corpus
    from distill.storage.files import require_writable
    from distill.storage.run import Run

    if csv is not None:
        require_writable([csv], overwrite=overwrite, instead="file with --csv")
    Run(run).require()  # before the slow import of torch
    if corpus is not None:
        require_corpus(corpus_location(corpus, recorded=False))

    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.errors import UnaskedError
    from distill.evaluation.columns import parse_columns
    from distill.evaluation.speech import SPEECH
    from distill.inference import load
    from distill.training.memory import keep_freed_memory

    chosen = None if columns is None else parse_columns(columns)
    asked = chosen if columns != "all" else ()
    if no_visqol and "visqol" in (asked or ()):
        raise click.UsageError("--columns has visqol, which --no-visqol leaves out. Leave out one of them.")
    speech = speech or not SPEECH.keys().isdisjoint(asked or ())
    keep_freed_memory()
    model = load(Run(run), checkpoint=checkpoint)

    def measure(corpus: str | None) -> "Table":
        with evaluation_progress(Console(stderr=True)) as on_progress:
            return model.evaluate(
                corpus,
                heldout=heldout,
                loss=loss,
                visqol=not no_visqol,
                speech=speech,
                refinements=refinements,
                on_progress=on_progress,
            )

    try:
        table = measure(corpus)
    except UnaskedError as error:
        if not agrees_to_fetch(error.url):
            raise
        table = measure(error.url)
    print_product(json.dumps(table.to_dict(), indent=1) if as_json else table.as_text(files, chosen))
    if csv is not None:
        table.write_csv(csv, overwrite=overwrite)
