"""The recordings that `distill evaluate` measures, and whether the model was trained on them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import field, frozen
from rich.console import Console
from torch import Tensor

from distill.audio.corpus import (
    Recording,
    Skipped,
    Split,
    Stream,
    is_sharded,
    open_corpus,
    open_heldout,
    write_demo_corpus,
)
from distill.audio.corpus.membership import Membership
from distill.cli.display import corpus_progress
from distill.errors import CorpusError, RunError
from distill.storage.run import Run
from distill.training.assembly import corpus_of

_LONGEST_SECONDS = 60
_OTHERS = "Give recordings that it was not trained on: distill evaluate RUN CORPUS"


@frozen(kw_only=True)
class Measured:
    """Recordings to be measured, `count` of them.

    `trained_on` tells by name whether the model was trained on a recording, None where that is not known.
    `absent` counts what the run held out and the corpus has not.
    """

    sources: Iterable[tuple[Split | Stream, Recording]]
    count: int
    trained_on: Mapping[str, bool | None] = field(factory=dict)
    skipped: tuple[Skipped, ...] = ()
    absent: int = 0

    def recordings(self) -> Iterator[tuple[str, Tensor]]:
        """Read the name and the waveform `[C, N]` of one after the other; of long ones the first minute."""
        for split, recording in self.sources:
            yield recording.name, split.read(recording)[:, : _LONGEST_SECONDS * split.sample_rate]


def open_measured(
    run: Run, corpus: str | None, *, heldout: bool, sample_rate: int, cache: Path, console: Console
) -> Measured:
    """Open a corpus, by default that of the run; with `heldout`, what the run held out of it.

    Of a sharded corpus the held-out shards are opened. Recordings are told apart by the digests of their
    samples, so that it does not matter where they are and what they are called.

    Raises:
        RunError: it is not known what the run held out, or that is nothing.
        CorpusError: the corpus is not there, or has nothing of what is to be measured.
    """
    membership = Membership.read(run.split) if heldout or run.split.exists() else None
    if heldout and membership is not None and not membership.heldout:
        raise RunError("the run held out no recordings", culprit=str(run.folder), remedy=_OTHERS)
    location = corpus or _corpus_of(run, cache)
    if is_sharded(location):
        if heldout and membership is not None and not membership.sharded:
            raise CorpusError(
                "it is not known which recordings of these shards the run held out",
                culprit=location,
                remedy="Give the recordings themselves.",
            )
        shards = open_heldout(location.rstrip("/"), sample_rate=sample_rate)
        return Measured(
            sources=((split, recording) for split in shards for recording in split.recordings),
            count=sum(shard.pieces for shard in shards.manifest.heldout),
        )
    with corpus_progress(console) as on_progress:
        opened = open_corpus(
            Path(location),
            sample_rate=sample_rate,
            cache=cache / "decoded",
            heldout_fraction=0.0,
            on_progress=on_progress,
        )
    recordings, absent = opened.train.recordings, 0
    if heldout and membership is not None:
        recordings = tuple(each for each in recordings if membership.held_out(each.digest))
        wanted = {member.digest for member in membership.heldout}
        absent = len(wanted - {each.digest for each in recordings})
    if not recordings:
        raise CorpusError(
            f"holds none of the recordings that the run held out, {absent} in all",
            culprit=location,
            remedy="Give the folder where they are: distill evaluate RUN CORPUS --heldout",
        )
    trained_on = {
        each.name: None if membership is None else membership.trained_on(each.digest) for each in recordings
    }
    return Measured(
        sources=[(opened.train, recording) for recording in recordings],
        count=len(recordings),
        trained_on=trained_on,
        skipped=opened.skipped,
        absent=absent,
    )


def _corpus_of(run: Run, cache: Path) -> str:
    """Return where the corpus of a run is; the demo corpus is written anew."""
    location = corpus_of(run)
    if location is None:
        return str(write_demo_corpus(cache / "demo"))
    if not is_sharded(location) and not Path(location).exists():
        raise CorpusError(
            "the corpus of the run is no longer there",
            culprit=location,
            remedy="Give the folder where it is now: distill evaluate RUN CORPUS",
        )
    return location
