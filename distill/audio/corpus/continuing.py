"""The corpus of a resumed run: the recordings that it was trained with, also where they have moved."""

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import attrs
from attrs import frozen

from distill.audio.corpus.cache import Recording
from distill.audio.corpus.membership import Member, Membership
from distill.audio.corpus.opening import Corpus
from distill.audio.corpus.splitting import split_recordings
from distill.audio.corpus.stream import Stream
from distill.errors import shortened


@frozen(kw_only=True)
class Digests:
    """Digests of the recordings of a corpus, in any order and by any name, and of their split, in order.

    `shapes` also covers their lengths and channels: the same samples sound different at another rate. For
    a sharded corpus, all are digests of its list of shards.
    """

    recordings: str
    split: str
    shapes: str

    @classmethod
    def of(cls, corpus: Corpus) -> "Digests":
        """Return the digests of a corpus."""
        if isinstance(corpus.train, Stream):
            manifest = corpus.train.manifest
            shapes = [list(attrs.astuple(s)) for s in (*manifest.train, *manifest.heldout)]
            parts = [
                [list(attrs.astuple(s)) for s in shards] for shards in (manifest.train, manifest.heldout)
            ]
        else:
            shapes = [[each.digest, each.samples, each.channels] for each in _all_recordings(corpus)]
            parts = [[[each.digest] for each in split.recordings] for split in (corpus.train, corpus.heldout)]
        return cls(
            recordings=_digest(sorted([*parts[0], *parts[1]])),
            split=_digest(parts),
            shapes=_digest(sorted(shapes)),
        )

    def difference(self, recorded: Mapping[str, str]) -> str:
        """Return how a corpus differs from one with recorded digests, or an empty string.

        A checkpoint of Distill 0.2.0 or of a development version lacks some of them.
        """
        now = attrs.asdict(self)
        differing = {name for name, digest in now.items() if recorded.get(name, digest) != digest}
        if differing == {"shapes"}:
            return (
                "recordings have another sample rate or number of channels, with the same samples, than when "
                "the run was trained"
            )
        if differing:
            return "the recordings or their split are not those that the run was trained with"
        return ""


@frozen(kw_only=True)
class Changes:
    """The names of recordings that are new, and of those that are missing, of which some were held out."""

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    missing_heldout: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.missing_heldout)

    def __str__(self) -> str:
        parts = {
            "missing": self.missing,
            "missing that were held out": self.missing_heldout,
            "new": self.added,
        }
        return "; ".join(f"{len(names)} {what}: {shortened(names)}" for what, names in parts.items() if names)


def as_recorded(corpus: Corpus, recorded: Membership, heldout_fraction: float) -> tuple[Corpus, Changes]:
    """Return a corpus in the order and split of a record, and what has changed since.

    Recordings are found by the digests of their samples, so that they may have been moved and renamed. If
    others are there by now, recordings that were held out and their copies stay held out, those that were
    trained on stay trained on, and the rest is split as in a new run.
    """
    if isinstance(corpus.train, Stream):
        return corpus, _changed_shards(corpus, recorded)
    found, rest = _find([*recorded.train, *recorded.heldout], _all_recordings(corpus))
    heldout_digests = {member.digest for member in recorded.heldout}
    train_digests = {member.digest for member in (*recorded.train, *recorded.former)} - heldout_digests
    new = [each for each in rest if each.digest not in heldout_digests | train_digests]
    new_train, new_heldout = split_recordings(new, heldout_fraction)
    train = [*_present(found, recorded.train), *(r for r in rest if r.digest in train_digests), *new_train]
    heldout = [*_present(found, recorded.heldout), *(r for r in rest if r.digest in heldout_digests)]
    return (
        attrs.evolve(
            corpus,
            train=corpus.train.with_recordings(train),
            heldout=corpus.heldout.with_recordings([*heldout, *new_heldout]),
        ),
        Changes(
            added=tuple(each.name for each in rest),
            missing=tuple(each.name for each in recorded.train if each not in found),
            missing_heldout=tuple(each.name for each in recorded.heldout if each not in found),
        ),
    )


def _all_recordings(corpus: Corpus) -> list[Recording]:
    recordings = (*corpus.train.recordings, *corpus.heldout.recordings)
    return sorted(recordings, key=lambda each: each.offset)


def _find(
    members: Sequence[Member], recordings: Iterable[Recording]
) -> tuple[dict[Member, Recording], list[Recording]]:
    """Return the recordings of members, those of the same name first, and the other recordings."""
    by_name = {(each.digest, each.name): each for each in recordings}
    found = {m: by_name.pop((m.digest, m.name)) for m in members if (m.digest, m.name) in by_name}
    by_digest: defaultdict[str, deque[Recording]] = defaultdict(deque)
    for each in by_name.values():
        by_digest[each.digest].append(each)
    for member in members:
        if member not in found and by_digest[member.digest]:
            found[member] = by_digest[member.digest].popleft()
    return found, [each for left in by_digest.values() for each in left]


def _present(found: dict[Member, Recording], members: Iterable[Member]) -> list[Recording]:
    return [found[each] for each in members if each in found]


def _changed_shards(corpus: Corpus, recorded: Membership) -> Changes:
    now = Membership.of(corpus)
    names = {each.name for each in (*now.train, *now.heldout)}
    before = {each.name for each in (*recorded.train, *recorded.heldout)}
    return Changes(
        added=tuple(sorted(names - before)),
        missing=tuple(each.name for each in recorded.train if each.name not in names),
        missing_heldout=tuple(each.name for each in recorded.heldout if each.name not in names),
    )


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
