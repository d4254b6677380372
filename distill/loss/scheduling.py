"""Which terms the composer calls last, so that they can compute in one step what no other term looks at."""

from torch import nn

from distill.views import LossInputs, View


class LastTerm(nn.Module):
    """A term that the composer calls after the others, and that may then ask `is_unshared`."""


def is_unshared(inputs: LossInputs, *views: View) -> bool:
    """Return whether no term has looked at any of these views, and none will after the one that runs."""
    held = (side.holds(view) for side in (inputs.prediction, inputs.target) for view in views)
    return inputs.last and not any(held)
