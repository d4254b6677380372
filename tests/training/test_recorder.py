"""Tests of distill.training.recorder: what a training leaves on disk for programs and for TensorBoard."""

import json
import math
import resource
import signal
import struct
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import attrs
import pytest
from tensorboardX.proto.event_pb2 import Event

from distill.errors import RunError
from distill.storage.run import Run
from distill.training.recorder import Recorder
from distill.training.trainer import Record

TRAIN = Record(
    step=1,
    split="train",
    seconds=0.5,
    components={"total": 2.0, "stft": 1.5, "stft/convergence": 0.5},
    weights={"stft": 0.25},
    progress=0.1,
    audio_rate=20.0,
)
HELDOUT = attrs.evolve(TRAIN, split="heldout", audio_rate=0.0)


@pytest.fixture
def run(tmp_path):
    """Return a run folder."""
    return Run(tmp_path)


@pytest.fixture
def begin(run):
    """Begin a recorder, and keep its warnings."""

    def begin(resumed_at=None):
        warnings = []
        recorder = Recorder(run, resumed_at=resumed_at, warn=warnings.append)
        recorder.warnings = warnings
        return recorder

    return begin


@contextmanager
def no_room_beyond(size):
    """Let no file grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def lines(run):
    """Read the records back as any program would."""
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def events(run):
    """Read the event files: lengths of 8 bytes and checksums of 4 around each event (TFRecord)."""
    found = []
    for path in sorted(run.tensorboard.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event()
            event.ParseFromString(data[12 : 12 + length])
            found.append(event)
            data = data[16 + length :]
    return found


def scalars(run):
    """Return step and value of every scalar by its tag."""
    return {
        value.tag: (event.step, value.simple_value) for event in events(run) for value in event.summary.value
    }


def test_a_record_is_one_line_of_json(run, begin):
    """Its keys are those the design promises, its values what was measured."""
    recorder = begin()
    recorder.write(TRAIN)
    assert lines(run) == [attrs.asdict(TRAIN)]  # at once, not only at the end
    recorder.write(HELDOUT)
    assert [line["split"] for line in lines(run)] == ["train", "heldout"]
    assert set(lines(run)[0]) >= {"step", "split", "seconds", "components", "weights"}


def test_records_go_to_tensorboard_at_once(run, begin):
    """Components by split, weights and speed once; no thread writes them later."""
    threads = threading.active_count()
    recorder = begin()
    recorder.write(TRAIN)
    recorder.write(attrs.evolve(HELDOUT, step=2, components={"total": 3.0}))
    assert scalars(run) == {
        "train/total": (1, 2.0),
        "train/stft": (1, 1.5),
        "train/stft/convergence": (1, 0.5),
        "speed/seconds_of_audio_per_second": (1, 20.0),
        "weight/stft": (1, 0.25),
        "heldout/total": (2, 3.0),
    }
    assert (threading.active_count(), recorder.warnings) == (threads, [])


@pytest.mark.parametrize("resumed_at", [0, 2])
def test_a_resumed_training_forgets_what_it_takes_again(run, begin, resumed_at):
    """Records after the step go from both: from the lines, and by TensorBoard's own mark in the events."""
    recorder = begin()
    for step in (1, 2, 3):
        recorder.write(attrs.evolve(TRAIN, step=step))
    begin(resumed_at).write(attrs.evolve(TRAIN, step=9))
    assert [line["step"] for line in lines(run)] == [*range(1, resumed_at + 1), 9]
    starts = [event.step for event in events(run) if event.session_log.status == event.session_log.START]
    assert starts == [resumed_at + 1]


def test_later_events_are_read_later(run, begin, monkeypatch):
    """TensorBoard reads files in the order of their names, and a clock may be set back."""
    paths = []
    for now in (2000.0, 2000.0, 1000.0):
        monkeypatch.setattr("distill.training.events.time", SimpleNamespace(time=lambda now=now: now))
        paths.append(begin().events.path)
    assert paths == sorted(run.tensorboard.iterdir())


def test_events_that_cannot_be_written_stop_nothing(run, begin):
    """One warning with the reason, and the metrics go on; events that were written stay whole."""
    recorder = begin()
    recorder.write(TRAIN)
    before = recorder.events.path.stat().st_size
    with no_room_beyond(before + 10):
        recorder.events.add_scalars(2, {"train/total": 1.0})
        recorder.events.add_scalars(3, {"train/total": 1.0})
    recorder.write(attrs.evolve(TRAIN, step=4))
    assert recorder.warnings == [
        (
            f"{run.tensorboard}: TensorBoard's events cannot be written: File too large\n"
            "The training goes on without them; metrics.jsonl has the same values."
        )
    ]
    assert [line["step"] for line in lines(run)] == [1, 4]
    assert scalars(run)["train/total"] == (1, 2.0)


def test_a_file_in_the_place_of_the_events_stops_nothing(run, begin):
    """It stays as it is."""
    run.tensorboard.write_text("mine")
    recorder = begin()
    recorder.write(TRAIN)
    assert recorder.warnings == [
        (
            f"{run.tensorboard}: TensorBoard's events cannot be written: File exists\n"
            "The training goes on without them; metrics.jsonl has the same values."
        )
    ]
    assert (len(lines(run)), run.tensorboard.read_text()) == (1, "mine")


def test_metrics_that_cannot_be_written_are_said(run, begin):
    """The whole message; the records before stay whole, without a part of one."""
    recorder = begin()
    recorder.write(TRAIN)
    with no_room_beyond(run.metrics.stat().st_size + 10), pytest.raises(RunError) as caught:
        recorder.write(HELDOUT)
    assert str(caught.value) == (
        f"{run.metrics}: cannot be written: File too large\nRaise the limit on the size of files (ulimit -f)."
    )
    assert lines(run) == [attrs.asdict(TRAIN)]


def test_a_run_folder_that_is_removed_is_made_again(tmp_path):
    """The training has lost what was there, but not what comes."""
    run = Run(tmp_path / "run")
    recorder = Recorder(run, resumed_at=None, warn=pytest.fail)
    recorder.write(TRAIN)
    for path in (*run.tensorboard.iterdir(), run.tensorboard, run.metrics, run.folder):
        path.rmdir() if path.is_dir() else path.unlink()
    recorder.write(HELDOUT)
    assert (len(lines(run)), len(events(run))) == (1, 1)


def test_what_is_not_finite_is_no_number_of_json(begin, run):
    """It is null for programs, after a resume as well, and TensorBoard is not given it."""
    bad = attrs.evolve(TRAIN, components={"total": 2.0, "stft": math.nan, "kl": -math.inf})
    begin().write(bad)
    begin(resumed_at=1).write(attrs.evolve(HELDOUT, components={"total": math.inf}))
    text = run.metrics.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert [each["components"] for each in lines(run)] == [
        {"total": 2.0, "stft": None, "kl": None},
        {"total": None},
    ]
    tags = [value.tag for event in events(run) for value in event.summary.value]
    assert tags == ["train/total", "speed/seconds_of_audio_per_second", "weight/stft"]
