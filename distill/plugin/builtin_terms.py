"""The built-in terms: their options, and the hook that registers them. Loads no torch."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen, validators

from distill.config.bounds import within
from distill.plugin import schedules
from distill.plugin.hookspecs import BaseTermConfig, TermConfig, TermSpec, hookimpl

if TYPE_CHECKING:
    import attrs

_FACTOR: list[Callable[..., None]] = [validators.ge(0), validators.lt(float("inf"))]

_MOST_OVERLAP = 256
"""The largest FFT size, in hops. More overlap would take memory without measure."""


def _fit_together(
    config: "ResolutionsConfig", attribute: "attrs.Attribute[Any]", win_lengths: tuple[int, ...]
) -> None:
    fft_sizes, hop_sizes = config.fft_sizes, config.hop_sizes
    beside = f"with hop_sizes {list(hop_sizes)} and fft_sizes {list(fft_sizes)}: {win_lengths!r}"
    if not len(fft_sizes) == len(hop_sizes) == len(win_lengths):
        raise ValueError(f"'{attribute.name}' must be one for each resolution, {beside}")
    sizes = zip(hop_sizes, win_lengths, fft_sizes, strict=True)
    if any(not hop <= window <= n_fft for hop, window, n_fft in sizes):
        raise ValueError(f"'{attribute.name}' must lie between hop and FFT size, {beside}")
    if any(0 < _MOST_OVERLAP * hop < n_fft for n_fft, hop in zip(fft_sizes, hop_sizes, strict=True)):
        raise ValueError(
            f"'{attribute.name}' must belong to FFT sizes of at most {_MOST_OVERLAP} hops, {beside}"
        )


@frozen(kw_only=True)
class ResolutionsConfig(TermConfig):
    """The options of a multi-resolution STFT loss: one FFT size, hop and window per resolution."""

    fft_sizes: tuple[int, ...] = field(
        default=(512, 1024, 2048),
        validator=[
            validators.min_len(1),
            validators.max_len(16),
            validators.deep_iterable(within(1, 131_072)),
        ],
        metadata={"help": "FFT size of each resolution, in samples"},
    )
    hop_sizes: tuple[int, ...] = field(
        default=(128, 256, 512),
        validator=validators.deep_iterable(validators.ge(1)),
        metadata={"help": "hop of each resolution, in samples, at most its window"},
    )
    win_lengths: tuple[int, ...] = field(
        default=(512, 1024, 2048),
        validator=_fit_together,
        metadata={"help": "window of each resolution, in samples, at most its FFT size"},
    )
    per_example: bool = field(
        default=False,
        metadata={"help": "norms of the spectral convergence per example, not over the batch as in auraloss"},
    )
    engine: Literal["auto", "fast", "auraloss"] = field(
        default="auto",
        metadata={
            "help": "fast: Distill's own; auraloss: auraloss's modules; auto: fast where torch can run it"
        },
    )

    @property
    def resolutions(self) -> tuple[tuple[int, int, int], ...]:
        """The `(FFT size, hop, window)` of each resolution."""
        return tuple(zip(self.fft_sizes, self.hop_sizes, self.win_lengths, strict=True))


@frozen(kw_only=True)
class StftConfig(ResolutionsConfig):
    """The options of `stft`: the resolutions at which the flattened magnitude is compared."""


@frozen(kw_only=True)
class WaveformConfig(ResolutionsConfig):
    """The options of `waveform`: the resolutions, and the share of the clips that is compared."""

    share: float = field(
        default=1.0,
        validator=[validators.gt(0), validators.le(1)],
        metadata={
            "help": "share of the clips of a mini-batch that is compared, rounded up; fewer take less time"
        },
    )


@frozen(kw_only=True)
class ReconstructionConfig(TermConfig):
    """The options of `reconstruction`: the weights of its magnitude and its IF distance."""

    weight: float = field(
        default=0.1,
        validator=_FACTOR,
        metadata={"help": "factor in the total; 0 only monitors the term"},
    )
    magnitude_weight: float = field(
        default=1.0,
        validator=_FACTOR,
        metadata={"help": "factor of the L1 distance of the magnitudes"},
    )
    if_weight: float = field(
        default=0.5,
        validator=_FACTOR,
        metadata={"help": "factor of the distance of the IFs, weighted by the target's amplitude"},
    )


@frozen(kw_only=True)
class KlConfig(BaseTermConfig):
    """The options of `kl`: the full weight, its linear warm-up, and the free bits."""

    weight_option: ClassVar[str] = "weight_max"

    weight_max: float = field(
        default=0.01,
        validator=_FACTOR,
        metadata={"help": "factor in the total after the warm-up; 0 only monitors the term"},
    )
    warmup_fraction: float = field(
        default=0.3,
        validator=[validators.ge(0), validators.le(1)],
        metadata={"help": "share of the training run over which the weight rises from 0"},
    )
    free_bits: float = field(
        default=0.1,
        validator=within(0, 1e6),
        metadata={"help": "nats per latent dimension below which there is no gradient"},
    )

    def weight_at(self, progress: float) -> float:
        """Return the weight at a progress of 0..1: linear from 0 to `weight_max`, then constant."""
        return self.weight_max * schedules.factor_at(((0, 0), (self.warmup_fraction, 1)), progress)


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the terms that come with Distill."""
    yield TermSpec(
        name="stft",
        config=StftConfig,
        build="distill.loss.terms.stft:StftTerm",
        summary="multi-resolution STFT of the flattened magnitude",
        per_example=False,
    )
    yield TermSpec(
        name="reconstruction",
        aliases=("recon",),
        config=ReconstructionConfig,
        build="distill.loss.terms.reconstruction:ReconstructionTerm",
        summary="distance of the magnitudes and of the amplitude-weighted IFs",
        per_example=False,
    )
    yield TermSpec(
        name="kl",
        config=KlConfig,
        build="distill.loss.terms.kl:KlTerm",
        summary="KL divergence of the posterior from a standard normal, with free bits",
    )
    yield TermSpec(
        name="waveform",
        config=WaveformConfig,
        build="distill.loss.terms.waveform:WaveformTerm",
        summary="multi-resolution STFT of the waveforms, through the inverse",
        per_example=False,
    )
