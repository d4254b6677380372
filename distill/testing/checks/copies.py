"""Checks of copies of a term, by pickle and by `copy.deepcopy`."""

import copy
import io
import pickle
from typing import Any

from torch import nn

from distill.plugin.registered import Term
from distill.testing.checks.sounds import close
from distill.testing.outcome import Failed
from distill.testing.subject import Subject

_TERM = "the term that is checked"


def pickled(subject: Subject) -> None:
    """A loss with the term can be pickled after a call, and the copy returns the same value."""
    _require_equal_copy(
        subject,
        _through_pickle,
        "pickled",
        "keep no lambdas, local functions, generators, files or locks in attributes",
    )


def copied(subject: Subject) -> None:
    """A loss with the term can be copied by `copy.deepcopy` after a call, and the copy returns its value."""
    _require_equal_copy(
        subject,
        copy.deepcopy,
        "copied by copy.deepcopy",
        "detach() tensors that are kept from a call",
    )


def _require_equal_copy(subject: Subject, make: Any, how: str, remedy: str) -> None:  # noqa: ANN401  # as below
    subject.require_loss()
    loss, inputs = subject.compose(), subject.inputs()
    (module,) = loss.terms.values()
    value = subject.value(module, inputs)
    try:
        (other,) = make(loss).terms.values()
    except Exception as error:
        raise Failed(f"it cannot be {how}: {type(error).__name__}: {error}; {remedy}") from error
    again = subject.value(other, inputs, f"{how}, ")
    if not close(value, again):
        raise Failed(
            f"the value is {value.item():g}, and {again.item():g} of a loss that was {how}; "
            "keep in attributes, parameters and buffers all that the value depends on"
        )


def _through_pickle(loss: nn.Module) -> Any:  # noqa: ANN401  # of the same type
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(loss)
    return _Unpickler(file, pickler.terms).load()


class _Pickler(pickle.Pickler):
    """A pickler that omits specs, which need not be importable. Installed terms are pickled by name."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.terms: list[Term] = []

    def persistent_id(self, obj: object) -> str | None:
        if not isinstance(obj, Term):
            return None
        self.terms.append(obj)
        return _TERM


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, terms: list[Term]) -> None:
        file.seek(0)
        super().__init__(file)
        self._terms = terms

    def persistent_load(self, pid: object) -> Term:  # noqa: ARG002  # there is one term
        return self._terms[0]
