"""Tests of distill.storage.metrics: records are kept, whatever else a file holds."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import RunError
from distill.storage.metrics import read_metrics, rewind_metrics

NO_RECORDS = [
    b"x",
    b"{",
    b"\xff",
    b"3",
    b"null",
    b"[1]",
    b"{}",
    b'{"step": "x"}',
    b'{"step": true}',
    b'{"step": -1}',
    b'{"step": 1.5}',
    b'{"step": 1e999}',
    b'{"step": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"step": 1}{"step": 2}',
    b'{"step": 1, "components": 5}',
    b'{"step": 1, "weights": [1.0]}',
    b'{"step": 1, "gradients": "x"}',
    b"\x00" * 50,
]


def line(step, split="train"):
    """Return the line of a record."""
    return f'{{"step": {step}, "split": "{split}"}}\n'.encode()


def record(step, split="train"):
    """Return the part of a record that matters here."""
    return {"step": step, "split": split}


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["record", "blank", *range(len(NO_RECORDS))]), max_size=6),
    cut=st.integers(0, 3),
)
def test_no_record_is_lost_to_other_lines(kinds, cut, tmp_path_factory):
    """Each record is kept, whatever stands between them, and the file as it was is copied."""
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    known = {"record": None, "blank": b"\n"}
    lines = [
        line(number) if kind == "record" else known.get(kind) or NO_RECORDS[kind] + b"\n"
        for number, kind in enumerate(kinds)
    ]
    content = b"".join(lines) + line(99)[:cut]
    path.write_bytes(content)
    damaged = [number for number, kind in enumerate(kinds, 1) if isinstance(kind, int)]
    expected = tuple(record(number) for number, kind in enumerate(kinds) if kind == "record")
    metrics = read_metrics(path)
    assert (metrics.records, metrics.damaged) == (expected, tuple(damaged))
    copy = rewind_metrics(path, {}, 50)
    assert (copy is not None) == bool(damaged)
    assert copy is None or copy.read_bytes() == content
    assert read_metrics(path).records == expected
    assert read_metrics(path).damaged == ()


@pytest.mark.parametrize("end", [b" ", b"\r", b"\t \r"])
def test_blanks_at_the_end_are_no_record(tmp_path, end):
    """Blanks at the end, as an editor of another system leaves them, are no record; fuzzing found this."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line(1) + end)
    metrics = read_metrics(path)
    assert (metrics.records, metrics.damaged) == ((record(1),), ())


def test_copies_do_not_replace_each_other(tmp_path):
    """Each copy has a name of its own."""
    path = tmp_path / "metrics.jsonl"
    for name in ("metrics-damaged.jsonl", "metrics-damaged-2.jsonl"):
        path.write_bytes(b"x\n")
        assert rewind_metrics(path, {}, 1) == tmp_path / name


def test_each_split_has_its_last_step(tmp_path):
    """Each split loses the records after its last step, and lost records come back in order."""
    path = tmp_path / "metrics.jsonl"
    steps = (1, 2, 3)
    path.write_bytes(b"".join(line(step, split) for split in ("train", "heldout", "own") for step in steps))
    assert rewind_metrics(path, {"train": 1, "heldout": 3}, 2, [record(2), record(1)]) is None
    assert list(read_metrics(path).records) == [
        *(record(1), record(1, "heldout"), record(1, "own"), record(2)),
        *(record(2, "heldout"), record(2, "own"), record(3, "heldout")),
    ]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_something_else_in_its_place_is_said(make, tmp_path):
    """A folder or a pipe in the place of the metrics is an error at once, without waiting."""
    path = tmp_path / "metrics.jsonl"
    make(path)
    with pytest.raises(RunError) as caught:
        rewind_metrics(path, {}, 1)
    assert str(caught.value) == (
        f"{path}: is not an ordinary file\nRemove it, or restore the file from a copy."
    )


def test_no_file_has_no_records(tmp_path):
    """A missing file has no records, and is created only when there is one to write."""
    path = tmp_path / "metrics.jsonl"
    assert rewind_metrics(path, {}, 1) is None
    assert not path.exists()
    assert rewind_metrics(path, {}, 1, [record(1)]) is None
    assert list(read_metrics(path).records) == [record(1)]
