"""What code does to the machine, as Python's audit events tell it.

A hook cannot be removed. While there is one, threads that begin to be traced at the same time, as by
coverage, may end with a RuntimeError in Python 3.11. Therefore this belongs in a process of its own.
"""

import importlib
import os
import pickle
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner

from distill.cli import main

RUNS_CODE = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "pickle.find_class", "socket.connect", "ftplib.connect", "urllib.Request"),
    *("os.startfile", "webbrowser.open", "ctypes.dlopen"),
}
WRITES = {
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_heard: list[tuple[str, tuple]] = []


def _hook(event, arguments):
    if event in RUNS_CODE or event in WRITES or event in {"open", "exec", "import"}:
        _heard.append((event, arguments))


def listen():
    """Keep what happens in this process from now on, a folder of PyTorch's first training excepted."""
    importlib.import_module("torch._dynamo")
    sys.addaudithook(_hook)


def run(words, run, folder):
    """Run a command line in a run folder; return its exit status, its errors, and its offences.

    `folder` holds all that it may write to, temporary files included.
    """
    os.chdir(run)
    tempfile.tempdir = str(folder)
    _heard.clear()
    result = CliRunner(env={"COLUMNS": "300"}).invoke(main, words)
    events = [*_heard]
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr, offences(events, run, folder)


def misbehave(folder):
    """Do what a stranger's files must not cause; return the offences."""
    module = folder / "evil.py"
    module.write_text("x = 1\n")
    _heard.clear()
    pickle.loads(pickle.dumps(Path))  # noqa: S301  # to be heard
    exec(compile(module.read_text(), str(module), "exec"), {})  # noqa: S102  # as above
    (folder.parent / f"{folder.name}-beside").touch()
    os.spawnvp(os.P_WAIT, "true", ["true"])  # noqa: S606  # as above
    return offences([*_heard], folder, folder)


def offences(events, run, folder):
    """Return the names and arguments of the events that no file of a stranger may cause."""
    found = (each for each in events if _is_offence(*each, run, folder))
    return [(event, repr(arguments)) for event, arguments in found]


def _outside(path, folder):
    """Return whether a path is not in the folder, and not the machine's own waste bin."""
    if isinstance(path, int) or path is None:
        return False
    resolved = Path(os.fsdecode(path)).resolve()
    return resolved != Path(os.devnull) and not resolved.is_relative_to(folder)


def _inside(path, folder):
    """Return whether a path is that of a file in the folder."""
    return bool(path) and Path(path).is_absolute() and Path(path).is_relative_to(folder)


def _is_offence(event, arguments, run, folder):
    """Return whether an event runs code, imports from the run, or writes elsewhere than to the folder."""
    if event == "ctypes.dlopen":  # libraries of this machine are loaded late
        return _inside(arguments[0], run)
    if event == "exec":
        return _inside(arguments[0].co_filename, run)
    if event == "import":
        return _inside(arguments[1], run)
    if event == "open":
        path, mode, flags = arguments
        writes = (flags or 0) & WRITING or (mode and set(mode) & set("wax+"))
        return bool(writes) and _outside(path, folder)
    if event in WRITES:
        paths = [each for each in arguments if isinstance(each, str | bytes | os.PathLike)]
        return any(_outside(path, folder) for path in paths[: 2 if event == "os.rename" else 1])
    return event in RUNS_CODE
