"""Sections of a page of measurements, each written by the command that measured it."""

import platform
import re
from pathlib import Path

import torch


def write_section(page: Path, name: str, text: str) -> None:
    """Put `text` into the section of a page between its markers; what is not there is made, at the end.

    Raises:
        ValueError: one of the markers is there without the other, or before it.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    before = page.read_text() if page.exists() else "# Performance\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: section, before)
    elif begin in before or end in before:
        # To append another would let the next run take all that lies between for the section.
        raise ValueError(f"{page}: the markers of the section {name!r} are no pair; remove them")
    else:
        after = f"{before.rstrip()}\n\n{section}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(after)


def machine(device: torch.device) -> str:
    """Name the processor that measures, not the host."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if Path("/proc/cpuinfo").exists():
        (model, *_) = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) or ["unknown"]
        return model
    return platform.processor()


def table(head: list[str], rows: list[list[str]]) -> str:
    """Set a Markdown table, its first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
