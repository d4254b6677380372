"""The posterior: the distribution of the latents that the encoder returns.

Shapes: `B` batch, `D` latent size, `T'` latent frames.
"""

from typing import Literal

from attrs import Attribute, field, frozen
from torch import Tensor

from distill.errors import InputError, InvalidValueError, ShapeError
from distill.spectral.plain import at_least_float32
from distill.views.uncompiled import made_uncompiled


def _to_float(parameter: Tensor) -> Tensor:
    if isinstance(parameter, Tensor) and parameter.is_floating_point():
        return at_least_float32(parameter)
    got = str(parameter.dtype) if isinstance(parameter, Tensor) else type(parameter).__name__
    raise InputError(
        f"mu and logvar must be floating-point tensors: got {got}",
        culprit="Posterior",
        remedy="Codes of a quantizer have no mean and no variance: leave out terms of the posterior, and "
        'pass them to a term that uses them: LossInputs(..., extras={"codes": codes}).',
    )


def _is_layout(_: object, attribute: "Attribute[str | None]", layout: str | None) -> None:
    if layout not in {None, "BDT", "BTD"}:
        raise InvalidValueError(f"'{attribute.name}' must be in [None, 'BDT', 'BTD'] (got {layout!r})")


@made_uncompiled
@frozen(kw_only=True)
class Posterior:
    """The encoder's diagonal Gaussian: mean and log-variance, `[B, D]` or `[B, D, T']`.

    Sequence models have `[B, T', D]`: pass `layout="BTD"`, and they are transposed. Without a layout, three
    axes are read as `[B, D, T']`, and `LossInputs` raises a `ShapeError` if that is implausible: if T'
    exceeds the number of frames of the signals, and D does not. Pass `layout="BDT"` if it is correct.

    Attributes:
        mu: The mean. It is converted to float32 unless it is float64.
        logvar: The log-variance, of the same shape.
        layout: The order of three axes, `"BDT"` or `"BTD"`.

    Raises:
        InputError: A parameter is not a floating-point tensor.
        ShapeError: The parameters do not share one of the shapes.
    """

    mu: Tensor = field(converter=_to_float)
    logvar: Tensor = field(converter=_to_float)
    layout: Literal["BDT", "BTD"] | None = field(default=None, validator=_is_layout)

    def __attrs_post_init__(self) -> None:
        if self.logvar.shape != self.mu.shape or self.mu.ndim not in (2, 3):
            raise ShapeError(
                "mu and logvar must share the shape [B, D] or [B, D, T']: "
                f"got {list(self.mu.shape)} and {list(self.logvar.shape)}"
            )
        if self.layout == "BTD":
            transposed = {"mu": self.mu.transpose(1, -1), "logvar": self.logvar.transpose(1, -1)}
            for name, value in {**transposed, "layout": "BDT"}.items():
                object.__setattr__(self, name, value)

    def detached(self) -> "Posterior":
        """Return the same posterior, detached from the graph."""
        return Posterior(mu=self.mu.detach(), logvar=self.logvar.detach(), layout=self.layout)

    def first(self, count: int) -> "Posterior":
        """Return the posterior of the first `count` examples."""
        return Posterior(mu=self.mu[:count], logvar=self.logvar[:count], layout=self.layout)

    def require_fit(self, examples: int, frames: int) -> None:
        """Require a number of examples, and not more latent frames than `frames`.

        Raises:
            ShapeError: It has another number of examples, or looks like `[B, T', D]`.
        """
        if len(self.mu) != examples:
            raise ShapeError(
                f"the posterior has {len(self.mu)} examples, and the sounds have {examples}: "
                f"mu is {list(self.mu.shape)}",
                culprit="LossInputs",
                remedy="Pass mu and logvar of the same examples, [B, D] or [B, D, T'].",
            )
        if self.mu.ndim == 2 or self.layout is not None:
            return
        _, size, latent_frames = self.mu.shape
        if latent_frames > frames >= size:
            raise ShapeError(
                f"the posterior {list(self.mu.shape)}, read as [B, D, T'], has {latent_frames} latent "
                f"frames, where the sounds have {frames} frames",
                culprit="LossInputs",
                remedy='Pass Posterior(..., layout="BTD") if it is [B, T\', D], layout="BDT" if it is right.',
            )
