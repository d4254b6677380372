"""Tests of distill.system.stopping: what ends a command by a signal, from the first import on."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import click
import pytest
from click.testing import CliRunner

from distill.cli import main
from distill.plugin.foreign import ForeignCode
from distill.storage.files import replacing
from distill.system.stopping import Stopping, is_stop
from distill.training.interruption import Signals

STOPPING = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
HANGING = """
from hanging import hang
try:
    print("ready", flush=True)
    hang()
except KeyboardInterrupt:
    print("raised", flush=True)
    hang()
"""
HANGING_WITHIN = HANGING.replace("\n", "\n    ")


@pytest.fixture
def start(tmp_path):
    """Start code in a process of its own, and wait for what it prints first."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import signal\nsignal.signal(2, signal.default_int_handler)\n{code}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tmp_path)])},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    """Return what a process printed besides, and its status."""
    out, errors = process.communicate(timeout=20)
    return out, errors, process.returncode


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_while_modules_are_imported_ends_with_one_line(start, number):
    """A signal during imports ends the command with one line and no traceback."""
    process = start(f"from distill.system.stopping import end_at_once\nend_at_once(){HANGING}")
    process.send_signal(number)
    assert end(process) == ("", f"Stopped by {STOPPING[number]}.\n", 130)


@pytest.mark.parametrize("number", STOPPING)
def test_a_command_that_is_stopped_says_so(monkeypatch, tmp_path, number):
    """A stopped command has status 130, removes its unfinished file and restores the handlers."""

    @click.command()
    def stopped():
        with replacing(tmp_path / "file") as file:
            file.write(b"half")
            assert len([*tmp_path.iterdir()]) == 1
            os.kill(os.getpid(), number)

    monkeypatch.setitem(main.commands, "recipe", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = CliRunner().invoke(main, ["recipe"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == f"Stopped by {STOPPING[number]}. No file is left unfinished.\n"
    assert [*tmp_path.iterdir()] == []


def test_a_signal_in_the_last_import_of_a_command_is_not_lost(monkeypatch, tmp_path):
    """A signal that waits for the end of an import counts also if the command has ended by then."""
    (tmp_path / "signalling.py").write_text("import os\nos.kill(os.getpid(), 15)\n")
    monkeypatch.syspath_prepend(tmp_path)

    @click.command()
    def importing():
        import signalling  # noqa: F401, PLC0415

    monkeypatch.setitem(main.commands, "recipe", importing)
    result = CliRunner().invoke(main, ["recipe"])
    assert (result.exit_code, result.stderr) == (130, "Stopped by SIGTERM. No file is left unfinished.\n")


def test_a_prompt_that_is_stopped_says_so(monkeypatch):
    """A prompt that is interrupted ends as any stopped command does, not with click's status 1."""

    @click.command()
    def asking():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise click.Abort from None

    monkeypatch.setitem(main.commands, "recipe", asking)
    result = CliRunner().invoke(main, ["recipe"])
    assert (result.exit_code, result.stderr) == (130, "Stopped by SIGTERM. No file is left unfinished.\n")


def test_a_second_signal_ends_at_once(start):
    """A second signal ends the process at once, unless it comes within a second of the first."""
    process = start(f"from distill.system.stopping import Stopping\nwith Stopping():{HANGING_WITHIN}")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "raised\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(1.1)
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    assert end(process) == ("", "Stopped by SIGTERM at once. Unfinished files may be left.\n", 130)


def test_a_command_that_does_not_end_is_ended(start):
    """A command that swallows the exception, or waits for a thread, is ended after some seconds."""
    code = f"stopping._SECONDS_TO_END = 0.1\nwith stopping.Stopping():{HANGING_WITHIN}"
    process = start(f"from distill.system import stopping\n{code}")
    process.send_signal(signal.SIGTERM)
    assert end(process) == ("raised\n", "Stopped by SIGTERM at once. Unfinished files may be left.\n", 130)


