"""`adversarial`: discriminators at several STFT resolutions, with hinge loss and feature matching.

This module declares the term and loads no torch. The term is in `term`, its network in `discriminator`.
"""

from collections.abc import Callable, Iterable

from attrs import field, frozen, validators

from distill import TermSpec, TrainedTermConfig, hookimpl

_FACTOR: list[Callable[..., None]] = [validators.ge(0), validators.lt(float("inf"))]


@frozen(kw_only=True)
class AdversarialConfig(TrainedTermConfig):
    """The options of `adversarial`. It starts late, since early predictions are easy to tell from targets."""

    weight: float = field(
        default=0.1,
        validator=_FACTOR,
        metadata={"help": "factor in the total; with 0 only the discriminators are trained"},
    )
    start: float = field(
        default=0.5,
        validator=[validators.ge(0), validators.lt(1)],
        metadata={"help": "share of the training run before the term is computed"},
    )
    hinge_weight: float = field(default=1.0, validator=_FACTOR, metadata={"help": "factor of the hinge loss"})
    feature_weight: float = field(
        default=2.0, validator=_FACTOR, metadata={"help": "factor of the feature matching"}
    )
    fft_sizes: tuple[int, ...] = field(
        default=(2048, 512, 128),
        validator=[
            validators.min_len(1),
            validators.max_len(16),
            validators.deep_iterable([validators.ge(16), validators.le(131_072)]),
        ],
        metadata={"help": "FFT size of each discriminator, in samples; its hop is a quarter"},
    )
    channels: int = field(
        default=8,
        validator=[validators.ge(1), validators.le(1024)],
        metadata={"help": "channels of a discriminator's first layer; its last has four times as many"},
    )
    share: float = field(
        default=0.25,
        validator=[validators.gt(0), validators.le(1)],
        metadata={
            "help": "share of the clips of a mini-batch that is used, rounded up; fewer take less time"
        },
    )


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the term."""
    yield TermSpec(
        name="adversarial",
        config=AdversarialConfig,
        build="distill_adversarial.term:AdversarialTerm",
        per_example=False,  # unless share=1
        summary="STFT discriminators, trained with the model: hinge loss and feature matching",
    )
