"""Tests of distill.storage.locking: one process at a time in a folder, and none kept out by the dead."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from distill.errors import LockError
from distill.storage import locking
from distill.storage.lock_holder import STALE_SECONDS
from distill.storage.locking import BEAT, GATE, LOCK, is_held, locked

WORDS = {"doing": "is training in it", "remedy": "Wait."}
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
HOST = re.escape(socket.gethostname())

HOLD = """
import sys, pathlib
from distill.storage.locking import locked
with locked(pathlib.Path(sys.argv[1]), doing="", remedy=""):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start another process that locks the folder until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def refused(folder):
    """Return the message with which a lock is refused."""
    with pytest.raises(LockError) as caught, locked(folder, **WORDS):
        pass
    return str(caught.value)


def write_lock(folder, host, *, silent, process=os.getpid()):  # noqa: B008  # that of the tests
    """Write the lock of a process elsewhere that has shown no sign of life for some seconds."""
    for name in (LOCK, BEAT):
        (folder / name).write_text(f"{process}\n{host}\n")
        os.utime(folder / name, (time.time() - silent,) * 2)


def test_a_second_process_is_refused_at_once(tmp_path, holder):
    """The message names the first process, even a suspended one, with its machine and start time."""
    other = rf"process {holder.pid} on {HOST}, since {WHEN}"
    expected = rf"{tmp_path}: another process is training in it: {other}\nWait\."
    began = time.monotonic()
    assert re.fullmatch(expected, refused(tmp_path))
    assert time.monotonic() - began < 1
    holder.send_signal(signal.SIGSTOP)
    for name in (LOCK, BEAT):
        os.utime(tmp_path / name, (0, 0))
    assert f"process {holder.pid} on" in refused(tmp_path)
    holder.send_signal(signal.SIGCONT)
    holder.communicate()
    with locked(tmp_path, **WORDS) as held:
        assert held.warning is None
    assert not [*tmp_path.iterdir()]


@pytest.fixture(params=["exchanged", "not exchanged"])
def exchange(request, monkeypatch):
    """Exchange files, or refuse to, as most network file systems do."""
    if request.param == "not exchanged":
        monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)


@pytest.mark.usefixtures("exchange")
@pytest.mark.parametrize(
    "reaped",
    [
        True,
        pytest.param(
            False, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux says what is ending")
        ),
    ],
)
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder, reaped):
    """The lock is taken over at once and with a notice, and nothing of it is left.

    A killed process exists until its parent has asked for its status, which some never do.
    """
    holder.kill()
    if reaped:
        holder.wait()
    else:
        assert not is_held(tmp_path)
        os.kill(holder.pid, 0)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, BEAT}
    with locked(tmp_path, **WORDS) as held:
        assert re.fullmatch(
            rf"{tmp_path}: its lock was left behind by process {holder.pid} on {HOST}, since {WHEN}, "
            r"which does not run any more\. It was taken over\.",
            held.warning,
        )
        assert "another thread of this process is training in it\n" in refused(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("exchange")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux says when a process began")
def test_a_number_that_is_another_process_by_now(tmp_path, holder):
    """The lock of a process is left behind, too, if another process has its number by now."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with locked(folder, **WORDS):
        text = (folder / LOCK).read_text()
    # The parent of these tests may have begun in the same hundredth of a second, such as `timeout`.
    (folder / LOCK).write_text(text.replace(f"{os.getpid()}\n", f"{holder.pid}\n", 1))
    assert not is_held(folder)
    with locked(folder, **WORDS) as held:
        assert f"left behind by process {holder.pid} on" in held.warning


def test_one_of_several_takes_over(tmp_path):
    """Of many that take over a lock at once, one holds it at a time."""
    inside, most, errors = [], [], []

    def take(start):
        try:
            start.wait()
            with locked(tmp_path, **WORDS):
                inside.append(None)
                most.append(len(inside))
                time.sleep(0.02)
                inside.pop()
        except LockError:
            pass
        except Exception as error:  # noqa: BLE001  # of a thread, where it would be printed alone
            errors.append(error)

    for _ in range(10):
        write_lock(tmp_path, "node7", silent=STALE_SECONDS + 10)
        start = threading.Barrier(6)
        threads = [threading.Thread(target=take, args=(start,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {*most} == {1}
    assert not errors
    assert not [*tmp_path.iterdir()]


def test_a_process_that_was_killed_in_the_gate(tmp_path, monkeypatch):
    """What a process leaves that is killed while it takes a lock keeps out the next one for a while alone."""
    monkeypatch.setattr(locking, "_GATE_SECONDS", 0.2)
    (tmp_path / GATE).write_text("1\nnode7\n")
    with locked(tmp_path, **WORDS):
        assert not (tmp_path / GATE).exists()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("record", "whom"), [("1\nnode7\n", "process 1 on node7"), ("", "a process that it does not name")]
)
def test_a_wait_at_the_gate_is_told(tmp_path, monkeypatch, caplog, record, whom):
    """What is waited for is said once if it takes long, and nothing is said otherwise."""
    monkeypatch.setattr(locking, "_GATE_SECONDS", 0.3)
    (tmp_path / GATE).write_text(record)
    with locked(tmp_path, **WORDS):
        assert caplog.messages == []
    monkeypatch.setattr(locking, "_TOLD_SECONDS", 0.1)
    (tmp_path / GATE).write_text(record)
    with locked(tmp_path, **WORDS):
        assert caplog.messages == [f"{tmp_path}: waiting for {whom}, which is taking its lock ..."]


def test_a_wait_for_a_name_is_told(tmp_path, monkeypatch, caplog):
    """A lock that is empty is waited for, too, since its process may be about to write its name."""
    monkeypatch.setattr(locking, "EMPTY_SECONDS", 0.6)
    monkeypatch.setattr(locking, "_TOLD_SECONDS", 0.1)
    (tmp_path / LOCK).touch()
    with locked(tmp_path, **WORDS):
        whom = "a process that it does not name"
        assert caplog.messages == [f"{tmp_path}: waiting for {whom}, which is taking its lock ..."]


def test_a_wait_is_told_on_standard_error(tmp_path):
    """A program that does not set up logging has one line, within seconds."""
    (tmp_path / GATE).write_text("1\nnode7\n")
    words = "from pathlib import Path; from distill.storage import locking; locking._GATE_SECONDS = 2.5; "
    words += "locking.locked(Path.cwd(), doing='', remedy='').__enter__()"
    command = [sys.executable, "-c", words]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    expected = f"{tmp_path}: waiting for process 1 on node7, which is taking its lock ...\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", expected)


def test_what_network_file_systems_say_of_files_that_come_and_go(tmp_path, monkeypatch, holder):
    """SFTP's permission error for a file that is there means a lock, and a stale handle that it has gone."""
    opened, stale = os.open, [tmp_path / LOCK] * 2

    def elsewhere(path, flags, *arguments, **options):
        if stale and path == stale[0] and not flags & os.O_CREAT:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(stale.pop()))
        try:
            return opened(path, flags, *arguments, **options)
        except FileExistsError:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path)) from None

    monkeypatch.setattr(os, "open", elsewhere)
    assert f"another process is training in it: process {holder.pid} on" in refused(tmp_path)
    assert not stale
    holder.communicate()
    with locked(tmp_path, **WORDS) as held:
        assert held.warning is None


