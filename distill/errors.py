"""Every exception of Distill: what was wrong, where, what was expected, and the remedy, as data.

A `DistillError` is a mistake its message lets the user repair; the command line prints it as one
message. Anything else that is raised is a fault of ours and keeps its traceback.
"""


class DistillError(Exception):
    """Something the user can put right.

    `problem` says what is wrong and what was expected, `culprit` where (a file, a path in the
    recipe, a distribution), `remedy` what to do. `exit_status` is what the command line ends with.
    """

    exit_status = 2

    def __init__(self, problem: str, *, culprit: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.culprit = culprit
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.culprit}: " if self.culprit else ""
        remedy = f"\n{self.remedy}" if self.remedy else ""
        return f"{where}{self.problem}{remedy}"


class ConfigError(DistillError):
    """Options that do not fit: unknown, of the wrong type, or out of bounds.

    `problems` has one line for each of them, which `problem` joins.
    """

    def __init__(self, *problems: str, culprit: str = "", remedy: str = "") -> None:
        super().__init__("\n".join(problems), culprit=culprit, remedy=remedy)
        self.problems = problems


class TermError(DistillError):
    """A loss term that is unknown, ambiguous, broken, or returns something that is not a loss."""


class CorpusError(DistillError):
    """A corpus that is not there, holds no readable audio, or changed while it was read."""


class RunError(DistillError):
    """A run folder that is not one, already is one, or cannot be written or read."""


class OutputError(DistillError):
    """A file to be written that exists already, or whose place is taken by something else."""


class ShapeError(DistillError):
    """Tensors whose shapes do not belong together."""


class InputError(DistillError):
    """What a function is called with, where it is of a kind that it cannot take."""


class TrainingError(DistillError):
    """A run that cannot go on, with input that was right: a loss that is not finite, say."""

    exit_status = 1
