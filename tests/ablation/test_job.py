"""A run as a job that receives signals."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from distill.ablation.ablate import plan_ablation
from distill.ablation.folder import AblationFolder
from distill.ablation.job import Job
from distill.storage.locking import locked


class PutBack(BaseException):
    """What ends a job that submitit puts back in the queue."""


@pytest.fixture
def folder(shared, tmp_path):
    """Return the folder of an ablation whose runs have many steps."""
    options = {**shared.call["options"], "training.start": str(shared.folder / "all-seed0")}
    planned = plan_ablation(**{**shared.call, "steps": 100_000, "options": options}, out=tmp_path / "out")
    folder = AblationFolder(planned.folder)
    folder.write_plan(planned.plan.corpus, {run.name: run.recipe for run in planned.plan.runs})
    return folder


@pytest.fixture
def put_back():
    """Install a handler of SIGUSR2 as submitit does, and return the list of its calls."""
    calls = []

    def handler(number, _):
        calls.append(number)
        raise PutBack

    before = [signal.signal(signal.SIGUSR2, handler), signal.signal(signal.SIGTERM, lambda *_: None)]
    yield calls
    signal.signal(signal.SIGUSR2, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Let this process be job 7, which SLURM counts as running, and return the folder of its commands."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 7 RUNNING\n")
    squeue.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return tmp_path


def send(number, condition):
    """Send a signal to this process as soon as a condition holds."""

    def wait():
        end = time.monotonic() + 60
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


def test_a_job_whose_time_is_up_saves_and_is_put_back(folder, put_back):
    """SIGUSR2 ends the training with a checkpoint, and then submitit puts the job back."""
    run = folder.run("all-seed0")
    send(signal.SIGUSR2, lambda: run.metrics.exists() and run.metrics.stat().st_size > 0)
    with pytest.raises(PutBack):
        Job(folder, "all-seed0", None)()
    assert put_back == [signal.SIGUSR2]
    assert folder.state("all-seed0") == "interrupted"
    assert any(run.checkpoints.glob("step-*"))


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_job_that_gets_no_further_is_put_back_if_it_was_preempted_only(folder, put_back, number):
    """A time limit that is too short for a step would put it back for ever."""
    run = folder.run("all-seed0")
    run.folder.mkdir()
    begun = time.monotonic()
    failure = None
    with locked(run.folder, doing="is waited for", remedy=""):
        send(number, lambda: time.monotonic() > begun + 1)
        with suppress(PutBack):
            failure = Job(folder, "all-seed0", None)()
    if number == signal.SIGTERM:
        assert put_back == [signal.SIGUSR2]
        return
    assert failure == "the time limit of its job was reached before it had got any further"
    assert folder.log("all-seed0").read_text() == f"{failure}\n"
    assert put_back == []


@pytest.mark.parametrize(("state", "raised"), [("COMPLETING", KeyboardInterrupt), ("RUNNING", PutBack)])
def test_a_job_that_is_ended_is_put_back_unless_it_is_cancelled(folder, put_back, running, state, raised):
    """SIGTERM, which submitit ignores, ends the training with a checkpoint, also to make place for others."""
    (running / "squeue").write_text(f"#!/bin/sh\necho 7 {state}\n")
    run = folder.run("all-seed0")
    send(signal.SIGTERM, lambda: run.metrics.exists() and run.metrics.stat().st_size > 0)
    with pytest.raises(raised):
        Job(folder, "all-seed0", None)()
    assert bool(put_back) == (raised is PutBack)
    assert folder.state("all-seed0") == "interrupted"
    assert any(run.checkpoints.glob("step-*"))


def test_submitit_begins_a_job_again_as_it_was(folder):
    """What submitit stores for the next time is the same job."""
    job = Job(folder, "all-seed0", None)
    assert job.checkpoint().function == job
