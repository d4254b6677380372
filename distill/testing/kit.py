"""`check_term`, which runs all checks on a term."""

import re

from distill.config import suggest
from distill.errors import TermError
from distill.loss.config import configure
from distill.loss.faults import described, place
from distill.plugin.foreign import ForeignCode
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Term
from distill.plugin.registry import Registry
from distill.spectral.representation import MagnitudeIF
from distill.system.threads import one_thread
from distill.testing.checks import CHECKS, Check
from distill.testing.checks.result import inputs_unchanged
from distill.testing.inputs import small_representation
from distill.testing.outcome import Failed, NotApplicable, Outcome, TermCheckError
from distill.testing.subject import Subject

_WRITES = inputs_unchanged.__name__


def check_term(
    term: TermSpec | Term, representation: MagnitudeIF | None = None, /, **options: object
) -> tuple[Outcome, ...]:
    """Run all checks on a term with these options, and return their outcomes.

    Args:
        term: a spec, or a term of a registry. For the latter, errors name its distribution.
        representation: the representation of the test sounds. Default: a small one at 8 kHz.
        options: the options of the term by name, as in a recipe.

    Raises:
        TermCheckError: one or more checks failed. The error lists them all.
        TermError: the term cannot be built, or a waiver does not name a check.
        ConfigError: an option is unknown or its value is not valid.
    """
    outcomes = run_checks(term, representation, **options)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise TermCheckError(str(_registered(term)), outcomes) from failed[0].error
    return outcomes


def run_checks(
    term: TermSpec | Term, representation: MagnitudeIF | None = None, /, **options: object
) -> tuple[Outcome, ...]:
    """Run all checks as `check_term` does, and return their outcomes even if some failed.

    Raises:
        TermError: the term cannot be built, or a waiver does not name a check.
        ConfigError: an option is unknown or its value is not valid.
    """
    registered = _registered(term)
    _require_known_waivers(registered)
    config = getattr(configure((registered,), {registered.name: options}), registered.name)
    subject = Subject(registered, config, representation or small_representation())
    subject.build()
    with one_thread():  # the sounds are short
        return tuple(_outcomes(subject))


def registry_with(plugin: object) -> Registry:
    """Return a registry of the built-in terms and those of one plugin, without installed plugins.

    `plugin` is a module or any other object with hook implementations.

    Raises:
        TermError: the plugin violates the contract in `distill.hookspecs`, or one of its names is taken.
    """
    registry = Registry(discover=False)
    registry.register(plugin, name=getattr(plugin, "__name__", type(plugin).__name__))
    return registry


def _outcomes(subject: Subject) -> list[Outcome]:
    """Return the outcome of each check. What follows from a fault that is shown fails no other check."""
    shown: dict[tuple[type, str], str] = {}
    outcomes: list[Outcome] = []
    refused: list[int] = []
    writes = False
    for index, check in enumerate(CHECKS):
        name = check.__name__
        reason = subject.spec.waivers.get(name)
        outcome = Outcome(name, "waived", reason) if reason else _outcome(check, subject)
        raised = outcome.error.__cause__ if isinstance(outcome.error, Failed) else outcome.error
        if raised is not None:
            fault = type(raised), place(raised)
            if _is_of_writing(raised):
                refused.append(index)
            if fault in shown:
                outcome = Outcome(name, "not applicable", f"raises the error that '{shown[fault]}' shows")
            else:
                shown[fault] = name
        elif writes and outcome.status == "failed":
            outcome = _follows_from_writing(name)
        writes = writes or (name == _WRITES and outcome.status == "failed" and raised is None)
        outcomes.append(outcome)
    for index in refused if writes else ():
        outcomes[index] = _follows_from_writing(outcomes[index].check)
    return outcomes


def _follows_from_writing(name: str) -> Outcome:
    return Outcome(name, "not applicable", f"writes to its inputs: see '{_WRITES}'")


def _is_of_writing(error: BaseException) -> bool:
    """Return whether an error is one that torch raises about a write in place."""
    return isinstance(error, RuntimeError) and re.search("in-?place operation", str(error)) is not None


def _outcome(check: Check, subject: Subject) -> Outcome:
    name = check.__name__
    code = ForeignCode()
    try:
        with code:
            return Outcome(name, "passed", check(subject) or "")
    except NotApplicable as reason:
        return Outcome(name, "not applicable", str(reason))
    except Failed as failure:
        return Outcome(name, "failed", str(failure), error=failure)
    # A term may raise anything, and sys.exit(0) must not end the command as if all checks had passed.
    except BaseException as caught:
        if not code.raised_by_code(caught):
            raise
        # The composer names the term of an error; here it is known.
        error = caught.__cause__ if isinstance(caught, TermError) and caught.__cause__ else caught
        return Outcome(name, "failed", f"raised {described(error)}", error=error)


def _require_known_waivers(term: Term) -> None:
    known = [check.__name__ for check in CHECKS]
    for name in term.spec.waivers:
        if name not in known:
            raise TermError(
                f"a waiver names no check: '{name}'{suggest(name, known)}",
                culprit=str(term),
                remedy=f"The checks are {', '.join(known)}.",
            )


def _registered(term: TermSpec | Term) -> Term:
    return term if isinstance(term, Term) else Term.of(term)
