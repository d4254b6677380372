"""`distill reconstruct`: encode and decode recordings with a trained model."""

from collections.abc import Sequence
from pathlib import Path

import click

from distill.cli.options import checkpoint_option, overwrite_option, refine_option


@click.command(short_help="Encode and decode recordings with a model.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
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

    The output has the length, sample rate and channels of the file, and the correlation of its channels.
    """
    from distill.storage.files import require_writable

    targets = _targets(files, out)
    require_writable([target for _, target in targets], overwrite=overwrite)

    from distill.cli.display import say_written
    from distill.inference import load
    from distill.storage.run import Run
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    model = load(Run(run), checkpoint=checkpoint)
    for file, target in targets:
        say_written(model.reconstruct_file(file, target, refinements=refinements, overwrite=overwrite))


def _targets(files: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Return each file with the path of its reconstruction, which is never the file itself."""
    from distill.errors import CorpusError

    targets: dict[Path, Path] = {}
    for file in files:
        if not file.is_file():
            raise CorpusError("there is no such file", culprit=str(file), remedy="Check the path.")
        target = out / f"{file.stem}.wav"
        if target in targets:
            raise CorpusError(
                f"would be written to {target}, as {targets[target]} would",
                culprit=str(file),
                remedy="Reconstruct them one after the other, with another --out each.",
            )
        # Compared on the disk, since a file may have several paths.
        if target.exists() and target.samefile(file):
            raise CorpusError(
                "would be written over by its reconstruction",
                culprit=str(file),
                remedy="Give another folder with --out.",
            )
        targets[target] = file
    return [(file, target) for target, file in targets.items()]
