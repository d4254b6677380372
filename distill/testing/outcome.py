"""The outcomes of checks. Imports no torch."""

from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from distill.errors import DistillError

Status = Literal["passed", "failed", "waived", "not applicable"]


@frozen
class Outcome:
    """The outcome of a check.

    `detail` is the problem and its remedy if the check failed, the reason if it was waived or does not apply,
    and an optional note if it passed.
    """

    check: str
    status: Status
    detail: str = ""
    error: BaseException | None = field(default=None, eq=False, repr=False)


class Failed(Exception):  # noqa: N818  # an outcome rather than an error
    """Raised by a check that fails. The message states the problem and its remedy."""


class NotApplicable(Exception):  # noqa: N818  # as above
    """Raised by a check that does not apply to a term. The message states the reason."""


class TermCheckError(DistillError):
    """Raised for a term that fails checks. `outcomes` are the outcomes of all checks."""

    exit_status = 1

    def __init__(self, term: str, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        listed = "".join(f"\n  {outcome.check}: {outcome.detail}" for outcome in failed)
        super().__init__(
            f"{len(failed)} of {len(outcomes)} checks failed{listed}",
            culprit=term,
            remedy="A check that the term cannot pass by its nature is waived in its spec, with the reason: "
            f'TermSpec(..., waivers={{"{failed[0].check}": "because ..."}})',
        )
        self.outcomes = tuple(outcomes)
