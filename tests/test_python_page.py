"""What docs/python.md shows runs as it stands, in another thread and in a notebook's kernel."""

import inspect
import itertools
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from jupyter_client.manager import start_new_kernel

import distill
from distill.training.changed_options import _TRAINING

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_readme_shows_the_same():
    """The lines of Python in the README are those that begin the page."""
    assert f"```python\n{BLOCKS[0]}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_part_of_the_model_is_described():
    """The table names each public attribute and method of `Model`, whichever class defines it."""
    table = PAGE.partition("## The model")[2]
    public = {name for name in dir(distill.Model) if not name.startswith("_")} | {"vae", "representation"}
    assert {name for name in public if not re.search(rf"`{name}[`(]", table)} == set()


def test_the_reference_has_the_methods_of_base_classes():
    """`generate` and others of `Model` are inherited, and mkdocstrings leaves these out by default."""
    assert "inherited_members: true" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_options_that_a_resumed_run_may_change_are_named():
    """The page and the docstring of `distill.train` have those that the command line accepts."""
    docstring = inspect.getdoc(distill.train)
    may = {"steps", "minutes", "device", *_TRAINING}
    assert {name for name in may if f"`{name}`" not in docstring} == set()
    assert {name for name in may - {"steps", "minutes", "device"} if f"`{name}`" not in PAGE} == set()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write `my-sounds` in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-sounds").mkdir()
    for number in range(3):
        sound = 0.5 * np.sin(np.arange(4410) * (number + 1) / 20)
        soundfile.write(tmp_path / "my-sounds" / f"{number}.wav", sound, 44_100)
    return tmp_path


@pytest.fixture
def names(monkeypatch, folder):  # noqa: ARG001  # the current folder
    """Give the names that the page takes for granted, and let minutes pass in seconds."""
    monkeypatch.setattr("distill.training.retention._SHARES", (1.0,))  # each of them is measured
    clock = itertools.count(step=450)
    monkeypatch.setattr("distill.training.trainer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    waveform = 0.1 * torch.randn(2, 8820, generator=torch.Generator().manual_seed(0))
    return {"waveform": waveform, "N": waveform.shape[-1], "__name__": "page"}


def assert_that_it_did(names):
    """Check what the first block promises in its comments."""
    assert Path("runs/first/model.safetensors").is_file()
    assert names["run"].folder == Path("runs/first")
    assert names["latents"].shape[:1] == (2,)
    assert names["sound"].shape == names["again"].shape == (2, names["N"])
    assert len(names["sounds"]) == 8
    assert {row.name for row in names["table"].rows} == {"0.wav", "1.wav", "2.wav"}


def test_the_page_runs_from_top_to_bottom_in_another_thread(names, capsys):
    """The page trains twice, resumes and uses the results in a thread, which can set no signal handler."""
    errors = []

    def run():
        try:
            for block in BLOCKS:
                exec(block, names)  # noqa: S102  # our own page
        except BaseException as error:  # noqa: BLE001  # asserted below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
    assert_that_it_did(names)
    assert names["second"].folder == Path("runs/second")
    assert "provenance" in Path("runs/second/recipe.toml").read_text(encoding="utf-8")
    assert 'even = "python:page"' in Path("runs/second/recipe.toml").read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(names["table"].rows[0].name)


KERNEL = """
import itertools, sys, torch
from pathlib import Path
from types import SimpleNamespace
import distill.training.retention, distill.training.trainer
distill.training.retention._SHARES = (1.0,)
distill.training.batches._CALIBRATIONS = 2
sys.modules["visqol"] = None
clock = itertools.count(step=450)
distill.training.trainer.time = SimpleNamespace(monotonic=lambda: next(clock))
waveform = 0.1 * torch.randn(2, 8820, generator=torch.Generator().manual_seed(0))
N = 8820
"""
"""The first cell: what the fixtures do, and the names that the page takes for granted."""

QUIET = ("status", "execute_input")
"""The messages of a kernel that runs a cell and prints nothing."""


def test_the_first_lines_run_in_the_kernel_of_a_notebook(folder, monkeypatch):
    """A cell of Jupyter's own kernel does what a script does, and prints nothing."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(folder / "jupyter"))
    check = f"{inspect.getsource(assert_that_it_did)}\nassert_that_it_did(globals())"
    messages = []
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    try:
        for cell in (KERNEL, BLOCKS[0], check):
            reply = client.execute_interactive(cell, output_hook=messages.append, timeout=300)["content"]
            assert reply["status"] == "ok", "\n".join(reply["traceback"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    printed = [message["content"] for message in messages if message["msg_type"] not in QUIET]
    # tqdm says once in a kernel without ipywidgets that its bars will be plain; Accelerate imports it.
    assert [content for content in printed if "TqdmWarning" not in content.get("text", "")] == []
