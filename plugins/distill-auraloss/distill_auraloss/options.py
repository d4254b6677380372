"""The options of the terms: attrs configs made from the signatures of auraloss's classes. Loads no torch."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import attrs
from attrs import field, frozen, validators

from distill import TermConfig
from distill_auraloss.signatures import LossClass

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]

WITHHELD = {
    "device": "the term follows the device of its inputs",
    "output": "'full' returns a tuple instead of a scalar",
    "reduction": "'none' returns no scalar, and 'sum' depends on batch size and clip length",
    "sample_rate": "it is that of the representation",
    "scale_invariance": "with several examples it scales each by the factors of another, or fails",
    "RandomResolutionSTFTLoss.scale": "the FFTs drawn are soon too small for any number of bins",
    "RandomResolutionSTFTLoss.n_mels": "as for scale",
}
"""The parameters that are not options, for all classes or for one, each with the reason."""

_MOST_FFT, _MOST_OVERLAP = 131_072, 256

WINDOWS = ("hann_window", "bartlett_window", "blackman_window", "hamming_window", "kaiser_window")


@frozen(kw_only=True)
class AuralossConfig(TermConfig):
    """The options of the term of a loss class of auraloss."""

    loss: ClassVar[LossClass]
    term: ClassVar[str]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for the constructor of the loss class."""
        return {
            name: getattr(self, name) for name in self.loss.parameters if name not in _withheld(self.loss)
        }


def config_class(term: str, loss: LossClass, extra: dict[str, Any]) -> type[AuralossConfig]:
    """Return the config class of a term, made from the signature of its loss class.

    `extra` has additional options of the term by name, with their defaults.
    """
    parameters = {name: loss.parameters[name] for name in loss.parameters if name not in _withheld(loss)}
    options = {name: _option(name, default) for name, default in (parameters | extra).items()}
    return attrs.make_class(
        f"{loss.name}Config",
        options,
        bases=(AuralossConfig,),
        class_body={"__doc__": f"The options of `{term}`.", "loss": loss, "term": term},
        frozen=True,
        kw_only=True,
    )


def _withheld(loss: LossClass) -> set[str]:
    return {name for name in loss.parameters if name in WITHHELD or f"{loss.name}.{name}" in WITHHELD}


def _option(name: str, default: Any) -> Any:  # noqa: ANN401  # `attrs.field` is typed as the value of the field
    help_text, validator = _KNOWN.get(name, ("", None))
    if isinstance(default, list):
        default = tuple(default)
    type_ = _TYPES[name] if name in _TYPES else _type_of(default)
    return field(default=default, validator=validator, type=type_, metadata={"help": help_text})


def _type_of(default: object) -> Any:  # noqa: ANN401  # a type, or a generic alias
    return tuple[type(default[0]), ...] if isinstance(default, tuple) else type(default)


