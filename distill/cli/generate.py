"""`distill generate`: generate new sounds with a trained model."""

from pathlib import Path

import click

from distill.cli.options import Number, checkpoint_option, overwrite_option
from distill.settings import MOST_SEED, MOST_SOUNDS, MOST_TEMPERATURE


@click.command(short_help="Generate new sounds with a model.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-n", "count", type=click.IntRange(1, MOST_SOUNDS), default=8, show_default=True, help="Number of sounds."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Random seed.")
@click.option(
    "--temperature", type=Number(0, MOST_TEMPERATURE), default=1.0, show_default=True,
    help="Scale of random deviation from the recordings; 0 only mixes them.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=Number(0.05, 600),
    help="Length of each sound; by default the mean of the two recordings' lengths.",
)
@click.option(
    "--no-limit",
    is_flag=True,
    help="Keep peaks above full scale, as 32-bit float, instead of lowering the level.",
)
@checkpoint_option
@overwrite_option
def generate(
    run: Path,
    *,
    count: int,
    out: Path,
    seed: int,
    temperature: float,
    seconds: float | None,
    no_limit: bool,
    checkpoint: str | None,
    overwrite: bool,
) -> None:
    """Generate new sounds with the model of the run folder RUN and write them to OUT/sound-001.wav etc.

    Each sound combines the low bands of one training recording with the high bands of another, and is stereo
    if either of them is. The level of a sound whose peak exceeds full scale is lowered to a peak of 0 dBFS.
    """
    from distill.storage.files import require_writable

    targets = [out / f"sound-{number:03}.wav" for number in range(1, count + 1)]
    require_writable(targets, overwrite=overwrite)

    from distill.audio.soundfiles import write_audio
    from distill.cli.display import say_written
    from distill.inference import load
    from distill.storage.run import Run

    model = load(Run(run), checkpoint=checkpoint)
    sounds = model.iter_generate(count, seed=seed, temperature=temperature, seconds=seconds)
    for target, sound in zip(targets, sounds, strict=True):
        say_written(write_audio(target, sound, model.sample_rate, limit=not no_limit))
