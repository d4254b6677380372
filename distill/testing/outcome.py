"""What a check comes to. Loads no torch."""

from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from distill.errors import DistillError

Status = Literal["passed", "failed", "waived", "not applicable"]


@frozen
class Outcome:
    """What one check of a term came to.

    `detail` says what is wrong and what to do about it where the check failed, the reason where it was
    waived or does not apply, and what was seen, if anything, where it passed.
    """

    check: str
    status: Status
    detail: str = ""
    error: BaseException | None = field(default=None, eq=False, repr=False)


class Failed(Exception):  # noqa: N818  # an outcome rather than an error
    """Raised by a check: the term does not pass, and the message says why and what to do."""


class NotApplicable(Exception):  # noqa: N818  # as above
    """Raised by a check: it has nothing to say of this term, and the message says why."""


class TermCheckError(DistillError):
    """A term that does not pass all checks; `outcomes` are those of every check."""

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
