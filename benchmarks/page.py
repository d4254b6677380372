"""Writing of measurements to sections of a Markdown page."""

import platform
import re
from pathlib import Path

import torch


def write_section(page: Path, name: str, text: str) -> None:
    """Replace a section of a page, between its markers, by `text`. A missing section is added at the end.

    Raises:
        ValueError: one of the markers is missing, or they are in the wrong order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    before = page.read_text() if page.exists() else "# Performance\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: section, before)
    elif begin in before or end in before:
        # If another section were appended, the next run would replace everything between the markers.
        raise ValueError(f"{page}: the markers of the section {name!r} are no pair; remove them")
    else:
        after = f"{before.rstrip()}\n\n{section}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(after)


def machine(device: torch.device) -> str:
    """Return the name of the CPU or GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if Path("/proc/cpuinfo").exists():
        (model, *_) = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) or ["unknown"]
        return model
    return platform.processor()


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table. The first column is left-aligned, the others are right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
