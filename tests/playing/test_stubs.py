"""Tests of distill.playing.stubs."""

from importlib import import_module

import pytest

COMPONENT = """
import gradio


class Own(gradio.Button):
    EVENTS = []
"""


@pytest.mark.usefixtures("page")
def test_gradio_writes_no_stubs(tmp_path, monkeypatch):
    """Once a page was served, no stub is written beside the module of a component."""
    (tmp_path / "component_of_its_own.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("component_of_its_own")
    assert [*tmp_path.rglob("*.pyi")] == []
