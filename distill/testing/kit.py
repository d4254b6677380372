"""`check_term`: every check on one term."""

from collections.abc import Iterator

from distill.config import suggest
from distill.errors import TermError
from distill.loss.config import configure
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Term
from distill.plugin.registry import Registry
from distill.spectral.representation import MagnitudeIF
from distill.testing.checks import CHECKS, Check
from distill.testing.faults import described, place
from distill.testing.inputs import small_representation
from distill.testing.outcome import Failed, NotApplicable, Outcome, TermCheckError
from distill.testing.subject import Subject


def check_term(
    term: TermSpec | Term, representation: MagnitudeIF | None = None, /, **options: object
) -> tuple[Outcome, ...]:
    """Run every check on a term that is built with these options, and give what each came to.

    Args:
        term: a spec, or a term of a registry, whose distribution errors then name.
        representation: that of the sounds to check with; by default a small one at 8 kHz.
        options: those of the term by name, as a recipe has them.

    Raises:
        TermCheckError: one or more checks failed; it lists them all.
        TermError: the term cannot be built, or a waiver names no check.
        ConfigError: an option is unknown or does not fit.
    """
    outcomes = run_checks(term, representation, **options)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise TermCheckError(str(_registered(term)), outcomes) from failed[0].error
    return outcomes


def run_checks(
    term: TermSpec | Term, representation: MagnitudeIF | None = None, /, **options: object
) -> tuple[Outcome, ...]:
    """Run every check as `check_term` does, and give what each came to, failed or not.

    Raises:
        TermError: the term cannot be built, or a waiver names no check.
        ConfigError: an option is unknown or does not fit.
    """
    registered = _registered(term)
    _require_known_waivers(registered)
    config = getattr(configure((registered,), {registered.name: options}), registered.name)
    subject = Subject(registered, config, representation or small_representation())
    subject.build()
    return tuple(_outcomes(subject))


def registry_with(plugin: object) -> Registry:
    """Make a registry of the built-in terms and those of one plugin, whatever else is installed.

    `plugin` is a module, or any object that has hooks.

    Raises:
        TermError: the plugin breaks the contract in `distill.hookspecs`, or one of its names is taken.
    """
    registry = Registry(discover=False)
    registry.register(plugin, name=getattr(plugin, "__name__", type(plugin).__name__))
    return registry


def _outcomes(subject: Subject) -> Iterator[Outcome]:
    shown: dict[tuple[type, str], str] = {}
    for check in CHECKS:
        name = check.__name__
        reason = subject.spec.waivers.get(name)
        outcome = Outcome(name, "waived", reason) if reason else _outcome(check, subject)
        raised = outcome.error.__cause__ if isinstance(outcome.error, Failed) else outcome.error
        if raised is not None:
            fault = type(raised), place(raised)
            if fault in shown:
                outcome = Outcome(name, "not applicable", f"it meets the error that '{shown[fault]}' shows")
            else:
                shown[fault] = name
        yield outcome


def _outcome(check: Check, subject: Subject) -> Outcome:
    name = check.__name__
    try:
        return Outcome(name, "passed", check(subject) or "")
    except NotApplicable as reason:
        return Outcome(name, "not applicable", str(reason))
    except Failed as failure:
        return Outcome(name, "failed", str(failure), error=failure)
    except Exception as error:  # noqa: BLE001  # a term may raise anything
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
