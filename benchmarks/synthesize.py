"""Write sounds of `benchmarks/synthetic` to WAV files for listening.

Run: python benchmarks/synthesize.py OUT [-n 20] [--seed 0] [--family NAME]
"""

from pathlib import Path

import click
import numpy as np
import soundfile
from synthetic import FAMILIES, make_sound, make_sound_of

SAMPLE_RATE = 44_100


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("-n", "count", default=20, show_default=True, help="Number of sounds.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first one.")
@click.option("--family", type=click.Choice(sorted(FAMILIES)), help="Of one family; of all without it.")
def main(out: Path, count: int, seed: int, family: str | None) -> None:
    """Write sounds to OUT/SEED.wav."""
    out.mkdir(parents=True, exist_ok=True)
    for i in range(seed, seed + count):
        if family is None:
            sound = make_sound(i, SAMPLE_RATE)
        else:
            sound = make_sound_of(FAMILIES[family], np.random.default_rng(i), SAMPLE_RATE)
        soundfile.write(out / f"{i:06d}.wav", sound, SAMPLE_RATE)


if __name__ == "__main__":
    main()
