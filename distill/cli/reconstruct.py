"""`distill reconstruct`: encode and decode recordings with a trained model."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli.options import Place, checkpoint_option, overwrite_option, refine_option
from distill.errors import printable

if TYPE_CHECKING:
    from distill.audio.soundfiles import Written


@click.command(short_help="Encode and decode recordings with a model.")
@click.argument("run", type=Place())
@click.argument("files", nargs=-1, required=True, type=Place())
@click.option("--out", required=True, type=Place(), help="Folder to write to.")
@checkpoint_option
@refine_option
@overwrite_option
def reconstruct(
    run: Path,
    files: tuple[Path, ...],
    *,
    out: Path,
    checkpoint: str | None,
    refinements: int,
    overwrite: bool,
) -> None:
    """Encode and decode each of FILES with the model of the run folder RUN; write it to OUT/<stem>.wav.

    A folder among FILES stands for the recordings in it and in its subfolders. OUT gets the same subfolders.
    The output has the length, sample rate and channels of the file, and the correlation of its channels.
    """
    from distill.storage.files import require_writable

    targets = _targets(files, out)
    require_writable([target for _, target in targets], overwrite=overwrite)

    from distill.storage.run import Run

    Run(run).require()  # before the slow import of torch

    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.inference import load
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    model = load(Run(run), checkpoint=checkpoint)

    def make(file: Path, target: Path) -> "Written":
        with evaluation_progress(Console(stderr=True)) as on_progress:
            return model.reconstruct_file(
                file, target, refinements=refinements, overwrite=overwrite, on_progress=on_progress
            )

    _reconstruct_each(targets, make)


def _reconstruct_each(targets: Sequence[tuple[Path, Path]], make: Callable[[Path, Path], "Written"]) -> None:
    """Reconstruct each file. A failure is reported at once, and the other files are reconstructed.

    Raises:
        DistillError: the only file, or any of several, is not reconstructed.
    """
    from distill.cli.display import say_written
    from distill.cli.streams import warn
    from distill.errors import CorpusError, InputError, TrainingError

    failed = 0
    for file, target in targets:
        try:
            say_written(make(file, target))
        except (CorpusError, InputError, TrainingError) as error:  # of this file, not of the disk
            if len(targets) == 1:
                raise
            failed += 1
            warn(str(error))
    if failed:
        raise CorpusError(f"{failed} of the {len(targets)} files could not be reconstructed, see above")


def _targets(files: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Return each file with the path of its reconstruction, which is never the file itself."""
    from distill.errors import CorpusError, check_all
    from distill.storage.files import file_name

    targets: dict[str, tuple[Path, Path]] = {}

    def add(source: tuple[Path, Path]) -> None:
        file, folder = source
        place = out / folder
        target = place / file_name(file.stem, ".wav", place)
        # As file systems compare names that ignore case, or that store them in another form.
        key = unicodedata.normalize("NFC", str(target)).casefold()
        if key in targets:
            raise CorpusError(
                f"would be written to {target}, as {targets[key][0]} would",
                culprit=str(file),
                remedy="Reconstruct them one after the other, with another --out each.",
            )
        # Compared on the disk, since a file may have several paths.
        if target.exists() and target.samefile(file):
            raise CorpusError(
                "would be written over by its reconstruction",
                culprit=str(file),
                remedy="Pass another folder with --out.",
            )
        targets[key] = file, target

    check_all(_require_there, files)
    check_all(add, _expanded(files))
    return [*targets.values()]


def _require_there(path: Path) -> None:
    from distill.arguments import no_file
    from distill.errors import CorpusError

    if not (os.path.isdir(path) or os.path.isfile(path)):  # noqa: PTH112, PTH113  # no error where it is forbidden
        raise CorpusError(no_file(path), culprit=str(path), remedy="Check the path.")


def _expanded(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield each file, and those of each folder, with its folder below that folder."""
    for path in paths:
        if path.is_dir():
            from distill.audio.corpus.opening import require_audio  # loads numpy
            from distill.audio.corpus.scanning import grouped

            found = require_audio(path)
            for skipped in grouped(found.skipped):
                click.echo(f"skipped: {printable(skipped.path)}: {printable(skipped.reason)}", err=True)
            for candidate in found.candidates:
                yield candidate.path, Path(candidate.name).parent  # as valid text
        else:
            yield path, Path()
