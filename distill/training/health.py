"""The health of a training run: signs that it does not learn what it should, each told once with a remedy.

Shapes: `B` clips in a batch, `D` numbers per latent frame, `T'` latent frames.

Everything is measured on the device or on the host's side of a step, and looked at where a record is made, so
that no step waits. `docs/reliability.md` lists the rules.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping

from torch import Tensor

from distill.audio.corpus import Corpus, Split
from distill.errors import shortened
from distill.loss.composer import CombinedLoss
from distill.training.record import About
from distill.training.term_gradients import Measured
from distill.views import LossInputs

ACTIVE_VARIANCE = 0.01
"""The variance of a latent number's mean from which it counts as active (Burda et al., 2016)."""

COLLAPSED_SHARE = 0.05
"""A posterior has collapsed if a smaller share of its numbers is active."""

DOMINANT_SHARE = 0.95
"""The share of the gradient from which a term leaves next to nothing to the others."""

DIVERGED = 4.0
"""The loss diverges if it is this many times as high as it was, each time over `RECORDS` records."""

RECORDS = 5
"""The number of records in a row that a rule looks at."""

MANY = 20
"""The number of recordings from which the share of those never drawn says something."""

NEVER_DRAWN_SHARE = 0.5
"""The share of recordings that may be left out at the end without a warning."""

MEASUREMENTS = 1, 2, 4, 8, 16
"""The held-out evaluations after which the gradients of the terms are measured, as in the first step."""


class Health:
    """Follows a training run, and calls `warn` with each sign of ill health once."""

    def __init__(self, loss: CombinedLoss, corpus: Corpus, warn: Callable[[About, str], None]) -> None:
        self.loss, self.corpus, self._warn = loss, corpus, warn
        self._told: set[str] = set()
        self._collapsed = 0
        self._latest: deque[float] = deque(maxlen=RECORDS)
        self._lowest = math.inf
        self._gradients: Measured | None = None
        self._measured: dict[str, int] = {}
        self._mu: Tensor | None = None
        self._measures = True

    @property
    def measures(self) -> bool:
        """Whether the gradients of the next step are looked at."""
        return self._measures

    def seen(self, inputs: LossInputs, gradients: Measured | None) -> None:
        """Note the inputs of a training step, and the gradients of its terms if they were measured."""
        self._mu, self._measures = inputs.posterior.mu.detach(), False
        self._gradients = gradients or self._gradients

    def recorded(self, components: Mapping[str, float], progress: float) -> None:
        """Look at what was measured since the last record. The components are means over its steps."""
        self._look_at_loss(components)
        self._look_at_gradients()
        self._look_at_posterior(progress)

    def evaluated(self, evaluations: int) -> None:
        """Measure the gradients of the terms again after some of the held-out evaluations."""
        self._measures = evaluations in MEASUREMENTS

    def finished(self, *, resumed: bool) -> None:
        """Look at the recordings after the last step, unless some were drawn before the run was resumed."""
        train = self.corpus.train
        if resumed or not isinstance(train, Split):
            return
        never = (train.heard == 0).nonzero()[0].tolist()
        if len(train.recordings) >= MANY and len(never) > NEVER_DRAWN_SHARE * len(train.recordings):
            names = [train.recordings[index].name for index in never]
            self._tell(
                "recordings",
                f"No clip of {len(never)} of the {len(train.recordings)} recordings to train on was drawn in "
                f"this run, and so they teach nothing: {shortened(names)}.\n"
                "Train for longer, with larger batches, or on fewer recordings.",
            )

    def _look_at_loss(self, components: Mapping[str, float]) -> None:
        """Compare the loss with the weights of the end, since these may rise during the training."""
        weights = self.loss.weights_at(1.0)
        trained = self.loss.trained_terms()
        value = math.fsum(
            weights[name] * components[name]
            for name in components
            if name in weights and weights[name] and name not in trained and math.isfinite(components[name])
        )
        self._latest.append(value)
        if len(self._latest) < RECORDS:
            return
        mean = math.fsum(self._latest) / RECORDS
        if 0 < DIVERGED * self._lowest < mean:
            self._tell(
                "divergence",
                f"The loss diverges: its mean over {RECORDS} records, {mean:.4g}, is more than {DIVERGED:g} "
                f"times the lowest such mean, {self._lowest:.4g}.\n"
                "Stop, and go on from an earlier checkpoint with a lower training.learning_rate.",
            )
        self._lowest = min(self._lowest, mean)

    def _look_at_gradients(self) -> None:
        if self._gradients is None:
            return
        gradients, self._gradients = self._gradients.gradients(), None
        weights = self.loss.weights_at(1.0)
        sizes = gradients.sizes(weights)
        for name, size in sizes.items():
            if self._twice(f"none {name}", size == 0 != weights[name]):
                self._tell(
                    "gradient",
                    f"The term '{name}' has a weight and no gradient: it does not change the training.\n"
                    f"Leave it out, or look whether its options let it: distill losses show {name}",
                    key=f"none {name}",
                )
        whole = math.fsum(sizes.values())
        reaching = gradients.reaching
        begun = {name for name, weight in weights.items() if weight} <= {*sizes}
        if self.loss.balancer is not None or not begun or len(reaching) < 2 or not 0 < whole < math.inf:
            return
        for name in reaching:
            share = sizes[name] / whole
            if self._twice(f"most {name}", share > DOMINANT_SHARE):
                others = ", ".join(other for other in sizes if other != name)
                self._tell(
                    "gradient",
                    f"The term '{name}' has {share:.1%} of the gradient: the others ({others}) change next "
                    "to nothing.\n"
                    "Lower its weight, or let weights be shares: --balance gradient. To find weights for "
                    "shares: distill losses profile",
                    key=f"most {name}",
                )

    def _look_at_posterior(self, progress: float) -> None:
        """Count the numbers of a latent frame whose mean varies, after the first tenth of the training."""
        if self._mu is None or progress < 0.1:
            return
        mu = self._mu.float()
        by_number = mu.transpose(0, 1).flatten(1)
        if by_number.shape[1] < 2:
            return
        active = int((by_number.var(dim=1) > ACTIVE_VARIANCE).sum())
        size = len(by_number)
        self._collapsed = self._collapsed + 1 if active < COLLAPSED_SHARE * size else 0
        if self._collapsed >= RECORDS:
            self._tell(
                "collapse",
                f"The posterior has collapsed: {active} of {size} numbers in a latent frame vary, so that "
                "the latents say next to nothing about a recording.\n"
                "Lower loss.kl.weight_max, or raise loss.kl.free_bits or loss.kl.warmup_fraction.",
            )

    def _twice(self, key: str, sign: bool) -> bool:  # noqa: FBT001  # the sign that is counted
        """Return whether a sign was there in this measurement and in the one before."""
        self._measured[key] = self._measured.get(key, 0) + 1 if sign else 0
        return self._measured[key] >= 2

    def _tell(self, sign: About, message: str, *, key: str = "") -> None:
        if (key or sign) not in self._told:
            self._told.add(key or sign)
            self._warn(sign, message)
