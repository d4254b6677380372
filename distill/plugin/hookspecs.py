"""The interface of plugins: the hooks they implement and the records they yield. Loads no torch."""

import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pluggy
from attrs import field, frozen, validators

from distill.config.validated import Validated
from distill.plugin import schedules

if TYPE_CHECKING:
    from torch import nn

PROJECT = "distill"
"""pluggy's project name, and the entry point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@frozen(kw_only=True)
class BaseTermConfig(metaclass=Validated):
    """The options of a term whose weight has a name of its own, such as `weight_max` of `kl`.

    `weight_option` is the name of that option. `weight_at` must be proportional to its value.
    """

    weight_option: ClassVar[str] = "weight"

    @abstractmethod
    def weight_at(self, progress: float) -> float:
        """Return the weight at a progress of 0..1 through the training run."""

    def has_begun(self, progress: float) -> bool:  # noqa: ARG002  # subclasses may start later
        """Return whether the term is computed at a progress of 0..1."""
        return True


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
        """Return `weight` times the schedule's factor at a progress of 0..1."""
        return self.weight * schedules.factor_at(self.schedule, progress)


@frozen(kw_only=True)
class TrainedTermConfig(TermConfig):
    """The options of a term with parameters to train, such as a discriminator.

    Besides `forward`, its module has a method `objective(inputs)`. It returns the loss of the term's own
    parameters, a scalar or a dict of parts; the inputs are detached from the model. The trainer optimizes
    these parameters with AdamW. They get no gradient from `forward`.
    """

    start: float = field(
        default=0.0,
        validator=[validators.ge(0), validators.lt(1)],
        metadata={"help": "share of the training run before the term is computed"},
    )
    learning_rate: float = field(
        default=2e-4,
        validator=[validators.gt(0), validators.lt(float("inf"))],
        metadata={"help": "peak learning rate of the term's own parameters; same schedule as the model's"},
    )
    betas: tuple[float, float] = field(
        default=(0.8, 0.99),
        validator=validators.deep_iterable([validators.ge(0), validators.lt(1)]),
        metadata={"help": "AdamW's decay rates of the averages of the gradient and of its square"},
    )

    def has_begun(self, progress: float) -> bool:
        """Return whether `progress` has reached `start`."""
        return progress >= self.start


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("total", "weight", "weighted", "objective", "gradient_norm")
"""The kinds of components, see `distill.loss.components`, which no term may be named after."""


def _is_name(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"'{attribute.name}' must be lower-case letters, digits and underscores, "
            f"beginning with a letter: {value!r}"
        )
    if value in _RESERVED or iskeyword(value):
        raise ValueError(
            f"'{attribute.name}' must be neither a Python keyword nor one of "
            f"{', '.join(_RESERVED)}: {value!r}"
        )


def _is_config_of(base: type) -> "Callable[[Any, attrs.Attribute[Any], type], None]":
    def check(spec: "TermSpec | BalancerSpec", attribute: "attrs.Attribute[Any]", value: type) -> None:
        what = f"'{attribute.name}' of '{spec.name}'"
        if not (isinstance(value, type) and issubclass(value, base)):
            public = "TermConfig" if base is BaseTermConfig else base.__name__
            raise TypeError(f"{what} must be a subclass of distill.{public}: {value!r}")
        # A subclass made by attrs is frozen as its base is; without attrs, its options would be ignored.
        if "__attrs_attrs__" not in vars(value):
            raise TypeError(f"{what} must be decorated with @attrs.frozen(kw_only=True): {value!r}")

    return check


def _have_reasons(_: object, attribute: "attrs.Attribute[Any]", waivers: Mapping[str, str]) -> None:
    for check, reason in dict(waivers).items():
        if not (isinstance(reason, str) and reason.strip()):
            raise ValueError(f"'{attribute.name}' must give a reason for the check {check!r}: {reason!r}")


