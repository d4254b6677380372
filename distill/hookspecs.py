"""The contract of a plugin: the hook it implements and the records it yields. Loads no torch."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import attrs
import pluggy
from attrs import field, frozen, validators

from distill import schedules

if TYPE_CHECKING:
    from torch import nn

PROJECT = "distill"
"""pluggy's project name, and the entry point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@frozen(kw_only=True)
class BaseTermConfig(ABC):
    """The options of a term that names its weight itself, as `kl` does with `weight_max`."""

    @abstractmethod
    def weight_at(self, progress: float) -> float:
        """Give the weight at a progress of 0..1 through the training."""


@frozen(kw_only=True)
class TermConfig(BaseTermConfig):
    """The options of a term: subclass it, add attrs fields, and decorate with `@frozen(kw_only=True)`.

    A field's `metadata={"help": ...}` is shown by `distill losses show`, in recipes and in the docs.
    """

    weight: float = field(
        default=1.0,
        validator=[validators.ge(0), validators.lt(float("inf"))],
        metadata={"help": "factor in the total; 0 only monitors the term"},
    )
    schedule: schedules.Points = field(
        default=(),
        validator=schedules.rising_points,
        metadata={"help": "[progress, factor] points that scale the weight; none: constant"},
    )

    def weight_at(self, progress: float) -> float:
        """Give `weight` times the schedule's factor at a progress of 0..1."""
        return self.weight * schedules.factor_at(self.schedule, progress)


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("total", "weight", "weighted")  # components that the composer adds itself


def _is_name(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not _NAME.fullmatch(value):
        msg = f"'{attribute.name}' must be lower-case letters, digits and underscores: {value!r}"
        raise ValueError(msg)
    if value in _RESERVED or iskeyword(value):
        msg = f"'{attribute.name}' must be no word of Python's, nor one of {', '.join(_RESERVED)}: {value!r}"
        raise ValueError(msg)


def _is_frozen_config(_: object, attribute: "attrs.Attribute[Any]", value: type) -> None:
    if not (isinstance(value, type) and issubclass(value, BaseTermConfig)):
        msg = f"'{attribute.name}' must be a subclass of distill.TermConfig: {value!r}"
        raise TypeError(msg)
    if "__attrs_attrs__" not in vars(value):
        msg = f"'{attribute.name}' must be decorated with @attrs.frozen(kw_only=True): {value!r}"
        raise TypeError(msg)


@frozen(kw_only=True)
class TermSpec:
    """What a plugin registers for one loss term.

    `build` is called with the config and returns the term, an `nn.Module` called with a
    `LossInputs`; it may be an import string, `"package.module:Class"`, so that listing terms does
    not import torch. A term that is `last` runs after those that are not, so that `LossInputs.unshared`
    can tell it what it need not compute as a view.
    """

    name: str = field(validator=_is_name)
    config: type[BaseTermConfig] = field(validator=_is_frozen_config)
    build: "str | Callable[[Any], nn.Module]"
    summary: str
    aliases: tuple[str, ...] = field(default=(), validator=validators.deep_iterable(_is_name))
    last: bool = False


@hookspec
def distill_loss_terms() -> Iterable[TermSpec]:  # type: ignore[empty-body]  # a hookspec has no body
    '''Yield a `TermSpec` for each loss term of the plugin.

    A complete plugin is one module:

        """Compare the energy of two sounds band by band."""
        import torch
        from attrs import field, frozen, validators as v
        from torch import Tensor, nn
        from distill import LossInputs, TermConfig, TermSpec, hookimpl
        from distill.views import Stft

        @frozen(kw_only=True)
        class BandEnergyConfig(TermConfig):
            bands: int = field(default=8, validator=v.ge(1), metadata={"help": "frequency bands"})
            stft: Stft = Stft(n_fft=1024, hop=256)

        class BandEnergy(nn.Module):
            def __init__(self, config: BandEnergyConfig) -> None:
                super().__init__()
                self.config = config

            def forward(self, inputs: LossInputs) -> Tensor:
                prediction, target = inputs.view(self.config.stft)
                return (self._log_energy(prediction) - self._log_energy(target)).abs().mean()

            def _log_energy(self, spectrum: Tensor) -> Tensor:
                bands = spectrum.abs().square().tensor_split(self.config.bands, dim=-2)
                return torch.stack([band.mean(dim=-2) for band in bands]).add(1e-8).log()

        @hookimpl
        def distill_loss_terms():
            yield TermSpec(name="band_energy", config=BandEnergyConfig, build=BandEnergy,
                           summary="energy per frequency band")

    and an entry point in its `pyproject.toml`:

        [project.entry-points.distill]
        band_energy = "distill_band_energy"
    '''
