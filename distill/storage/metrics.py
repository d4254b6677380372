"""The records of a training run, one JSON object per line, in `metrics.jsonl`. Imports no torch."""

import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.errors import RunError
from distill.storage.files import write_whole

WITH_GRADIENTS = 2**18
"""Bytes at the end of a file in which there are gradients: every 15th record or so has some."""

_TRAIN = "train"

_TABLES = ("components", "weights", "gradients")
"""What is a table in a record, or is not there."""


@frozen(kw_only=True)
class Metrics:
    """The records of a file, and the numbers of the lines that hold none.

    A last line without a line break was cut short by a kill, and does not count.
    """

    records: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...]


def read_metrics(path: Path) -> Metrics:
    """Read the records of a file. A missing file has none, and blank lines are no records.

    Raises:
        RunError: the file cannot be read, or is something else than a file.
    """
    if path.exists() and not path.is_file():
        remedy = "Remove it, or restore the file from a copy."
        raise RunError("is not an ordinary file", culprit=str(path), remedy=remedy)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Metrics(records=(), damaged=())
    except OSError as error:
        remedy = "Make sure that it is a file that you may read."
        raise RunError(f"cannot be read: {error.strerror}", culprit=str(path), remedy=remedy) from error
    return _metrics_in(content)


def recent_metrics(path: Path, *, tail: int = 65_536) -> Metrics:
    """Read the records in the last `tail` bytes of a file, whose lines are numbered from there on.

    A file that is missing has none. So has a pipe, which would be waited for.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        ordinary = stat.S_IFMT(path.stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    except FileNotFoundError:
        ordinary = False
    if not ordinary:  # a folder is an `OSError` below
        return Metrics(records=(), damaged=())
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - tail))
        if size > tail:
            file.readline()  # the end of a line
        return _metrics_in(file.read())


def last_records(path: Path, *, tail: int = 65_536) -> dict[str, dict[str, Any]]:
    """Return the last record of each split, of those in the last `tail` bytes of a file.

    A file that cannot be read has none.
    """
    with suppress(OSError):
        return {str(record.get("split")): record for record in recent_metrics(path, tail=tail).records}
    return {}


def rewind_metrics(
    path: Path, reported: Mapping[str, int], step: int, records: Iterable[Mapping[str, Any]] = ()
) -> Path | None:
    """Drop the records that a run resumed at `step` writes again, and restore those that are lost.

    Nothing else is dropped: if lines are damaged, the file is copied first.

    Args:
        path: the file.
        reported: the last step of each split that the checkpoint has reported. Default: `step`.
        step: the step of the checkpoint.
        records: the last records that the checkpoint has reported, which may be missing in the file.

    Returns:
        The copy of a file with damaged lines, or None.

    Raises:
        RunError: the file cannot be read.
        OSError: the file cannot be written.
    """
    metrics = read_metrics(path)
    copy = None
    if metrics.damaged:
        copy = _free(path)
        write_whole(copy, path.read_bytes())
    kept = [each for each in metrics.records if each["step"] <= reported.get(str(each.get("split")), step)]
    there = {_key(each) for each in kept}
    lost = [dict(each) for each in records if _key(each) not in there]
    if lost:
        kept = sorted([*kept, *lost], key=lambda each: (each["step"], each.get("split") != _TRAIN))
    if copy is not None or lost or path.exists():
        write_whole(path, "".join(map(line_of, kept)).encode())
    return copy


def line_of(record: Mapping[str, Any]) -> str:
    """Return the line of a record. JSON has no numbers that are not finite; they are null."""
    return json.dumps(_finite(dict(record)), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON data in which None replaces the numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _metrics_in(content: bytes) -> Metrics:
    lines = content.split(b"\n")
    parsed = {number: _parse(line) for number, line in enumerate(lines, 1) if line.strip()}
    if lines[-1].strip() and parsed[len(lines)] is None:
        del parsed[len(lines)]
    return Metrics(
        records=tuple(record for record in parsed.values() if record is not None),
        damaged=tuple(number for number, record in parsed.items() if record is None),
    )


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested too deeply
        return None
    if not isinstance(record, dict):
        return None
    step = record.get("step")
    tables = all(isinstance(record.get(name), dict | None) for name in _TABLES)
    return record if type(step) is int and step >= 0 and tables else None


def _key(record: Mapping[str, Any]) -> tuple[object, str]:
    return record["step"], str(record.get("split"))


def _free(path: Path) -> Path:
    """Return a path beside `path` that is free: `metrics-damaged.jsonl`, `metrics-damaged-2.jsonl`, ..."""
    number = 1
    while True:
        copy = path.with_name(f"{path.stem}-damaged{'' if number == 1 else f'-{number}'}{path.suffix}")
        if not copy.exists() and not copy.is_symlink():
            return copy
        number += 1
