"""A run folder of a stranger runs no code and writes nowhere else, whatever is in it, with every command."""

import os
import pickle
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

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

heard: list[tuple[str, tuple]] | None = None


def listen(event, arguments):
    """Keep what happens while something listens. A hook cannot be removed again."""
    if heard is not None and (event in RUNS_CODE or event in WRITES or event in {"open", "exec", "import"}):
        heard.append((event, arguments))


@contextmanager
def overheard():
    """Give the events of a block of code."""
    global heard  # noqa: PLW0603  # there is one hook, for ever
    events = heard = []
    try:
        yield events
    finally:
        heard = None


@pytest.fixture(scope="module", autouse=True)
def _hook():
    sys.addaudithook(listen)


class Evil:
    """What a pickle would run."""

    def __reduce__(self):
        """Name what is to be called."""
        return os.system, ("touch hacked",)


@pytest.fixture
def stranger(trained, recordings, tmp_path):
    """Return a copy of a run with code in every form that a loader might run."""
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    for name in ("model.pt", "model.pkl", "pytorch_model.bin", "checkpoints/last.pt", "latents.npy"):
        (folder / name).write_bytes(pickle.dumps(Evil()))
    for name in ("distill.py", "sitecustomize.py", "conftest.py", "torch.py", "__init__.py", "setup.py"):
        (folder / name).write_text("import os\nos.system('touch hacked')\n")
    (folder / "audio").mkdir(exist_ok=True)
    shutil.copy(recordings / "a.wav", folder / "audio")
    (folder / "audio" / "code.wav").write_bytes(pickle.dumps(Evil()))
    shutil.copy(folder / "audio" / "code.wav", folder / "audio" / "code.py")
    return folder


def outside(path, folders):
    """Return whether a path is in none of the folders, and not the machine's own waste bin."""
    if isinstance(path, int) or path is None:
        return False
    resolved = Path(os.fsdecode(path)).resolve()
    return resolved != Path(os.devnull) and not any(resolved.is_relative_to(folder) for folder in folders)


def inside(path, folder):
    """Return whether a path is that of a file in the folder."""
    return bool(path) and Path(path).is_absolute() and Path(path).is_relative_to(folder)


def is_offence(event, arguments, run, folders):
    """Return whether an event runs code, imports from the run, or writes elsewhere than to the folders."""
    if event == "ctypes.dlopen":  # libraries of this machine are loaded late
        return inside(arguments[0], run)
    if event == "exec":
        return inside(arguments[0].co_filename, run)
    if event == "import":
        return inside(arguments[1], run)
    if event == "open":
        path, mode, flags = arguments
        writes = (flags or 0) & WRITING or (mode and set(mode) & set("wax+"))
        return bool(writes) and outside(path, folders)
    if event in WRITES:
        paths = [each for each in arguments if isinstance(each, str | bytes | os.PathLike)]
        return any(outside(path, folders) for path in paths[: 2 if event == "os.rename" else 1])
    return event in RUNS_CODE


def offences(events, run, folders):
    """Return the events that no file of a stranger may cause."""
    return [(event, arguments) for event, arguments in events if is_offence(event, arguments, run, folders)]


FROM_IT = ("--config", "RUN/recipe.toml", "--set", "training.start=RUN")
COMMANDS = {
    "train --resume": ("train", "--resume", "--out", "RUN", "--steps", 5),
    "train from it": ("train", "SOUNDS", *FROM_IT, "--out", "OUT", "--steps", 1),
    "generate": ("generate", "RUN", "-n", 1, "--out", "OUT"),
    "reconstruct": ("reconstruct", "RUN", "SOUNDS/a.wav", "--out", "OUT"),
    "evaluate": ("evaluate", "RUN", "SOUNDS/a.wav"),
    "losses profile": ("losses", "profile", "SOUNDS", "--run", "RUN", "--batches", 1),
    "shard": ("shard", "RUN/audio", "OUT"),
}


CASES = [(name, damage) for name in COMMANDS for damage in ("none", "pickles")]


@pytest.mark.parametrize(("name", "damage"), [*CASES, ("train --resume", "provenance")])
def test_no_command_runs_code_of_a_run(stranger, recordings, distill, name, damage, tmp_path, monkeypatch):
    """No command runs code of a run, be it in pickles or in names of terms, and each ends by itself."""
    monkeypatch.chdir(stranger)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if damage == "pickles":
        for path in stranger.glob("**/*.safetensors"):
            path.write_bytes(pickle.dumps(Evil()))
    if damage == "provenance":
        text = (stranger / "recipe.toml").read_text()
        (stranger / "recipe.toml").write_text(text.replace('stft = "distill', 'stft = "os:system distill'))
    shutil.copytree(recordings, tmp_path / "sounds")
    places = {"RUN": stranger, "OUT": tmp_path / "out", "SOUNDS": tmp_path / "sounds"}
    filled = [
        re.sub("RUN|OUT|SOUNDS", lambda match: str(places[match[0]]), str(word)) for word in COMMANDS[name]
    ]
    with overheard() as events:
        result = distill(*filled)
    assert offences(events, stranger, [tmp_path]) == []
    assert not [*tmp_path.glob("**/hacked")]
    assert result.status in ({0} if damage == "none" else {0, 2}), result.err


def test_the_listener_hears(tmp_path):
    """The check detects the code that it looks for."""
    module = tmp_path / "evil.py"
    module.write_text("x = 1\n")
    with overheard() as events:
        pickle.loads(pickle.dumps(Evil))  # noqa: S301  # to be heard
        exec(compile(module.read_text(), str(module), "exec"), {})  # noqa: S102  # as above
        (tmp_path.parent / f"{tmp_path.name}-beside").touch()
        os.spawnvp(os.P_WAIT, "true", ["true"])  # noqa: S606  # as above
    found = {event for event, _ in offences(events, tmp_path, [tmp_path])}
    assert {"pickle.find_class", "exec", "open"} <= found
    assert found & {"os.fork", "os.posix_spawn", "os.spawn"}
