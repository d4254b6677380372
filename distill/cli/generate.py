"""`distill generate`: new sounds from a trained model's latent space."""

from pathlib import Path

import click

from distill.cli.options import overwrite_option


@click.command(short_help="Make new sounds with a model.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(min=1), default=8, show_default=True, help="Sounds to make.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Other seed, other sounds."
)
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True,
    help="How far to wander from the recordings; 0 only mixes them.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(min=0.05, max=600), help="Length; by default that of what is mixed."
)
@click.option(
    "--no-limit",
    is_flag=True,
    help="Keep peaks above full scale, as 32-bit float, instead of turning such a sound down.",
)
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
    overwrite: bool,
) -> None:
    """Make new sounds with the model of the run folder RUN, to OUT/sound-001.wav and so on.

    Each has low bands of one and high bands of another of the recordings that the model was trained on, and
    is stereo where one of them is. A sound whose peak is above full scale is turned down as a whole, to a
    peak of 0 dBFS.
    """
    from distill.storage.files import require_writable

    targets = [out / f"sound-{number:03}.wav" for number in range(1, count + 1)]
    require_writable(targets, overwrite=overwrite)

    from distill.audio.soundfiles import write_audio
    from distill.cli.display import say_written
    from distill.inference import load
    from distill.storage.run import Run

    model = load(Run(run))
    sounds = model.iter_generate(count, seed=seed, temperature=temperature, seconds=seconds)
    for target, sound in zip(targets, sounds, strict=True):
        say_written(write_audio(target, sound, model.sample_rate, limit=not no_limit))
