"""Pages of measurements: each section is written between its markers, and nothing else is touched."""

import re
import runpy
from pathlib import Path

import pytest
import torch

PAGE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "page.py"))
write_section, table, machine = PAGE["write_section"], PAGE["table"], PAGE["machine"]

CPU = "<!-- spectral cpu: begin -->\n{}\n<!-- spectral cpu: end -->"
CUDA = "<!-- spectral cuda: begin -->\n{}\n<!-- spectral cuda: end -->"


@pytest.fixture
def page(tmp_path):
    """Name a page that is not there, in a folder that is not there."""
    return tmp_path / "docs" / "performance.md"


def test_the_first_section_makes_the_page(page):
    """The first section creates the page with a title, and loses the blank lines around its text."""
    write_section(page, "spectral cpu", "\nfast\n\n")
    assert page.read_text() == f"# Performance\n\n{CPU.format('fast')}\n"


def test_a_section_is_written_again_where_it_is(page):
    """A section is replaced in its place, and all text around sections stays, byte by byte."""
    page.parent.mkdir()
    around = "# Title\n\nbefore \n{}\nbetween\n\n\n{}\n  after, without a line\\1 end"
    page.write_text(around.format(CPU.format("old\nlines"), CUDA.format("kept")))
    write_section(page, "spectral cpu", r"new \1 \g<0>")
    assert page.read_text() == around.format(CPU.format(r"new \1 \g<0>"), CUDA.format("kept"))


def test_the_same_section_twice_changes_nothing(page):
    """A section written twice leaves the page as it was, so that it does not grow with every run."""
    write_section(page, "spectral cpu", "fast")
    write_section(page, "spectral cuda", "faster")
    before = page.read_text()
    write_section(page, "spectral cpu", "fast")
    write_section(page, "spectral cuda", "faster")
    assert page.read_text() == before


def test_another_section_comes_at_the_end(page):
    """A new section follows one blank line after the page, even if its name begins another's."""
    write_section(page, "spectral cpu", "fast")
    write_section(page, "spectral", "both")
    both = "<!-- spectral: begin -->\nboth\n<!-- spectral: end -->"
    assert page.read_text() == f"# Performance\n\n{CPU.format('fast')}\n\n{both}\n"


@pytest.mark.parametrize(
    "text",
    [
        "<!-- spectral cpu: begin -->\nfast\n\nmine\n",
        "mine\nfast\n<!-- spectral cpu: end -->\n",
        "<!-- spectral cpu: end -->\nfast\n<!-- spectral cpu: begin -->\n",
    ],
)
def test_markers_that_are_no_pair(page, text):
    """Markers that form no pair are refused, and the page stays as it was."""
    page.parent.mkdir()
    page.write_text(text)
    message = f"{page}: the markers of the section 'spectral cpu' are no pair; remove them"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        write_section(page, "spectral cpu", "fast")
    assert page.read_text() == text


def test_a_page_without_markers(page):
    """The text that is there stays, and the section follows it."""
    page.parent.mkdir()
    page.write_text("# Mine\n\nSome text.")
    write_section(page, "spectral cpu", "fast")
    assert page.read_text() == f"# Mine\n\nSome text.\n\n{CPU.format('fast')}\n"


def test_a_table():
    """A table is Markdown with names to the left and numbers to the right."""
    assert table(["clips", "ms", "times"], [["8", "1.0", "2"], ["16", "2.0", ""]]) == (
        "| clips | ms | times |\n| --- | ---: | ---: |\n| 8 | 1.0 | 2 |\n| 16 | 2.0 |  |"
    )


def test_the_processor_is_named():
    """The name of the processor is one line that is not empty."""
    assert re.fullmatch(r"\S.*", machine(torch.device("cpu")))
