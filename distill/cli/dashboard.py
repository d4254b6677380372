"""The display of a training run on a terminal: the progress, and a line for each component of the loss.

It is drawn anew several times a second, for the size that the terminal has then. No line is wider.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from distill.cli.curves import Curve, sparkline
from distill.config.words import duration_in_words, whole_percentage
from distill.errors import printable
from distill.loss.components import TOTAL, ComponentName
from distill.loss.still import StillTerms, title_without, total_without

if TYPE_CHECKING:
    from distill.training.record import Record

_BAR = 20
_NAME, _LONGEST_NAME = 8, 24
_VALUE = 9
_FEWEST, _CURVE = 8, 40
"""Columns of a sparkline, at least and at most."""

_GAP = 2


class Dashboard:
    """The state of a training run as a terminal shows it. `length` is how long it is to be, in words."""

    def __init__(self) -> None:
        self.length = ""
        self.curves: dict[str, Curve] = {}
        self.heldout: dict[str, float] = {}
        self.still = StillTerms()
        self.progress, self.step, self.trained = 0.0, 0, False
        self.rest: tuple[str, ...] = ()
        self._measured: Record | None = None
        self._spinner = Spinner("line")

    def add(self, record: "Record") -> None:
        """Take in a record."""
        self.progress, self.step = record.progress, record.step
        before = self.still.names
        self.still.add(record.gradients)
        if self.still.names != before:
            self._begin_total_anew(before)
        found = self.told_of(record)
        if record.split == "heldout":
            self._measured = record
            self.heldout |= found
            for name in found:
                self.curves.setdefault(name, Curve())
            return
        for name, value in found.items():
            self.curves.setdefault(name, Curve()).add(value)
        left = duration_in_words(seconds_left(record), digits=1)
        self.rest = f"{left} left", f"{record.audio_rate:.0f} s of audio per s"

    def told_of(self, record: "Record") -> dict[str, float]:
        """Return the components of a record that are shown.

        Terms that change nothing come last, and the total is without them.
        """
        found = summary_of(record)
        still = self.still.names
        moving = total_without(found, record.weights, still)
        if moving is None:
            return found
        moves = {name: value for name, value in found.items() if name not in (TOTAL, *still)}
        last = {name: found[name] for name in still if name in found}
        return {title_without(still): moving, **moves, **last}

    def _begin_total_anew(self, before: Sequence[str]) -> None:
        """Forget the total, in which terms count that are now known to change nothing, or to change it."""
        for name in (TOTAL, title_without(before) if before else TOTAL):
            self.curves.pop(name, None)
            self.heldout.pop(name, None)
        title = title_without(self.still.names) if self.still.names else TOTAL
        still = {name: self.curves.pop(name) for name in self.still.names if name in self.curves}
        self.curves = {title: Curve(), **self.curves, **still}
        if self._measured is not None:
            self.heldout |= self.told_of(self._measured)

    def head(self) -> Sequence[str]:
        """Return the step, the time left and the speed, the most important first."""
        if not self.step:
            return ("starting",)
        return (f"step {self.step}{self.length}", *self.rest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines for the size of the terminal."""
        width, plain = options.max_width, options.ascii_only
        yield from self._progress_line(console, options, width)
        names = [*self.curves]
        room = max(1, console.size.height - 4)
        shown = names if len(names) <= room else names[: room - 1]
        yield from self._component_lines(shown, width, ascii_only=plain)
        if len(shown) < len(names):
            yield _line(f"and {len(names) - len(shown)} more", width, "dim")

    def _progress_line(
        self, console: Console, options: ConsoleOptions, width: int
    ) -> Iterator[Text | Segment]:
        frame = self._spinner.render(console.get_time())
        spinner = frame.plain if isinstance(frame, Text) else ""
        percent = f" {whole_percentage(self.progress):>4}"
        bar = min(_BAR, width // 4)
        yield Text(f"{spinner} ", end="")
        segments = console.render(
            ProgressBar(total=1.0, completed=self.progress, width=bar), options.update(width=bar)
        )
        yield from (segment for segment in segments if segment.text != "\n")
        room = width - bar - len(spinner) - len(percent) - 2
        yield Text(f"{percent} ", end="")
        yield _line(_fitting(self.head(), room), room)

    def _component_lines(
        self, names: Sequence[str], width: int, *, ascii_only: bool
    ) -> Iterator[Text | Segment]:
        if not names:
            return
        longest = min(_LONGEST_NAME, max(_NAME, *(len(printable(name)) for name in names)))
        longest = min(longest, max(1, width - _GAP - _VALUE))
        # The name and its value are always there; then the held-out value and the curve, if they fit.
        left = width - longest - _GAP - _VALUE
        heldout = bool(self.heldout) and left >= _GAP + _VALUE
        left -= (_GAP + _VALUE) * heldout
        curve = min(_CURVE, left - _GAP) if left >= _GAP + _FEWEST else 0
        if heldout:
            heads = f"{'':{longest}}  {'trained':>{_VALUE}}  {'held-out':>{_VALUE}}"
            at = f"  at step {self._measured.step}" if self._measured and curve else ""
            yield _line(heads + (at if len(heads + at) <= width else ""), width, "dim")
        for name in names:
            line = Text(no_wrap=True, overflow="crop", end="")
            line.append(f"{shortened(printable(name), longest):<{longest}}")
            line.append(f"  {_number(self.curves[name].latest):>{_VALUE}}", "bold")
            if heldout:
                line.append(f"  {_number(self.heldout.get(name, math.nan)):>{_VALUE}}")
            if curve and name in self.still.names:
                line.append("  changes nothing"[: _GAP + curve], "dim")
            elif curve:
                line.append(f"  {sparkline(self.curves[name].values(curve), ascii_only=ascii_only)}", "cyan")
            line.truncate(width, overflow="crop")
            yield line
            yield Segment.line()


def summary_of(record: "Record") -> dict[str, float]:
    """Return the components of a record that are shown: the total, whole terms and the objective."""
    return {name: value for name, value in record.components.items() if ComponentName.parse(name).is_summary}


def seconds_left(record: "Record") -> float:
    """Return the seconds that the training still takes, in proportion to those that it took."""
    return record.seconds * (1 - record.progress) / max(record.progress, 1e-6)


def components_in_words(components: Mapping[str, float]) -> str:
    """Return components in one line."""
    return "  ".join(f"{printable(name)} {value:.4g}" for name, value in components.items())


def shortened(name: str, longest: int) -> str:
    """Return a name without its middle if it is too long."""
    if len(name) <= longest:
        return name
    end = (longest - 2) // 2
    return f"{name[: longest - 2 - end]}..{name[len(name) - end :]}"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ("-" if math.isnan(value) else f"{value:g}")


def _fitting(parts: Sequence[str], width: int) -> str:
    """Return as many parts as fit, at least the first."""
    for count in range(len(parts), 1, -1):
        if len(line := ", ".join(parts[:count])) <= width:
            return line
    return parts[0]


def _line(text: str, width: int, style: str = "") -> Text:
    line = Text(text, style, no_wrap=True, overflow="crop")
    line.truncate(max(0, width), overflow="crop")
    return line
