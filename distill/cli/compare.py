"""`distill compare`: compare training runs."""

import json
from pathlib import Path

import click

from distill.cli import completion
from distill.cli.options import Place, json_option, overwrite_option


@click.command(short_help="Compare runs by number, by eye and by ear.")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=Place())
@click.option(
    "--on", "recordings", metavar="RECORDINGS", shell_complete=completion.paths,
    help="Compare on the recordings in this folder, not on those that all runs held out.",
)  # fmt: skip
@click.option("--trained", is_flag=True, help="With --on: also use recordings that a run was trained on.")
@click.option(
    "--answers", metavar="FILE", multiple=True, type=Place(),
    help="Answers of a listening test that the page saved. May be repeated.",
)  # fmt: skip
@click.option(
    "--out", metavar="FILE", type=Place(),
    help="Page to write; by default comparison.html, and none with --json.",
)  # fmt: skip
@json_option
@overwrite_option
def compare(
    runs: tuple[Path, ...],
    *,
    recordings: str | None,
    trained: bool,
    answers: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Compare the models and recipes of run folders with those of the first one.

    Measures are means over the recordings that all runs held out, with intervals of the paired differences
    from the first run. A difference counts only if its interval excludes 0.

    The page opens in a browser without a network. It has the curves of all runs, their sounds, and a blind
    listening test, ABX or MUSHRA, whose answers it saves to files for --answers.
    """
    from distill.arguments import corpus_location, path_like, require_corpus
    from distill.comparison.answers import read_answers
    from distill.comparison.selection import distinct_runs
    from distill.storage.files import require_writable

    distinct_runs(runs)  # before the slow import of torch, as all that can be told at once
    read_answers(path_like(each, culprit="answers", expected="paths") for each in answers)
    if recordings is not None:
        require_corpus(corpus_location(recordings, culprit="recordings", recorded=False))
    page = out if out is not None or as_json else Path("comparison.html")
    if page is not None:
        require_writable([page], overwrite=overwrite, instead="file with --out")

    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.cli.stdout import print_product
    from distill.comparison.compare import compare as compare_runs
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    with evaluation_progress(Console(stderr=True)) as on_progress:
        comparison = compare_runs(
            runs,
            on=recordings,
            trained=trained,
            answers=answers,
            out=page,
            overwrite=overwrite,
            on_progress=lambda _, progress: on_progress(progress),
        )
    if as_json:
        print_product(json.dumps(comparison.to_dict(), indent=1))
    else:
        print_product(f"{comparison}\n\npage  {comparison.page}")
