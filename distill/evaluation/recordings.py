"""The recordings on which a model is evaluated, and whether the model was trained on them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from attrs import field, frozen
from torch import Tensor

from distill.arguments import is_url
from distill.audio.corpus import (
    Corpus,
    NamedArray,
    Recording,
    Skipped,
    Split,
    Stream,
    is_sharded,
    open_arrays,
    open_corpus,
    open_heldout,
    write_demo_corpus,
)
from distill.audio.corpus.levels import Remark
from distill.audio.corpus.membership import Membership
from distill.config import structure
from distill.config.settings import ARRAYS, CorpusSettings
from distill.errors import CorpusError, RunError, UnaskedError
from distill.storage.run import Run

_LONGEST_SECONDS = 60
_OTHERS = "Use recordings that it was not trained on: distill evaluate RUN CORPUS"
_OTHERS_OR_ARRAYS = "Use recordings: distill evaluate RUN CORPUS, or the arrays again in Python."


@frozen(kw_only=True)
class Measured:
    """The `count` recordings to evaluate.

    `trained_on` says by name whether the model was trained on a recording, None if unknown. `absent` is the
    number of held-out recordings of the run that are not in the corpus, and `remarks` are on recordings whose
    level or length is unusual.
    """

    sources: Iterable[tuple[Split | Stream, Recording]]
    count: int
    trained_on: Mapping[str, bool | None] = field(factory=dict)
    skipped: tuple[Skipped, ...] = ()
    absent: int = 0
    remarks: tuple[Remark, ...] = ()

    def recordings(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and the waveform `[C, N]` of each recording, cut to the first minute."""
        for recording, read in self.entries():
            yield recording.name, read()

    def entries(self) -> Iterator[tuple[Recording, Callable[[], Tensor]]]:
        """Yield each recording and a function that reads its waveform `[C, N]`, cut to the first minute."""
        for split, recording in self.sources:
            stop = _LONGEST_SECONDS * split.sample_rate
            yield recording, partial(split.read, recording, stop=stop)


def open_measured(
    run: Run | None,
    corpus: str | Iterable[NamedArray] | None,
    *,
    heldout: bool,
    sample_rate: int,
    cache: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Open a corpus, by default that of the run; with `heldout`, only the recordings that the run held out.

    For a sharded corpus, the held-out shards are opened. Recordings are identified by the digests of their
    samples, independent of their paths. For a model without a run, such as the base model, it is unknown what
    it was trained on. `on_progress` is called with the number of files decoded and their total.

    Raises:
        RunError: the run does not record what it held out, or held out nothing.
        CorpusError: the corpus does not exist, or holds none of the recordings to measure.
        InputError: the corpus is neither a path nor arrays.
    """
    membership = _membership(run, heldout=heldout)
    location = corpus_location_of(run, cache) if corpus is None else corpus
    if isinstance(location, str) and is_sharded(location):
        return _held_out_shards(location, membership if heldout else None, sample_rate)
    # Another corpus than that of the run has a full scale of its own.
    full_scale = 1.0
    if run is not None and (corpus is None or heldout):
        full_scale = corpus_settings(run).full_scale
    opened = _open_whole(location, sample_rate, cache, full_scale, on_progress)
    recordings, absent = opened.train.recordings, 0
    if heldout and membership is not None:
        recordings = tuple(each for each in recordings if membership.held_out(each.digest))
        wanted = {member.digest for member in membership.heldout}
        absent = len(wanted - {each.digest for each in recordings})
    if not recordings:
        raise CorpusError(
            f"holds none of the recordings that the run held out, {absent} in all",
            culprit=str(opened.folder),
            remedy="Pass the folder where they are: distill evaluate RUN CORPUS --heldout",
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
        remarks=tuple(each for each in opened.remarks if each.path in trained_on),
    )


def _membership(run: Run | None, *, heldout: bool) -> Membership | None:
    """Return what a run trained on and held out, or None if that is unknown and not needed."""
    if run is None:
        if heldout:
            raise RunError("the base model held out no recordings", remedy="Use recordings to measure.")
        return None
    membership = Membership.read(run.split) if heldout or run.split.exists() else None
    if heldout and membership is not None and not membership.heldout:
        raise RunError("the run held out no recordings", culprit=str(run.folder), remedy=_OTHERS)
    return membership


def _held_out_shards(location: str, wanted: Membership | None, sample_rate: int) -> Measured:
    if wanted is not None and not wanted.sharded:
        raise CorpusError(
            "it is not known which recordings of these shards the run held out",
            culprit=location,
            remedy="Use the recordings themselves.",
        )
    shards = open_heldout(location.rstrip("/"), sample_rate=sample_rate)
    return Measured(
        sources=((split, recording) for split in shards for recording in split.recordings),
        count=sum(shard.pieces for shard in shards.manifest.heldout),
    )


def _open_whole(
    location: str | Iterable[NamedArray],
    sample_rate: int,
    cache: Path,
    full_scale: float,
    on_progress: Callable[[int, int], None] | None,
) -> Corpus:
    if not isinstance(location, str):
        return open_arrays(location, sample_rate=sample_rate, heldout_fraction=0.0, full_scale=full_scale)
    return open_corpus(
        Path(location),
        sample_rate=sample_rate,
        cache=cache / "decoded",
        heldout_fraction=0.0,
        full_scale=full_scale,
        on_progress=on_progress,
    )


def corpus_of(run: Run) -> str | None:
    """Return the path or URL of a run's corpus, or None for the demo corpus.

    Raises:
        RunError: the folder is not a run.
        ConfigError: the run's recipe is not valid.
    """
    return corpus_settings(run).path


def corpus_settings(run: Run) -> CorpusSettings:
    """Return the options of a run's corpus.

    Raises:
        RunError: the folder is not a run.
        ConfigError: the run's recipe is not valid.
    """
    return structure(run.read_recipe().get("corpus", {}), CorpusSettings, at="corpus")


def corpus_location_of(run: Run | None, cache: Path) -> str:
    """Return the path or URL of a run's corpus. The demo corpus is written to the cache.

    Raises:
        CorpusError: the corpus is not there, or was given as arrays.
        UnaskedError: it is at a URL.
    """
    location = None if run is None else corpus_of(run)
    if location is None:
        return str(write_demo_corpus(cache / "demo"))
    if location == ARRAYS:
        raise CorpusError(
            "the corpus of the run was given as arrays, in Python, and is missing",
            culprit=str(run.folder) if run else "",
            remedy=_OTHERS_OR_ARRAYS,
        )
    if is_url(location):
        raise UnaskedError(
            location,
            culprit=str(run.folder) if run else "",
            remedy=f"If you trust it, pass it yourself: distill evaluate RUN {location}",
        )
    if not is_sharded(location) and not Path(location).exists():
        raise CorpusError(
            "the corpus of the run is no longer there",
            culprit=location,
            remedy="Pass the folder where it is now: distill evaluate RUN CORPUS",
        )
    return location