def test_a_process_elsewhere_holds_its_lock_as_long_as_it_shows_signs_of_life(tmp_path):
    """A process of another machine keeps its lock while it shows signs of life, whatever its number."""
    write_lock(tmp_path, "node7", silent=STALE_SECONDS / 2)
    other = rf"process {os.getpid()} on node7, since {WHEN}"
    message = refused(tmp_path)
    assert re.fullmatch(rf"{tmp_path}: another process is training in it: {other}\nWait\.", message)
    os.utime(tmp_path / LOCK, (0, 0))  # it began long ago
    assert "on node7, since 1970-01-01 " in refused(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, BEAT}


@pytest.mark.parametrize("host", ["node7", f"{socket.gethostname()}?pidns-f0001234"])
def test_the_lock_of_a_silent_process_elsewhere_is_taken_over(tmp_path, host):
    """The lock of a silent process on another machine, or in another container, is taken over."""
    write_lock(tmp_path, host, silent=STALE_SECONDS + 10)
    with locked(tmp_path, **WORDS) as held:
        name = host.partition("?")[0]
        assert f"left behind by process {os.getpid()} on {name}, since " in held.warning
        assert held.warning.endswith("which has shown no sign of life for minutes. It was taken over.")
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()}\n")


@pytest.mark.parametrize("text", ["", "1\nnode7\n"], ids=["empty", "named"])
def test_a_lock_of_a_time_ahead(tmp_path, text):
    """A lock from before a clock was put back holds nobody up, but one that is shown to be in use does."""
    for name in (LOCK, BEAT):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (time.time() + 10**6,) * 2)
    assert not is_held(tmp_path)
    with locked(tmp_path, **WORDS) as held:
        assert held.warning.endswith(". It was taken over.")
    write_lock(tmp_path, "node7", silent=0)
    os.utime(tmp_path / LOCK, (time.time() + 10**6,) * 2)
    assert is_held(tmp_path)
    assert "process " in refused(tmp_path)


@pytest.mark.parametrize("text", ["no lock of ours", "\x00\xff" * 2000])
def test_a_lock_that_names_nobody_is_kept_for_a_while(tmp_path, text):
    """A lock that names no process, as that of another program, is kept until it is old."""
    (tmp_path / LOCK).write_text(text)
    assert "another process is training in it: a process that it does not name, since " in refused(tmp_path)
    os.utime(tmp_path / LOCK, (0, 0))
    with locked(tmp_path, **WORDS) as held:
        assert "left behind by a process that it does not name, since 1970-01-01" in held.warning