def _at_most_fft_size(config: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:  # noqa: ANN401
    if value > config.fft_size:
        raise ValueError(f"'{attribute.name}' must be at most fft_size {config.fft_size}: {value}")


def _a_share_of_fft_size(config: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:  # noqa: ANN401
    if 0 < _MOST_OVERLAP * value < config.fft_size:
        raise ValueError(
            f"'{attribute.name}' must be at least 1 / {_MOST_OVERLAP} of fft_size {config.fft_size}: {value}"
        )


def _fit_together(config: Any, attribute: "attrs.Attribute[Any]", windows: tuple[int, ...]) -> None:  # noqa: ANN401
    sizes, hops = config.fft_sizes, config.hop_sizes
    beside = f"with hop_sizes {list(hops)} and fft_sizes {list(sizes)}: {windows!r}"
    if not len(sizes) == len(hops) == len(windows):
        raise ValueError(f"'{attribute.name}' must be one for each resolution, {beside}")
    if any(window > size for window, size in zip(windows, sizes, strict=True)):
        raise ValueError(f"'{attribute.name}' must be at most the FFT sizes, {beside}")
    if any(0 < _MOST_OVERLAP * hop < size for size, hop in zip(sizes, hops, strict=True)):
        raise ValueError(f"'{attribute.name}' must belong to FFT sizes of at most 256 hops, {beside}")


def _power_of_two(_: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 4 or value & (value - 1) or value > _MOST_FFT:
        raise ValueError(f"'{attribute.name}' must be a power of two from 4 to {_MOST_FFT}: {value}")


def _above_smallest_fft(config: Any, attribute: "attrs.Attribute[int]", value: int) -> None:  # noqa: ANN401
    if value <= config.min_fft_size:
        raise ValueError(f"'{attribute.name}' must be above min_fft_size {config.min_fft_size}: {value}")


def _a_sample_at_least(config: Any, attribute: "attrs.Attribute[float]", value: float) -> None:  # noqa: ANN401
    if value * config.min_fft_size < 1:
        raise ValueError(
            f"'{attribute.name}' must be at least one sample of min_fft_size {config.min_fft_size}: {value}"
        )


def _at_least_smallest_hop(config: Any, attribute: "attrs.Attribute[float]", value: float) -> None:  # noqa: ANN401
    if value < config.min_hop_size:
        raise ValueError(f"'{attribute.name}' must be at least min_hop_size {config.min_hop_size}: {value}")


def _given_with_scale(config: Any, attribute: "attrs.Attribute[int]", value: int | None) -> None:  # noqa: ANN401
    if (value is None) != (config.scale is None):
        raise ValueError(f"'{attribute.name}' must be set together with scale, and only then")


def _at_most_bins(config: Any, attribute: "attrs.Attribute[int]", value: int | None) -> None:  # noqa: ANN401
    smallest = min(getattr(config, "fft_sizes", None) or (config.fft_size,))
    if value is not None and value > smallest // 2:
        raise ValueError(f"'{attribute.name}' must be at most half the FFT size {smallest}: {value}")


_COUNT: list[_Validator] = [validators.ge(1), validators.le(10**9)]
_SIZE: list[_Validator] = [validators.ge(1), validators.le(_MOST_FFT)]
_SIZES: list[_Validator] = [
    validators.min_len(1),
    validators.max_len(16),
    validators.deep_iterable(_SIZE),
]
_FACTOR: list[_Validator] = [validators.ge(0), validators.lt(float("inf"))]
_POSITIVE: list[_Validator] = [validators.gt(0), validators.lt(float("inf"))]

_TYPES: dict[str, Any] = {
    "distance": Literal["L1", "L2"],
    "mag_distance": Literal["L1", "L2"],
    "n_bins": int | None,
    # auraloss 0.4.0 cannot build 'chroma' here: it registers a numpy array as a buffer, which torch rejects.
    "scale": Literal["mel"] | None,
    "window": Literal[WINDOWS],
    "windows": tuple[Literal[WINDOWS], ...],
}
"""The types of parameters that do not follow from the default."""

_KNOWN: dict[str, tuple[str, Any]] = {
    "a": ("steepness; the larger, the nearer to a mean absolute difference", _POSITIVE),
    "distance": ("distance of the magnitudes: absolute (L1) or squared (L2) differences", None),
    "eps": ("constant that keeps divisions and logarithms finite", _POSITIVE),
    "fft_size": ("FFT size, in samples", [validators.ge(2), validators.le(_MOST_FFT)]),
    "fft_sizes": ("FFT size of each resolution, in samples", _SIZES),
    "hop_size": ("samples between frames", [*_SIZE, _a_share_of_fft_size]),
    "hop_sizes": ("hop of each resolution, in samples", _SIZES),
    "log": ("compare the logarithms of the magnitudes", None),
    "mag_distance": ("distance of the magnitudes: absolute (L1) or squared (L2) differences", None),
    "max_fft_size": (
        "random FFT sizes are below this power of two; lower for shorter clips",
        [_power_of_two, _above_smallest_fft],
    ),
    "max_hop_size": (
        "largest hop, as a share of the FFT size",
        [validators.le(1), _at_least_smallest_hop],
    ),
    "min_fft_size": ("smallest FFT size, a power of two, in samples", _power_of_two),
    "min_hop_size": (
        "smallest hop, as a share of the FFT size",
        [validators.gt(0), validators.le(1), _a_sample_at_least],
    ),
    "n_bins": (
        "number of mel bins, if scale is set",
        [validators.optional(_SIZE), _given_with_scale, _at_most_bins],
    ),
    "n_chroma": ("pitch classes in an octave", [*_SIZE, _at_most_bins]),
    "n_mels": ("number of mel bins", [*_SIZE, _at_most_bins]),
    "perceptual_weighting": ("filter both sounds by A-weighting first", None),
    "randomize_rate": ("steps between draws", _COUNT),
    "resolutions": ("number of random resolutions", [validators.ge(1), validators.le(16)]),
    "scale": ("scale of the frequencies; unset: linear", None),
    "seed": ("seed of the random resolutions", [validators.ge(0), validators.lt(2**32)]),
    "w_diff": ("factor of the distance of the differences, left - right", _FACTOR),
    "w_lin_mag": ("factor of the distance of the magnitudes", _FACTOR),
    "w_log_mag": ("factor of the distance of the log-magnitudes", _FACTOR),
    "w_phs": (
        "factor of the squared difference of phases, not wrapped; its gradient explodes near silence",
        _FACTOR,
    ),
    "w_sc": ("factor of the spectral convergence, of the batch as a whole", _FACTOR),
    "w_sum": ("factor of the distance of the sums, left + right", _FACTOR),
    "win_length": ("samples in the window, at most fft_size", [*_SIZE, _at_most_fft_size]),
    "win_lengths": ("window of each resolution, at most its FFT size", [*_SIZES, _fit_together]),
    "window": ("torch's function that makes the window", None),
    "windows": ("torch's functions that make windows, drawn from these", validators.min_len(1)),
    "zero_mean": ("subtract the mean of each sound first", None),
}
"""The help text and the validator of each option."""