def test_an_end_at_once_shows_the_cursor_again():
    """The line of a progress bar, which hides the cursor, is cleared, but not where there is no terminal."""
    code = "from distill.system import stopping\nstopping.end_at_once()\nstopping.signal.raise_signal(15)"
    for terminal, shown in (
        ("xterm", b"\r\x1b[K\x1b[?25hStopped by SIGTERM.\r\n"),
        ("dumb", b"Stopped by SIGTERM.\r\n"),
    ):
        ours, theirs = os.openpty()
        environment = os.environ | {"TERM": terminal, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        ended = subprocess.run([sys.executable, "-c", code], check=False, stderr=theirs, env=environment)
        os.close(theirs)
        assert (ended.returncode, os.read(ours, 999)) == (130, shown)
        os.close(ours)


def test_an_import_is_not_broken_off(start, tmp_path):
    """An interruption waits for the end of an import, but not for ever."""
    beginning = "import time\nfrom hanging import hang\nprint('ready', flush=True)\n"
    (tmp_path / "slow.py").write_text(f"{beginning}time.sleep(0.3)\nprint('imported', flush=True)")
    (tmp_path / "endless.py").write_text(f"{beginning}hang()")
    code = "from distill.system import stopping\nstopping._SECONDS_TO_IMPORT = {}\n"
    code += "with stopping.Stopping():\n    import {}"
    process = start(f"{code.format(60, 'slow')}\n    slow.hang()")
    process.send_signal(signal.SIGINT)
    out, errors, _ = end(process)
    assert (out, errors.splitlines()[-1]) == ("imported\n", "KeyboardInterrupt")
    process = start(code.format(0.1, "endless"))
    process.send_signal(signal.SIGINT)
    assert end(process) == ("", "Stopped by Ctrl-C. No file is left unfinished.\n", 130)


def test_a_wait_for_other_processes_is_not_endless(start):
    """A wait that goes on after a signal, as native code does, ends the process."""
    code = "import time\nfrom distill.system import stopping\nstopping._SECONDS_TO_IMPORT = 0.1\n"
    code += "signal.signal(signal.SIGTERM, lambda *_: None)\nwith stopping.bounded_wait():\n"
    process = start(f"{code}    print('ready', flush=True)\n    time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    said = "Stopped at once by SIGTERM, while it waited for the other processes.\n"
    assert end(process) == ("", said, 130)


def test_a_signal_after_a_wait_is_handled_as_ever(start):
    """A wait that ends soon after a signal ends nothing."""
    code = "import os, sys, time\nfrom distill.system import stopping\nstopping._SECONDS_TO_IMPORT = 0.2\n"
    code += "say = lambda word: print(word, file=sys.stderr)\nsignal.signal(15, lambda *_: say('handled'))\n"
    code += "print('ready', flush=True)\nwith stopping.bounded_wait():\n    os.kill(os.getpid(), 15)\n"
    process = start(f"{code}time.sleep(0.4)\nsay(signal.set_wakeup_fd(-1))")
    assert end(process) == ("", "handled\n-1\n", 0)


STOPPED = """
import atexit
import os
import sys

import click
from hanging import hang

from distill import __main__, cli


class Kept:
    def __del__(self):
        os.write(1, b"released\\n")


@click.command()
def waiting():
    print("ready", flush=True)
    hang()


kept = Kept()
atexit.register(print, "at exit")
cli.main.commands["recipe"] = waiting
sys.argv = ["distill", "recipe"]
__main__.main()
"""


def test_a_stopped_process_does_not_wait_for_the_interpreter(start):
    """What is registered for the end of the process is called, and objects are not released one by one."""
    process = start(STOPPED)
    process.send_signal(signal.SIGTERM)
    assert end(process) == ("at exit\n", "Stopped by SIGTERM. No file is left unfinished.\n", 130)


def test_an_interruption_of_its_own_is_no_stop():
    """A KeyboardInterrupt is of a signal unless the signals are received here, and none came."""
    mine = KeyboardInterrupt()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert is_stop(mine)
        for receiving in (Stopping(), Signals(), ForeignCode()):
            with receiving:
                assert not is_stop(mine)
                assert not is_stop(SystemExit())
                with ThreadPoolExecutor() as threads:
                    assert threads.submit(is_stop, mine).result()
                with suppress(KeyboardInterrupt):
                    os.kill(os.getpid(), signal.SIGINT)
                assert is_stop(mine)
    finally:
        signal.signal(signal.SIGINT, before)
