"""The names of a loss's components: written by the composer and the trainer, parsed by what reports them.

| name | component |
|---|---|
| `total` | the loss |
| `TERM`, `TERM/PART` | an unweighted term, and a part of it |
| `weighted/TERM`, `weight/TERM` | a weighted term, and its weight |
| `objective`, `objective/TERM`, `objective/TERM/PART` | the objectives of trained terms: sum, one, part |
| `gradient_norm`, `gradient_norm/TERM` | the norm of the gradient of the model, and of a trained term |

No term has the name of a kind, see `distill.plugin.hookspecs`. Loads no torch.
"""

from typing import Literal

from attrs import frozen

TOTAL = "total"
OBJECTIVE = "objective"
GRADIENT_NORM = "gradient_norm"
_WEIGHTED = "weighted"
_WEIGHT = "weight"


def can_name_a_part(name: object) -> bool:
    """Return whether a part of a term can have a name: it is shown in tables and written to files."""
    return isinstance(name, str) and name != "" and name.isprintable()


def part_name(term: str, part: str) -> str:
    """Return the name of a part of an unweighted term."""
    return f"{term}/{part}"


def weighted_name(term: str) -> str:
    """Return the name of a weighted term."""
    return f"{_WEIGHTED}/{term}"


def weight_name(term: str) -> str:
    """Return the name of a term's weight."""
    return f"{_WEIGHT}/{term}"


def objective_name(component: str) -> str:
    """Return the name of a trained term's objective; `component` names the term or a part."""
    return f"{OBJECTIVE}/{component}"


def gradient_norm_name(term: str) -> str:
    """Return the name of the norm of a trained term's gradient."""
    return f"{GRADIENT_NORM}/{term}"


@frozen
class ComponentName:
    """A parsed name. `term` and `part` are empty where it has none."""

    kind: Literal["total", "term", "weighted", "weight", "objective", "gradient_norm"]
    term: str = ""
    part: str = ""

    @classmethod
    def parse(cls, name: str) -> "ComponentName":
        """Return the kind, term and part of a component."""
        first, _, rest = name.partition("/")
        match first:
            case "total":
                return cls("total")
            case "weighted" | "weight" | "objective" | "gradient_norm":
                term, _, part = rest.partition("/")
                return cls(first, term, part)
            case _:
                return cls("term", first, rest)

    @property
    def is_summary(self) -> bool:
        """Whether the component is the total, a whole term or the sum of the objectives."""
        whole = {"total": True, "term": not self.part, "objective": not self.term}
        return whole.get(self.kind, False)

    @property
    def is_objective(self) -> bool:
        """Whether the component is the whole objective of one trained term."""
        return self.kind == OBJECTIVE and bool(self.term) and not self.part

    @property
    def is_weighting(self) -> bool:
        """Whether the component is a weight or a weighted term."""
        return self.kind in (_WEIGHTED, _WEIGHT)

    @property
    def is_decisive(self) -> bool:
        """Whether a training run stops when the component is not finite."""
        return self.kind in (TOTAL, GRADIENT_NORM) or (self.kind == OBJECTIVE and not self.term)
