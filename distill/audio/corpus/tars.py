"""Reading of tar files as streams of groups of members. Nothing is written to a disk or decompressed."""

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, cast

from distill.audio.corpus.fetching import Readable


def groups(stream: Readable, most: int) -> Iterator[dict[str, bytes]]:
    """Yield the contents of consecutive members that differ only in their suffix, by suffix.

    The suffix begins after the first dot: `a-1.flac` and `a-1.name` are a group of `flac` and `name`.

    Args:
        stream: an uncompressed tar file.
        most: the largest size of a member in bytes.

    Raises:
        tarfile.TarError: it is no uncompressed tar file, or is truncated.
        ValueError: a member is not an ordinary file, or is larger than `most`.
    """
    group: dict[str, bytes] = {}
    of = None
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # otherwise all are kept
            if not member.isreg() or member.issparse() or member.size > most:
                raise ValueError(f"{member.name!r} is not an ordinary file of at most {most} bytes")
            path = PurePosixPath(member.name)
            stem, _, suffix = path.name.partition(".")
            if (path.parent, stem) != of:
                if group:
                    yield group
                group, of = {}, (path.parent, stem)
            file = tar.extractfile(member)
            group[suffix] = b"" if file is None else file.read()
    if group:
        yield group
