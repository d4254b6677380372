"""The held-out losses of a training run: which is the best, and whether they keep rising."""

import math
import shlex
from collections.abc import Mapping
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

_RISES_THAT_WARN = 5


class HeldoutLosses:
    """The total of each held-out measurement, and the lowest with its step."""

    def __init__(self) -> None:
        self.totals: list[float] = []
        self.best: tuple[float, int] | None = None

    def add(self, total: float, step: int) -> bool:
        """Add a measurement, and return whether it is the best so far."""
        self.totals.append(total)
        is_best = math.isfinite(total) and (self.best is None or total < self.best[0])
        if is_best:
            self.best = total, step
        return is_best

    def warning(self, folder: Path) -> str | None:
        """Return a warning after each five rises in a row, which offers the best checkpoint of the folder."""
        # NaN has not risen, and nothing has risen from it.
        newest_first = pairwise(reversed(self.totals))
        rises = sum(1 for _ in takewhile(lambda pair: pair[1] < pair[0], newest_first))
        # Not at each evaluation of a long rise, where it would say the same again and hide the records.
        if not rises or rises % _RISES_THAT_WARN:
            return None
        first, last = self.totals[-rises - 1], self.totals[-1]
        return (
            f"The held-out loss has risen {rises} evaluations in a row, from {first:.4g} to {last:.4g}: "
            "the model overfits its training recordings. Stop here, or add recordings."
            f"{self._offer(folder)}"
        )

    def _offer(self, folder: Path) -> str:
        if self.best is None:
            return ""
        run, step = shlex.quote(str(folder)), self.best[1]
        return (
            f" The best checkpoint is that of step {step}. To finish the run with it:\n"
            f"  distill train --resume --out {run} --from best --steps {step}\n"
            "To hear it:\n"
            f"  distill reconstruct {run} FILE... --checkpoint best --out DIR"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"heldout_totals": self.totals, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Distill 0.2.0 saved no best one."""
        self.totals, self.best = [*state["heldout_totals"]], state.get("best")
