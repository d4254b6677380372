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
from tensorboardX.record_writer import masked_crc32c

from distill.errors import RunError
from distill.storage.run import Run
from distill.training.record import Record
from distill.training.recorder import Recorder, Reported

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

    def begin(resumed=None):
        warnings = []
        recorder = Recorder(run, resumed=resumed, warn=lambda about, said: warnings.append((about, said)))
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


def framed(data):
    """Return a record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(each)) for each in (length, data)]
    return length + checksums[0] + data + checksums[1]


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
    """Each record is written once, by split, with weights and speed, and without a thread."""
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


def at(step, **fields):
    """Return what a checkpoint at a step has reported."""
    return Reported(**{"step": step, "train": step, "heldout": step, **fields})


def every_scalar(run):
    """Return step and tag of every scalar in the event files, with repetitions."""
    return sorted((event.step, value.tag) for event in events(run) for value in event.summary.value)


@pytest.mark.parametrize("step", [0, 2])
def test_a_resumed_training_forgets_what_it_takes_again(run, begin, step):
    """Records after the step go from both, so that each step is there once, whoever reads the files."""
    recorder = begin()
    for number in (1, 2, 3):
        recorder.write(attrs.evolve(TRAIN, step=number))
    times = {event.step: event.wall_time for event in events(run)}
    begin(at(step)).write(attrs.evolve(TRAIN, step=9))
    steps = [*range(1, step + 1), 9]
    assert [line["step"] for line in lines(run)] == steps
    assert [each for each in every_scalar(run) if each[1] == "train/total"] == [
        (number, "train/total") for number in steps
    ]
    assert len(every_scalar(run)) == 5 * len(steps)
    assert all(event.wall_time == times[event.step] for event in events(run) if 0 < event.step < 9)
    assert len([*run.tensorboard.iterdir()]) == 1


def test_what_the_checkpoint_has_not_reported_is_forgotten(run, begin):
    """Records that a checkpoint has yet to report are removed before a run goes on."""
    recorder = begin()
    for record in (TRAIN, HELDOUT):
        for number in (1, 2):
            recorder.write(attrs.evolve(record, step=number))
    begin(at(2, train=1))
    assert [(line["split"], line["step"]) for line in lines(run)] == [
        *(("train", 1), ("heldout", 1), ("heldout", 2)),
    ]
    begin(at(2, heldout=1))
    assert [(line["split"], line["step"]) for line in lines(run)] == [("train", 1), ("heldout", 1)]
    assert {step for step, tag in every_scalar(run) if tag.startswith("heldout")} == {1}


def test_records_that_were_lost_come_back(run, begin):
    """Lost records are restored from the checkpoint to the metrics and to the events."""
    begin().write(TRAIN)
    lost = attrs.evolve(HELDOUT, step=2)
    (path,) = run.tensorboard.iterdir()
    path.write_bytes(path.read_bytes()[:-20])  # what a power failure may leave
    begin(at(2, records=tuple(map(attrs.asdict, (TRAIN, lost)))))
    assert lines(run) == [attrs.asdict(TRAIN), attrs.asdict(lost)]
    assert {tag: step for step, tag in every_scalar(run)}.items() >= {
        "train/total": 1,
        "heldout/total": 2,
    }.items()


def test_events_of_others_are_left_alone(run, begin):
    """Events that are no scalars stay in their file, as does a file that is no event file."""
    begin().write(TRAIN)
    foreign = Event(step=1)
    foreign.summary.value.add(tag="picture").image.height = 3
    (run.tensorboard / "events.out.tfevents.1.other").write_bytes(framed(foreign.SerializeToString()))
    (run.tensorboard / "notes.txt").write_text("mine")
    begin(at(1))
    assert {path.name for path in run.tensorboard.iterdir()} > {"events.out.tfevents.1.other", "notes.txt"}
    assert len([*run.tensorboard.iterdir()]) == 3


def test_damaged_lines_are_kept_aside(run, begin):
    """Damaged lines are copied aside and the others stay; the warning names the copy."""
    for number in (1, 2):
        begin().write(attrs.evolve(TRAIN, step=number))
    first, second = run.metrics.read_bytes().splitlines(keepends=True)
    whole = first + b"x\n" + second
    run.metrics.write_bytes(whole)
    recorder = begin(at(2))
    copy = run.folder / "metrics-damaged.jsonl"
    assert recorder.warnings == [
        (
            "metrics",
            (
                f"{run.metrics}: some lines are not records of a training run. The file as it was is {copy}; "
                "the run goes on with the other lines."
            ),
        )
    ]
    assert (copy.read_bytes(), [line["step"] for line in lines(run)]) == (whole, [1, 2])


@pytest.mark.parametrize(
    ("state", "reported"),
    [
        (None, Reported(step=-1, train=-1, heldout=-1)),
        ({"step": 5}, at(5)),  # of Distill 0.2.0
        ({"step": 5, "window": {"first": 4}}, at(5, train=4)),
        (
            {"step": 5, "evaluation_due": True, "records": [{"step": 5}]},
            at(5, heldout=4, records=({"step": 5},)),
        ),
    ],
)
def test_a_checkpoint_says_what_it_has_reported(state, reported):
    """A checkpoint's state gives the last reported step of each split."""
    assert Reported.of(state) == reported


