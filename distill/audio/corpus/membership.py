"""The list of a run's training and held-out recordings: `split.json` in its folder."""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import attrs
from attrs import frozen

from distill.audio.corpus import Corpus, Recording, Stream
from distill.config import structure
from distill.errors import ConfigError, RunError
from distill.storage.files import write_text


@frozen
class Member:
    """A recording, identified by its name in the corpus and the digest of its samples.

    The digest is that of `Recording`. It does not change if files are moved, renamed or converted without
    loss. A member of a sharded corpus is a shard, with an empty digest.
    """

    name: str
    digest: str

    @property
    def key(self) -> str:
        """A key that is equal for equal recordings."""
        return self.digest or self.name


@frozen(kw_only=True)
class Membership:
    """The training and held-out recordings of `corpus`, in the order in which clips are drawn from them.

    `former` are recordings that the run was trained on and that have left the corpus since.
    """

    corpus: str
    sharded: bool
    train: tuple[Member, ...]
    heldout: tuple[Member, ...]
    former: tuple[Member, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus) -> "Membership":
        """Return the membership of a corpus. For a sharded corpus, it lists shards."""
        if isinstance(corpus.train, Stream):
            manifest = corpus.train.manifest
            train, heldout = (
                tuple(Member(shard.name, "") for shard in shards)
                for shards in (manifest.train, manifest.heldout)
            )
        else:
            train, heldout = _members(corpus.train.recordings), _members(corpus.heldout.recordings)
        sharded = isinstance(corpus.train, Stream)
        return cls(corpus=str(corpus.folder), sharded=sharded, train=train, heldout=heldout)

    @classmethod
    def read(cls, path: Path, *, edited: bool = False) -> "Membership":
        """Read a `split.json`. An edited file is read only if `edited` is set.

        Raises:
            RunError: the file is missing, damaged or edited.
        """
        remedy = "Use recordings that it was not trained on: distill evaluate RUN CORPUS"
        try:
            tree = json.loads(path.read_bytes())
            digest = tree.pop("digest", None) if isinstance(tree, dict) else None
            membership = structure(tree, cls)
        except FileNotFoundError as error:
            problem = "there is no record of which recordings the run trained on, and which it held out"
            raise RunError(problem, culprit=str(path), remedy=remedy) from error
        except PermissionError as error:
            problem = f"the record of which recordings the run trained on cannot be read: {error.strerror}"
            raise RunError(problem, culprit=str(path), remedy="Make sure that you may read it.") from error
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            problem = "the record of which recordings the run trained on is damaged"
            raise RunError(problem, culprit=str(path), remedy=remedy) from error
        if digest not in (None, membership.digest) and not edited:  # Distill 0.2.0 wrote none
            raise RunError(
                "the record of which recordings the run trained on has changed since it was written",
                culprit=str(path),
                remedy='Restore it from a copy, or remove "digest" from it if you have edited it.',
            )
        return membership

    def write(self, path: Path) -> None:
        """Write the membership as JSON, atomically.

        Raises:
            RunError: the file cannot be written.
        """
        write_text(path, json.dumps(attrs.asdict(self) | {"digest": self.digest}, indent=1) + "\n")

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, which is written with it, so that a changed byte is found."""
        return hashlib.sha256(json.dumps(attrs.asdict(self), sort_keys=True).encode()).hexdigest()

    def after(self, earlier: "Membership") -> "Membership":
        """Return the membership of a resumed run, which remembers what the earlier run was trained on."""
        now = {each.key for each in self.train}
        gone = {each.key: each for each in (*earlier.former, *earlier.train) if each.key not in now}
        return attrs.evolve(
            self,
            heldout=tuple(each for each in self.heldout if each.key not in gone),
            former=tuple(gone.values()),
        )

    def trained_on(self, digest: str) -> bool | None:
        """Return whether a recording with this digest was trained on, or None if unknown."""
        if self.sharded or not digest:
            return None
        return digest in self._trained_on

    def held_out(self, digest: str) -> bool:
        """Return whether a recording with this digest was held out."""
        return digest in self._held_out

    @cached_property
    def _trained_on(self) -> frozenset[str]:
        return frozenset(member.digest for member in (*self.train, *self.former))

    @cached_property
    def _held_out(self) -> frozenset[str]:
        return frozenset(member.digest for member in self.heldout)


def _members(recordings: Iterable[Recording]) -> tuple[Member, ...]:
    return tuple(Member(recording.name, recording.digest) for recording in recordings)
