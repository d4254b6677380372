"""Terms that the composer calls last, so that they need not keep views that no other term uses."""

from torch import nn

from distill.views import LossInputs, View


class LastTerm(nn.Module):
    """A term that the composer calls after the others, and that may call `is_unshared`."""


def is_unshared(inputs: LossInputs, *views: View) -> bool:
    """Return whether no earlier term has used any of these views, and no later term will."""
    held = (side.holds(view) for side in (inputs.prediction, inputs.target) for view in views)
    return inputs.last and not any(held)
