"""Checks of a term's config: options that can be saved, and a weight that can be 0."""

import tomllib

from distill.config import structure, to_toml
from distill.testing.outcome import Failed
from distill.testing.subject import Subject, gradients, leaves


def config(subject: Subject) -> None:
    """The options are unchanged after they are written as TOML and read again."""
    given = subject.config
    try:
        read = structure(tomllib.loads(to_toml(given)), type(given))
    except Exception as error:
        raise Failed(
            f"the options cannot be written as TOML and read again: {error}; keep to int, float, bool, str, "
            "Path, tuples of these, and frozen attrs classes"
        ) from error
    if read != given:
        raise Failed(
            f"written as TOML and read again, {given} is {read}; "
            "leave out converters that change values they have already converted"
        )


def weight_zero(subject: Subject) -> None:
    """With a weight of 0, the term is only monitored: the weight stays 0, and there is no gradient."""
    subject.require_loss()
    option = subject.config.weight_option
    try:
        loss = subject.compose(**{option: 0.0})
    except (TypeError, ValueError) as error:
        raise Failed(
            f"'{option}' cannot be 0: {error}; allow it, so that the term can be monitored"
        ) from error
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        weight = loss.weights_at(progress)[subject.term.name]
        if weight != 0:
            raise Failed(
                f"with {option} = 0 the weight is {weight:g} at a progress of {progress:g}; "
                f"let weight_at be proportional to '{option}'"
            )
        inputs = subject.inputs(progress=progress)
        if any(pull is not None for pull in gradients(loss(inputs)["total"], leaves(inputs))):
            raise Failed(f"with {option} = 0 a gradient reaches the model; do not set requires_grad")
