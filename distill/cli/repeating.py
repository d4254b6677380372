"""Output of `distill train --repeat-batch`: each term of a step that was computed again."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.errors import printable, printable_lines
from distill.loss.components import TOTAL, ComponentName

if TYPE_CHECKING:
    from distill.training.examining import TermExamined
    from distill.training.repeating import RepeatedBatch


def show_repeated(repeated: "RepeatedBatch") -> None:
    """Print a repeated step: what was said of it, and every term with its parts and its gradient."""
    console = Console()
    console.print(Text(printable_lines(f"Step {repeated.step}: {repeated.problem}")), soft_wrap=True)
    console.print(Text(printable(f"Clips of {', '.join(repeated.files)}")), soft_wrap=True)
    if repeated.weights_of != repeated.step - 1:
        console.print(f"Computed with the weights after step {repeated.weights_of}")
    table = Table(box=None, pad_edge=False)
    table.add_column("term")
    for name in ("weight", "value", "weighted", "gradient"):
        table.add_column(name, justify="right")
    table.add_column("")
    for term in repeated.examination.terms:
        table.add_row(*_row(term))
        for part, value in term.parts.items():
            table.add_row(Text(f"  {part.partition('/')[2]}", "dim"), "", _number(value), "", "")
    console.print(table)
    console.print("\n".join(_facts(repeated)), soft_wrap=True, highlight=False, markup=False)


def _row(term: "TermExamined") -> list[Text]:
    numbers = term.weight, term.value, term.weighted, term.gradient
    return [Text(term.name), *map(_number, numbers), Text(printable_lines(term.problem()), "bold yellow")]


def _number(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(f"{value:.4g}", "" if math.isfinite(value) else "bold red")


def _facts(repeated: "RepeatedBatch") -> Iterator[str]:
    peak = float(repeated.waveform.abs().max())
    yield f"clips: {len(repeated.waveform)}, with a peak of {peak:.4g}"
    diverged = ": the model has diverged" if repeated.examination.has_diverged else ""
    yield f"output of the model: with a peak of {repeated.examination.peak:.4g}{diverged}"
    for name, value in repeated.components.items():
        if ComponentName.parse(name).is_objective:
            yield f"{name}: {value:.4g}"
    total = repeated.components.get(TOTAL)
    yield f"total: {'none, since a term raised an error' if total is None else f'{total:.4g}'}"
    if total is not None and not any(term.problem() for term in repeated.examination.terms):
        yield (
            "Nothing is wrong with a term this time: the fault is in the gradients of the model, or in "
            "numbers that differ on this device."
        )
