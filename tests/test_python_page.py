"""What docs/python.md shows runs as it stands: in a script, in a notebook's cells, and in another thread."""

import asyncio
import itertools
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_readme_shows_the_same():
    """Its lines of Python are those that begin the page."""
    assert f"```python\n{BLOCKS[0]}```" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Write `my-sounds`, give the names that the page takes for given, and let minutes pass in seconds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-sounds").mkdir()
    for number in range(3):
        sound = 0.5 * np.sin(np.arange(4410) * (number + 1) / 20)
        soundfile.write(tmp_path / "my-sounds" / f"{number}.wav", sound, 44_100)
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


def test_the_page_runs_from_top_to_bottom(names, capsys):
    """In one process: it trains twice, goes on, and uses what came out."""
    for block in BLOCKS:
        exec(block, names)  # noqa: S102  # our own page
    assert_that_it_did(names)
    assert names["second"].folder == Path("runs/second")
    assert "provenance" in Path("runs/second/recipe.toml").read_text(encoding="utf-8")
    assert 'even = "python:page"' in Path("runs/second/recipe.toml").read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(names["table"].rows[0].name)


def test_the_first_lines_run_in_another_thread(names):
    """Where an event loop is running, as in a notebook's kernel."""
    errors = []

    async def cell():
        exec(BLOCKS[0], names)  # noqa: S102  # our own page

    def run():
        try:
            asyncio.run(cell())
        except BaseException as error:  # noqa: BLE001  # asserted below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
    assert_that_it_did(names)
