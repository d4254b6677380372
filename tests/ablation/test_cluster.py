"""Runs as jobs of SLURM, whose commands are replaced by scripts that write down what they are asked."""

import datetime as dt
import pickle
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from distill.ablation.ablate import ablate
from distill.ablation.cluster import Cluster, ClusterSettings
from distill.ablation.folder import AblationFolder
from distill.ablation.pools import Done
from distill.errors import ConfigError, InputError, RunError

COMMANDS = {
    "srun": "exit 1",
    "sbatch": """
        if [ -e refused ]; then cat refused >&2; exit 1; fi
        number=$(($(ls scripts | wc -l) + 1))
        cp "$1" scripts/$number
        echo RUNNING > states/$number
        echo Submitted batch job $number
    """,
    "squeue": """
        if [ -e down ]; then echo "Unable to contact slurm controller" >&2; exit 1; fi
        for number in $(ls states); do echo $number $(cat states/$number); done
    """,
    "scancel": """
        if [ -e down ]; then echo "Kill job error: no contact" >&2; exit 1; fi
        for number in $*; do echo CANCELLED > states/$number; done
    """,
}
"""Commands of SLURM for jobs that are never carried out."""

LACK = "perhaps for lack of memory (--slurm mem=8GB)"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a SLURM without machines, the folder of an ablation, and how to make a pool."""
    place = tmp_path / "slurm"
    for name in ("bin", "scripts", "states"):
        (place / name).mkdir(parents=True)
    for name, script in COMMANDS.items():
        (place / "bin" / name).write_text(f"#!/bin/sh\ncd '{place}'\n{script}\n")
        (place / "bin" / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("distill.ablation.queue._SECONDS", 0.0)
    monkeypatch.setattr("distill.ablation.cluster._SECONDS_TO_RETRY", 0.0)
    folder = AblationFolder(tmp_path / "out")

    def pool(**parameters):
        return Cluster(folder, None, 2, ClusterSettings.of("slurm", parameters))

    def succeed(number, failure=None):
        (folder.jobs / f"{number}_0_result.pkl").write_bytes(pickle.dumps(("success", failure)))

    return SimpleNamespace(place=place, states=place / "states", folder=folder, pool=pool, succeed=succeed)


def script(slurm, number):
    """Return the parameters of a job by name, as sbatch reads them."""
    lines = (slurm.place / "scripts" / str(number)).read_text().splitlines()
    words = (line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH"))
    return {name: value for name, _, value in words}


@pytest.mark.parametrize("parameters", [["gpu"], {3: 4}, "time=1"])
def test_what_are_no_parameters(parameters):
    """What is neither a mapping nor pairs is refused with an example of sbatch."""
    with pytest.raises(InputError) as caught:
        ClusterSettings.of("slurm", parameters)
    assert str(caught.value) == (
        f"slurm: expected parameters of sbatch by name, got {parameters!r}\n"
        'Pass a dict, such as {"time": 60}.'
    )


def test_parameters_are_those_of_sbatch(slurm):
    """What submitit does not know, or knows with fewer values, reaches sbatch, too."""
    given = {"time": dt.time(2, 30), "gpus_per_node": "a100:2", "reservation": "x", "exclusive": True}
    slurm.pool(**given, signal_delay_s=30, mem_gb=4, nice=False).start("a")
    found = script(slurm, 1)
    expected = {
        "time": "02:30:00",
        "gpus-per-node": "a100:2",
        "reservation": "x",
        "exclusive": "",
        "mem": "4GB",
    }
    assert expected.items() <= found.items()
    assert found["signal"] == "USR2@30"
    assert found["requeue"] == ""
    assert "nice" not in found


def test_a_job_that_is_refused_is_one_message(slurm, capfd):
    """The message is that of sbatch, without its prefix, and nothing else is printed."""
    (slurm.place / "refused").write_text("sbatch: error: invalid partition: x\nsbatch: error: No job: x\n")
    with pytest.raises(ConfigError) as caught:
        slurm.pool(partition="x").start("a")
    assert str(caught.value) == (
        "--slurm: the job was not accepted: invalid partition: x; No job: x\n"
        "Correct --slurm KEY=VALUE, or try again when SLURM answers."
    )
    assert capfd.readouterr() == ("", "")


def test_a_job_that_is_refused_while_others_are_in_progress_is_submitted_later(slurm):
    """A limit of the queue, or a controller that restarts, does not stop the other runs."""
    pool = slurm.pool()
    pool.start("a")
    (slurm.place / "refused").write_text("sbatch: error: too many jobs\n")
    pool.start("b")
    assert pool.free == 0
    assert list(pool.wait(0)) == []
    (slurm.place / "refused").unlink()
    assert list(pool.wait(0)) == []
    slurm.succeed(1)
    slurm.succeed(2, "it is broken")
    assert list(pool.wait(0)) == [Done("a"), Done("b", "it is broken")]
    assert pool.free == 2


def test_the_jobs_of_a_killed_command_are_not_begun_twice(slurm):
    """The next command waits for those in the queue, and submits those that have left it."""
    killed = slurm.pool()
    killed.start("a")
    killed.start("b")
    (slurm.states / "2").write_text("FAILED")
    pool = slurm.pool()
    pool.start("a")
    pool.start("b")
    assert sorted(path.name for path in slurm.states.iterdir()) == ["1", "2", "3"]
    slurm.succeed(1)
    slurm.succeed(3)
    assert list(pool.wait(0)) == [Done("a"), Done("b")]


@pytest.mark.parametrize(
    ("state", "told", "why"),
    [
        ("CANCELLED", "", " as CANCELLED before it was done"),
        (
            "OUT_OF_MEMORY",
            "",
            " as OUT_OF_MEMORY before it was done, perhaps for lack of memory (--slurm mem=8GB)",
        ),
        (
            "FAILED",
            "slurmstepd: error: StepId=1.0 exceeded memory limit, being killed",
            f" as FAILED before it was done, {LACK}",
        ),
        (None, "", " before it was done"),
    ],
)
def test_a_job_that_leaves_the_queue_without_a_result_has_failed(slurm, state, told, why):
    """A job is missed twice before it is given up, and the message says what SLURM and the job say."""
    pool = slurm.pool()
    pool.start("a")
    assert list(pool.wait(0)) == []
    if state is None:
        (slurm.states / "1").unlink()
    else:
        (slurm.states / "1").write_text(state)
    log = slurm.folder.path.resolve() / "jobs" / "1_0_log.err"
    log.write_text(told)
    assert list(pool.wait(0)) == []
    message = f"its job 1 ended{why}; see {log}"
    assert list(pool.wait(0)) == [Done("a", message)]
    assert slurm.folder.log("a").read_text() == f"{message}\n"


def test_a_job_that_is_put_back_has_not_failed(slurm):
    """Between two states, a job may be missed once."""
    pool = slurm.pool()
    pool.start("a")
    for state in ("NODE_FAIL", "PENDING", "NODE_FAIL", "PENDING", "RUNNING"):
        (slurm.states / "1").write_text(state)
        assert list(pool.wait(0)) == []


def test_a_job_that_never_starts_is_one_message(slurm):
    """A time limit that the partition does not allow is not waited for; other reasons are."""
    pool = slurm.pool()
    pool.start("a")
    for state in ("PENDING Resources, of which there are few", "CANCELLED PartitionTimeLimit"):
        (slurm.states / "1").write_text(state)
        assert list(pool.wait(0)) == []
    (slurm.states / "1").write_text("PENDING PartitionTimeLimit")
    with pytest.raises(ConfigError) as caught:
        list(pool.wait(0))
    assert str(caught.value) == (
        "--slurm: the job 1 is never going to start: PartitionTimeLimit\n"
        "Ask for what the partition allows, such as --slurm time=60 (minutes)."
    )
    pool.stop()
    assert (slurm.states / "1").read_text() == "CANCELLED\n"


def test_a_queue_that_does_not_answer_says_nothing_of_the_jobs(slurm):
    """Jobs are waited for while the controller is away, and their results are seen."""
    pool = slurm.pool()
    pool.start("a")
    pool.start("b")
    (slurm.place / "down").touch()
    for _ in range(4):
        assert list(pool.wait(0)) == []
    slurm.succeed(2)
    assert list(pool.wait(0)) == [Done("b")]
    pool = slurm.pool()
    pool.start("a")
    assert len(list(slurm.states.iterdir())) == 2


def test_a_stop_cancels_the_jobs_and_forgets_them(slurm):
    """The same command submits new ones, since the old ones are about to end."""
    pool = slurm.pool()
    pool.start("a")
    pool.start("b")
    slurm.succeed(2)
    assert list(pool.wait(0)) == [Done("b")]
    pool.stop()
    assert [(slurm.states / name).read_text().strip() for name in "12"] == ["CANCELLED", "RUNNING"]
    (slurm.states / "1").write_text("COMPLETING")
    slurm.pool().start("a")
    assert (slurm.states / "3").exists()


def test_jobs_that_cannot_be_cancelled_go_on(slurm):
    """The message says so, and the next command waits for them."""
    pool = slurm.pool()
    pool.start("a")
    (slurm.place / "down").touch()
    with pytest.raises(RunError) as caught:
        pool.stop()
    assert str(caught.value) == (
        "1: the jobs could not be cancelled, and go on: Kill job error: no contact\n"
        "The same command waits for them. To cancel them later, use scancel."
    )
    (slurm.place / "down").unlink()
    slurm.pool().start("a")
    assert not (slurm.states / "2").exists()


def test_an_ablation_on_slurm_is_that_of_processes(shared, tmp_path):
    """Where there is a SLURM that answers, it gives the same result, from jobs that really run."""
    scontrol = shutil.which("scontrol")
    if scontrol is None or subprocess.run([scontrol, "ping"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no SLURM that answers")
    call = {**shared.call, "jobs": 2}
    found = ablate(**call, out=tmp_path / "cluster", cluster="slurm", slurm={"time": 10})
    assert found.failed == {}
    assert found.effects == ablate(**call, out=tmp_path / "processes").effects
