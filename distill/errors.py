"""The exceptions of Distill. Each holds the problem, its place and a remedy.

A `DistillError` is a mistake that the user can correct with the help of its message; the command line prints
only the message. Any other exception is a bug in Distill and keeps its traceback.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that control a terminal or the layout, and of bytes that are no text."""

_LISTED = 5
_LONGEST_CULPRIT = 400
"""Characters of a culprit in a message. A name has 255 bytes, and a path hardly ever more."""


class DistillError(Exception):
    """A problem that the user can correct.

    `problem` says what is wrong and what was expected. `culprit` names where: a file, a path in the recipe,
    or a distribution. `remedy` says what to do. `exit_status` is the exit status of the command line.
    """

    exit_status = 2

    def __init__(self, problem: str, *, culprit: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.culprit = culprit
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{_cut(printable(self.culprit))}: " if self.culprit else ""
        remedy = f"\n{self.remedy}" if self.remedy else ""
        # The problem and the remedy have lines, and names in them.
        lines = f"{self.problem}{remedy}".split("\n")
        return where + "\n".join(map(printable, lines))


class ConfigError(DistillError):
    """Invalid options: unknown, of the wrong type, or out of bounds.

    `problems` has one line for each problem. `problem` joins these lines.
    """

    def __init__(self, *problems: str, culprit: str = "", remedy: str = "") -> None:
        super().__init__("\n".join(problems), culprit=culprit, remedy=remedy)
        self.problems = problems


class TermError(DistillError):
    """A loss term that is unknown, ambiguous, broken, or returns something that is not a loss."""


class CorpusError(DistillError):
    """A corpus that does not exist, has no readable audio, or changed while it was read."""


class UnaskedError(CorpusError):
    """A corpus at a URL that a recipe names, and that the user did not give.

    `url` is the URL. A recipe may be a stranger's, and does not decide what this machine fetches.
    """

    def __init__(self, url: str, *, culprit: str, remedy: str) -> None:
        problem = f"its corpus is at {url}, which the recipe names and you did not pass"
        super().__init__(problem, culprit=culprit, remedy=remedy)
        self.url = url


class RunError(DistillError):
    """A folder that is not a run, already is a run, or cannot be written or read."""


class LockError(RunError):
    """A folder that another process is writing to."""


class OutputError(DistillError):
    """An output file that already exists, or whose path is not a file."""


class ShapeError(DistillError):
    """Tensors whose shapes do not match."""


class InputError(DistillError):
    """An argument of a type or value that a function does not accept."""


class InvalidValueError(InputError, ValueError):
    """A value that a class or function does not accept. It is a `ValueError`, too."""


class InvalidTypeError(InputError, TypeError):
    """An argument of a type that a class or function does not accept. It is a `TypeError`, too."""


class MemoryShortageError(DistillError):
    """The memory of this machine or of its GPU was not enough."""

    exit_status = 1


class TrainingError(DistillError):
    """A training run with valid input that cannot continue: for example, the loss is not finite."""

    exit_status = 1


_Error = TypeVar("_Error", bound=DistillError)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def check_all(check: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return what a function returns for each item, after calling it for all of them.

    Raises:
        DistillError: it raises one for an item. The errors for several are joined by `all_of`.
    """
    results: list[_Result] = []
    errors: list[DistillError] = []
    for item in items:
        try:
            results.append(check(item))
        except DistillError as error:
            errors.append(error)
    if errors:
        raise all_of(errors)
    return results


@contextmanager
def noting(errors: list[DistillError], *kinds: type[DistillError]) -> Iterator[None]:
    """Add an error of one of these kinds to a list, so that others can be reported with it by `all_of`."""
    try:
        yield
    except kinds as error:
        errors.append(error)


def all_of(errors: Sequence[_Error]) -> _Error:
    """Return one error for several, with a line for each problem, and each line of the remedies once.

    It is of the class of the first. A culprit that they share is named once.
    """
    first = errors[0]
    if len(errors) == 1:
        return first
    shared = first.culprit if all(each.culprit == first.culprit for each in errors) else ""
    problems = dict.fromkeys(
        each.problem if shared or not each.culprit else f"{printable(each.culprit)}: {each.problem}"
        for each in errors
    )
    remedies = dict.fromkeys(line for each in errors for line in each.remedy.split("\n") if line)
    lines = "\n".join(problems)
    of_class = type(first)
    joined = (
        of_class(*lines.split("\n"), culprit=shared, remedy="\n".join(remedies))
        if isinstance(first, ConfigError)
        else of_class(lines, culprit=shared, remedy="\n".join(remedies))
    )
    joined.__cause__ = first
    return joined


def printable(name: object) -> str:
    """Return a name from outside, such as that of a file, for a line of text: control characters replaced.

    They could end the line, move the cursor, or give commands to the terminal.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in _CONTROL else letter
        for letter in str(name)
    )


def printable_lines(text: str) -> str:
    """Return a message of one or more lines with its other control characters replaced."""
    return "\n".join(map(printable, text.split("\n")))


def _cut(name: str) -> str:
    """Return a name with its middle left out if it is far too long, so that the problem can still be read."""
    if len(name) <= _LONGEST_CULPRIT:
        return name
    return f"{name[: _LONGEST_CULPRIT // 2]}...{name[-_LONGEST_CULPRIT // 2 :]}"


def shortened(names: Sequence[str]) -> str:
    """Return names for a message, comma-separated: the first few, and the number of the others."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