@frozen(kw_only=True)
class TermSpec(metaclass=Validated):
    """The specification of a loss term, as a plugin registers it.

    Attributes:
        name: The canonical name.
        config: The class of the options.
        build: A function or class that is called with the config and returns the term, an `nn.Module` called
            with `LossInputs`. An import string, `"package.module:Class"`, lets Distill list terms without
            importing torch.
        summary: One line for lists of terms.
        aliases: Further names.
        last: Whether the term is called after the others. Deprecated, and will be removed in 0.4.0: the
            composer orders the terms.
        per_example: Whether the batch loss is the mean of per-example losses, so that several processes
            compute the same loss as one.
        waivers: The checks of `distill.testing` that the term cannot pass, each with the reason.
    """

    name: str = field(validator=_is_name)
    config: type[BaseTermConfig] = field(validator=_is_config_of(BaseTermConfig))
    build: "str | Callable[[Any], nn.Module]"
    summary: str
    aliases: tuple[str, ...] = field(default=(), validator=validators.deep_iterable(_is_name))
    last: bool = False
    per_example: bool = True
    waivers: Mapping[str, str] = field(
        factory=dict,
        validator=_have_reasons,
        hash=False,
    )

    def __attrs_post_init__(self) -> None:
        if self.last:
            warnings.warn(
                f"TermSpec(last=True) of the term '{self.name}' is deprecated and will be removed in 0.4.0; "
                "leave it out, the composer orders the terms",
                DeprecationWarning,
                stacklevel=4,  # this, `__init__`, and the metaclass
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the canonical name, then the aliases."""
        return (self.name, *self.aliases)

    @property
    def trained(self) -> bool:
        """Whether the term has parameters and an objective of its own."""
        return issubclass(self.config, TrainedTermConfig)


@frozen(kw_only=True)
class BalancerConfig(metaclass=Validated):
    """The options of a balancer: subclass it as `TermConfig` is subclassed."""


@frozen(kw_only=True)
class BalancerSpec(metaclass=Validated):
    """The specification of a balancer, as a plugin registers it. It is chosen with `--balance`.

    `build` is called with the config and the names of the terms; it may be an import string. It returns an
    `nn.Module`, which is called at each training step with

    - `losses`: the unweighted scalar of each term that has a weight, by name,
    - `weights`: the weights of these terms, as their configs give them,
    - `outputs`: the decoder's tensors, `[B, ...]`, through which the losses reach the model,

    and returns the factor of each term in the total by name, scalars without gradient. A term that is
    missing there keeps its weight. State between steps belongs in buffers, which are saved in checkpoints.
    """

    name: str = field(validator=_is_name)
    config: type[BalancerConfig] = field(validator=_is_config_of(BalancerConfig))
    build: "str | Callable[[Any, tuple[str, ...]], nn.Module]"
    summary: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name. A balancer has no aliases."""
        return (self.name,)


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
            bands: int = field(
                default=8, validator=[v.ge(1), v.le(512)], metadata={"help": "frequency bands"}
            )
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


@hookspec
def distill_balancers() -> Iterable[BalancerSpec]:  # type: ignore[empty-body]  # a hookspec has no body
    '''Yield a `BalancerSpec` for each balancer of the plugin.

    A complete plugin is one module, found by an entry point as that of a term is:

        """Let every term be as large as its weight."""
        from attrs import field, frozen, validators as v
        from torch import Tensor, nn
        from distill import BalancerConfig, BalancerSpec, hookimpl

        @frozen(kw_only=True)
        class EqualConfig(BalancerConfig):
            floor: float = field(default=1e-3, validator=v.gt(0), metadata={"help": "least loss divided by"})

        class Equal(nn.Module):
            def __init__(self, config: EqualConfig, terms: tuple[str, ...]) -> None:
                super().__init__()
                self.floor = config.floor

            def forward(
                self, losses: dict[str, Tensor], weights: dict[str, float], outputs: tuple[Tensor, ...]
            ) -> dict[str, Tensor]:
                sizes = {name: loss.detach().clamp(min=self.floor) for name, loss in losses.items()}
                return {name: weights[name] / size for name, size in sizes.items()}

        @hookimpl
        def distill_balancers():
            yield BalancerSpec(name="equal", config=EqualConfig, build=Equal, summary="terms of equal size")
    '''
