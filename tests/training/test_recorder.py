"""Tests of distill.training.recorder: what a training leaves on disk for programs and for TensorBoard."""

import json
import struct

import attrs
import pytest
from tensorboardX.proto.event_pb2 import Event

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


def test_a_record_is_one_line_of_json(run):
    """Its keys are those the design promises, its values what was measured."""
    with Recorder(run, resumed_at=None) as recorder:
        recorder.write(TRAIN)
        assert lines(run) == [attrs.asdict(TRAIN)]  # at once, not only at the end
        recorder.write(HELDOUT)
    assert [line["split"] for line in lines(run)] == ["train", "heldout"]
    assert set(lines(run)[0]) >= {"step", "split", "seconds", "components", "weights"}


def test_records_go_to_tensorboard(run):
    """Components by split, weights and speed once."""
    with Recorder(run, resumed_at=None) as recorder:
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


@pytest.mark.parametrize("resumed_at", [0, 2])
def test_a_resumed_training_forgets_what_it_takes_again(run, resumed_at):
    """Records after the step go from both: from the lines, and by TensorBoard's own mark in the events."""
    with Recorder(run, resumed_at=None) as recorder:
        for step in (1, 2, 3):
            recorder.write(attrs.evolve(TRAIN, step=step))
    with Recorder(run, resumed_at=resumed_at) as recorder:
        recorder.write(attrs.evolve(TRAIN, step=9))
    assert [line["step"] for line in lines(run)] == [*range(1, resumed_at + 1), 9]
    starts = [event.step for event in events(run) if event.session_log.status == event.session_log.START]
    assert starts == [resumed_at + 1]


def test_the_events_are_closed_whatever_happens(run):
    """An error in the training loses no event."""

    def fail():
        with Recorder(run, resumed_at=None) as recorder:
            recorder.write(TRAIN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert scalars(run)["train/total"] == (1, 2.0)
