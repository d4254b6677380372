"""`distill shard`: write a folder of recordings to shards, for a corpus that is larger than a disk."""

from pathlib import Path

import click

from distill.cli.options import Number, Place

_HIGHEST_RATE = 655_350
"""The limit of FLAC, in Hz."""

_LONGEST = 1440.0
"""The most minutes of a shard, which is held in memory."""


@click.command(short_help="Write recordings to shards for streaming.")
@click.argument("corpus", type=Place())
@click.argument("out", type=Place())
@click.option(
    "--rate",
    default=44_100,
    show_default=True,
    type=click.IntRange(1000, _HIGHEST_RATE),
    help="Sample rate in Hz.",
)
@click.option(
    "--heldout",
    default=0.01,
    show_default=True,
    type=Number(0, 1, max_open=True),
    help="Share of the recordings to hold out.",
)
@click.option(
    "--minutes",
    default=10.0,
    show_default=True,
    type=Number(0, _LONGEST, min_open=True),
    help="Minutes of audio in a shard, summed over channels.",
)
@click.option(
    "--full-scale",
    default=1.0,
    show_default=True,
    type=Number(0, 2**32, min_open=True),
    help="Value of full scale in recordings of floats; 32768 if they are scaled to 16-bit integers.",
)
def shard(corpus: Path, out: Path, *, rate: int, heldout: float, minutes: float, full_scale: float) -> None:
    """Decode the recordings in the folder CORPUS once, and write them to shards in the folder OUT.

    `distill train OUT` streams the shards. OUT may also be a URL, after copying the folder to a server.
    """
    from rich.console import Console

    from distill.audio.corpus import write_shards
    from distill.audio.corpus.levels import Remark
    from distill.audio.corpus.scanning import grouped
    from distill.cli.display import corpus_progress, say
    from distill.config.words import counted, duration_in_words
    from distill.storage.memory import in_words

    console, remarks = Console(), list[Remark]()
    with corpus_progress(console) as on_progress:
        manifest, skipped = write_shards(
            corpus,
            out,
            sample_rate=rate,
            heldout_fraction=heldout,
            minutes=minutes,
            full_scale=full_scale,
            on_progress=on_progress,
            on_remark=remarks.append,
        )
    for remark in sorted(remarks, key=lambda remark: remark.path):
        say(console, f"note: {remark.path}: {remark.text}")
    for each in grouped(skipped):
        say(console, f"skipped: {each.path}: {each.reason}")
    for split, shards in (("to train on", manifest.train), ("held out", manifest.heldout)):
        seconds = sum(each.frames for each in shards) / rate
        extent = f"{duration_in_words(seconds, digits=1)}, {in_words(sum(each.bytes for each in shards))}"
        say(console, f"{counted(len(shards), 'shard')} {split}: {extent}")
