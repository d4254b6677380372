"""Runs in processes, and as jobs of a cluster."""

import os
import shutil
import signal
import sys
import time

import pytest

from distill.ablation.ablate import plan_ablation
from distill.ablation.cluster import Cluster, ClusterSettings
from distill.ablation.folder import AblationFolder
from distill.ablation.pools import Done, Processes, threads
from distill.errors import DistillError


@pytest.fixture
def folder(shared, tmp_path):
    """Return the folder of an ablation whose runs have a thousand steps.

    They start from a model, which is not calibrated when it is saved.
    """
    options = {**shared.call["options"], "training.start": str(shared.folder / "all-seed0")}
    planned = plan_ablation(**{**shared.call, "steps": 1000, "options": options}, out=tmp_path / "out")
    folder = AblationFolder(planned.folder)
    folder.write_plan(planned.plan.corpus, {run.name: run.recipe for run in planned.plan.runs})
    return folder


def wait_for(condition, seconds=120):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_process_saves_its_run_when_it_loses_the_one_that_started_it(folder):
    """A process saves its run and ends when its standard input ends, as after `kill -9` of its parent."""
    pool = Processes(folder, None, 2)
    assert pool.free == 2
    pool.start("all-seed0")
    assert pool.free == 1
    run = folder.run("all-seed0")
    wait_for(lambda: run.metrics.exists() and run.metrics.stat().st_size > 0)
    assert folder.state("all-seed0") == "running"
    pool.stop()
    assert folder.state("all-seed0") == "interrupted"
    assert any(run.checkpoints.iterdir())


def test_a_process_that_is_killed_is_a_run_that_has_failed(folder):
    """A process that is killed is named as a failed run, and its place in the pool is free again."""
    pool, found = Processes(folder, None, 1), []
    pool.start("all-seed0")
    os.kill(pool._workers[0].process.pid, signal.SIGKILL)  # noqa: SLF001  # from outside
    wait_for(lambda: found.extend(pool.wait(1)) or found)
    message = (
        f"its process was killed by signal 9, perhaps for lack of memory (see {folder.log('processes')})"
    )
    assert found == [Done("all-seed0", message)]
    assert folder.log("all-seed0").read_text() == f"{message}\n"
    assert pool.free == 1
    pool.stop()


def test_processes_share_the_cores(monkeypatch):
    """Each process has its part of the threads, unless the user has set their number."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads(2)["OMP_NUM_THREADS"] == "4"
    assert threads(20)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(2)["OMP_NUM_THREADS"] == "3"


def test_a_job_of_a_cluster_is_a_run(shared, tmp_path):
    """Each run is a job of submitit's local executor, and a finished run is not done again."""
    folder = AblationFolder(shutil.copytree(shared.folder, tmp_path / "out"))
    pool = Cluster(folder, None, 1, ClusterSettings.of("local", {"cpus_per_task": 1}))
    pool.start("all-seed0")
    assert pool.free == 0
    found = []
    wait_for(lambda: found.extend(pool.wait(0.1)) or found)
    assert found == [Done("all-seed0")]
    pool.stop()


def test_a_stop_of_local_jobs_saves_them(folder, capfd):
    """Ctrl-C in a terminal reaches all processes, of which submitit's would end the others after a second."""
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell
    pool = Cluster(folder, None, 1, ClusterSettings.of("local", {}))
    pool.start("all-seed0")
    run = folder.run("all-seed0")
    wait_for(lambda: run.metrics.exists() and run.metrics.stat().st_size > 0)
    os.kill(int(pool._running["all-seed0"].job_id), signal.SIGINT)  # noqa: SLF001  # from outside
    pool.stop()
    assert folder.state("all-seed0") == "interrupted"
    assert any(run.checkpoints.glob("step-*"))
    assert capfd.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (None, {"partition": "gpu"}, "slurm: is for the jobs of a cluster\nAdd --cluster slurm."),
        ("moon", {}, "cluster: expected 'slurm' or 'local', got 'moon'"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_one_message(kind, parameters, message):
    """The error is raised before anything is trained."""
    with pytest.raises(DistillError) as caught:
        ClusterSettings.of(kind, parameters)
    assert str(caught.value) == message


def test_what_is_missing_is_told_with_how_to_install_it(monkeypatch):
    """The message says how to install the missing extra, which is not needed otherwise."""
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(DistillError) as caught:
        ClusterSettings.of("slurm", {})
    assert str(caught.value) == (
        "cluster: jobs of a cluster need submitit, which is not installed\n"
        'Install it: pip install "distill[slurm]"'
    )


def test_without_a_slurm_on_this_machine_there_is_one_message(tmp_path, monkeypatch):
    """The message has a remedy."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DistillError) as caught:
        Cluster(AblationFolder(tmp_path), None, 1, ClusterSettings.of("slurm", {}))
    assert str(caught.value).startswith("--cluster: this machine has no SLURM")
    with pytest.raises(DistillError) as caught:
        Cluster(
            AblationFolder(tmp_path), None, 1, ClusterSettings.of("local", {"partition": 3, "nodes": "many"})
        )
    assert caught.value.culprit == "--slurm"