def test_later_events_are_read_later(run, begin, monkeypatch):
    """TensorBoard reads files in the order of their names, and a clock may be set back."""
    paths = []
    for now in (2000.0, 2000.0, 1000.0):
        monkeypatch.setattr("distill.training.events.time", SimpleNamespace(time=lambda now=now: now))
        paths.append(begin().events.path)
    assert paths == sorted(run.tensorboard.iterdir())


def test_events_that_cannot_be_written_stop_nothing(run, begin):
    """One warning gives the reason; the metrics go on, and earlier events stay whole."""
    recorder = begin()
    recorder.write(TRAIN)
    before = recorder.events.path.stat().st_size
    with no_room_beyond(before + 10):
        recorder.events.add_scalars(2, {"train/total": 1.0})
        recorder.events.add_scalars(3, {"train/total": 1.0})
    recorder.write(attrs.evolve(TRAIN, step=4))
    assert recorder.warnings == [
        (
            "tensorboard",
            (
                f"{run.tensorboard}: TensorBoard's events cannot be written: File too large\n"
                "The training goes on without them; metrics.jsonl has the same values."
            ),
        )
    ]
    assert [line["step"] for line in lines(run)] == [1, 4]
    assert scalars(run)["train/total"] == (1, 2.0)


def test_a_file_in_the_place_of_the_events_stops_nothing(run, begin):
    """A file in the place of the events' folder stays, and the training goes on with a warning."""
    run.tensorboard.write_text("mine")
    recorder = begin()
    recorder.write(TRAIN)
    assert recorder.warnings == [
        (
            "tensorboard",
            (
                f"{run.tensorboard}: TensorBoard's events cannot be written: File exists\n"
                "The training goes on without them; metrics.jsonl has the same values."
            ),
        )
    ]
    assert (len(lines(run)), run.tensorboard.read_text()) == (1, "mine")


def test_metrics_that_cannot_be_written_are_said(run, begin):
    """The message names the file and the remedy, and the records before stay whole."""
    recorder = begin()
    recorder.write(TRAIN)
    with no_room_beyond(run.metrics.stat().st_size + 10), pytest.raises(RunError) as caught:
        recorder.write(HELDOUT)
    assert str(caught.value) == (
        f"{run.metrics}: cannot be written: File too large\nRaise the limit on the size of files (ulimit -f)."
    )
    assert lines(run) == [attrs.asdict(TRAIN)]


def test_a_run_folder_that_is_removed_is_made_again(tmp_path):
    """Records after the removal of a run folder are kept in a new one."""
    run = Run(tmp_path / "run")
    recorder = Recorder(run, resumed=None, warn=pytest.fail)
    recorder.write(TRAIN)
    for path in (*run.tensorboard.iterdir(), run.tensorboard, run.metrics, run.folder):
        path.rmdir() if path.is_dir() else path.unlink()
    recorder.write(HELDOUT)
    assert (len(lines(run)), len(events(run))) == (1, 1)


def test_what_is_not_finite_is_no_number_of_json(begin, run):
    """A value that is not finite is null in JSON, and is not given to TensorBoard."""
    bad = attrs.evolve(TRAIN, components={"total": 2.0, "stft": math.nan, "kl": -math.inf})
    begin().write(bad)
    begin(at(1)).write(attrs.evolve(HELDOUT, components={"total": math.inf}))
    text = run.metrics.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert [each["components"] for each in lines(run)] == [
        {"total": 2.0, "stft": None, "kl": None},
        {"total": None},
    ]
    tags = [value.tag for event in events(run) for value in event.summary.value]
    assert sorted(tags) == ["speed/seconds_of_audio_per_second", "train/total", "weight/stft"]