def test_the_lock_of_a_process_that_was_killed_in_taking_it(tmp_path, monkeypatch):
    """An empty lock is waited for until it has a name or is older than it takes to write one."""
    monkeypatch.setattr(locking, "EMPTY_SECONDS", 0.5)
    (tmp_path / LOCK).touch()
    assert is_held(tmp_path)
    with locked(tmp_path, **WORDS) as held:
        assert held.warning.endswith("which has shown no sign of life since. It was taken over.")
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()}\n")
    (tmp_path / LOCK).touch()
    threading.Timer(0.2, lambda: (tmp_path / LOCK).write_text(f"{os.getppid()}\nelsewhere\n")).start()
    assert f"another process is training in it: process {os.getppid()} on elsewhere, " in refused(tmp_path)


@pytest.mark.parametrize("name", [LOCK, BEAT])
def test_a_planted_link_is_not_followed(tmp_path, name):
    """A link in the place of the lock is followed neither on taking nor on releasing it."""
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    os.utime(victim, (0, 0))
    folder.mkdir()
    (folder / name).symlink_to(victim)
    os.utime(folder / name, (0, 0), follow_symlinks=False)
    with locked(folder, **WORDS):
        assert not (folder / name).is_symlink()
    assert not [*folder.iterdir()]
    assert (victim.read_text(), victim.stat().st_mtime) == ("mine", 0)


def test_signs_of_life_are_shown_until_another_has_taken_over(tmp_path, monkeypatch):
    """A process that has lost its lock stops writing and leaves the lock of the other alone."""
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.01)
    with locked(tmp_path, **WORDS) as held:
        os.utime(tmp_path / BEAT, (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / BEAT).stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - (tmp_path / BEAT).stat().st_mtime < 60
        held.require()
        (tmp_path / "other").write_text("1\nnode7\n")
        (tmp_path / "other").replace(tmp_path / LOCK)
        held.beat()
        with pytest.raises(LockError) as caught:
            held.require()
    assert str(caught.value) == (
        f"{tmp_path}: another process has taken it over, since this one showed no sign of life\n"
        "Nothing more is written to it here. Let the other process go on."
    )
    assert (tmp_path / LOCK).read_text() == "1\nnode7\n"


def test_a_lock_is_known_by_its_text(tmp_path):
    """A lock in the same file is another's by its text, and stays: SFTP has no numbers of files."""
    with locked(tmp_path, **WORDS) as held:
        (tmp_path / LOCK).write_text("1\nnode7\n")
        assert not held.is_ours()
    assert (tmp_path / LOCK).read_text() == "1\nnode7\n"


def test_a_lock_that_another_took_over_and_released(tmp_path, monkeypatch):
    """A lock that is gone is another's if this process was silent for long, and was removed by hand else."""
    with locked(tmp_path, **WORDS) as held:
        (tmp_path / LOCK).unlink()
        held.require()
        monkeypatch.setattr(locking, "STALE_SECONDS", 0)
        with pytest.raises(LockError):
            held.require()


def test_a_folder_removed_meanwhile_is_no_error(tmp_path):
    """The lock ends without an error when its folder is removed."""
    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder, **WORDS) as held:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        held.beat()
        held.require()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux names open files")
def test_a_lock_whose_file_is_closed_hides_no_error(tmp_path):
    """An error under the lock stays the error, and no lock is left, after a plugin has closed all files."""
    with pytest.raises(ValueError, match="the error"), locked(tmp_path, **WORDS):  # noqa: PT012  # as it happens
        for entry in os.scandir("/proc/self/fd"):
            if os.path.realpath(entry) == str(tmp_path / LOCK):
                os.close(int(entry.name))
        raise ValueError("the error")
    assert not [*tmp_path.iterdir()]


def test_a_lock_is_held_as_long_as_its_process_runs(tmp_path, holder):
    """A suspended process still holds its lock, and looking at the lock writes nothing."""
    os.utime(tmp_path / LOCK, (0, 0))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != BEAT}
    assert is_held(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != BEAT} == before
    holder.kill()
    holder.communicate()
    assert not is_held(tmp_path)


@pytest.mark.parametrize(
    ("host", "silent", "held"), [("elsewhere", 5, True), ("elsewhere", STALE_SECONDS + 5, False)]
)
def test_a_lock_elsewhere_is_held_by_its_signs_of_life(tmp_path, host, silent, held):
    """A lock of another machine counts as held as long as it is renewed."""
    write_lock(tmp_path, host, silent=silent)
    assert is_held(tmp_path) == held


def test_a_folder_without_a_lock_is_not_held(tmp_path):
    """A folder that is missing or has no lock is not held."""
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "none")
