"""A run folder of a stranger runs no code and writes nowhere else, whatever is in it, with every command."""

import os
import pickle
import re
import shutil
from concurrent.futures import ProcessPoolExecutor

import audited
import pytest
from forked import SERVER


@pytest.fixture(scope="module")
def elsewhere():
    """Call a function of `audited` in a process that listens to itself."""
    with ProcessPoolExecutor(1, SERVER, initializer=audited.listen) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(120)


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


FROM_IT = ("--config", "RUN/recipe.toml", "--set", "training.start=RUN")
COMMANDS = {
    "train --resume": ("train", "--resume", "--out", "RUN", "--steps", "5"),
    "train from it": ("train", "SOUNDS", *FROM_IT, "--out", "OUT", "--steps", "1"),
    "generate": ("generate", "RUN", "-n", "1", "--out", "OUT"),
    "reconstruct": ("reconstruct", "RUN", "SOUNDS/a.wav", "--out", "OUT"),
    "evaluate": ("evaluate", "RUN", "SOUNDS/a.wav", "--no-visqol"),
    "losses profile": ("losses", "profile", "SOUNDS", "--run", "RUN", "--batches", "1"),
    "shard": ("shard", "RUN/audio", "OUT"),
}


CASES = [(name, damage) for name in COMMANDS for damage in ("none", "pickles")]


@pytest.mark.parametrize(("name", "damage"), [*CASES, ("train --resume", "provenance")])
def test_no_command_runs_code_of_a_run(stranger, recordings, elsewhere, name, damage, tmp_path):
    """No command runs code of a run, be it in pickles or in names of terms, and each ends by itself."""
    if damage == "pickles":
        for path in stranger.glob("**/*.safetensors"):
            path.write_bytes(pickle.dumps(Evil()))
    if damage == "provenance":
        text = (stranger / "recipe.toml").read_text()
        (stranger / "recipe.toml").write_text(text.replace('stft = "distill', 'stft = "os:system distill'))
    shutil.copytree(recordings, tmp_path / "sounds")
    places = {"RUN": stranger, "OUT": tmp_path / "out", "SOUNDS": tmp_path / "sounds"}
    words = [re.sub("RUN|OUT|SOUNDS", lambda match: str(places[match[0]]), word) for word in COMMANDS[name]]
    status, errors, offences = elsewhere(audited.run, words, stranger, tmp_path)
    assert offences == []
    assert not [*tmp_path.glob("**/hacked")]
    assert status in ({0} if damage == "none" else {0, 2}), errors


def test_the_listener_hears(elsewhere, tmp_path):
    """The check detects the code that it looks for."""
    found = {event for event, _ in elsewhere(audited.misbehave, tmp_path)}
    assert {"pickle.find_class", "exec", "open"} <= found
    assert found & {"os.fork", "os.posix_spawn", "os.spawn"}
