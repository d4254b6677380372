"""The settings of a run apart from its loss: representation, model, corpus, training. Loads no torch."""

from collections.abc import Callable
from typing import Literal

from attrs import Attribute, evolve, field, frozen, validators

DEFAULT_MINUTES = 10.0
"""How long a training lasts for which neither minutes nor steps are set."""

ARRAYS = "<arrays>"
"""The path of a corpus that was given as arrays, in Python."""

_POSITIVE: list[Callable[..., None]] = [validators.gt(0), validators.lt(float("inf"))]


@frozen(kw_only=True)
class RepresentationSettings:
    """How a waveform is turned into magnitude and instantaneous frequency."""

    sample_rate: int = field(
        default=44_100,
        validator=validators.ge(1000),
        metadata={"help": "Hz; recordings of other rates are resampled"},
    )
    n_fft: int = field(
        default=2048, validator=validators.ge(16), metadata={"help": "samples in a frame; an even number"}
    )
    hop: int = field(
        default=512,
        validator=validators.ge(1),
        metadata={"help": "samples from frame to frame; at most half a frame"},
    )
    floor: float = field(
        default=1e-6,
        validator=_POSITIVE,
        metadata={"help": "amplitude (1: full scale) below which the log-magnitude turns linear"},
    )

    def __attrs_post_init__(self) -> None:
        if self.n_fft % 2 or 2 * self.hop > self.n_fft:
            raise ValueError(
                f"n_fft must be even and at least twice the hop: n_fft = {self.n_fft}, hop = {self.hop}"
            )


def _block_counts(_: object, attribute: "Attribute[tuple[int, ...]]", counts: tuple[int, ...]) -> None:
    if len(counts) != 2 or min(counts) < 0:
        raise ValueError(
            f"'{attribute.name}' must hold two counts of blocks, 0 or more, of the fine and of the coarse "
            f"grid: {counts!r}"
        )


@frozen(kw_only=True)
class ModelSettings:
    """The size of the VAE and of its code."""

    code: Literal["rich", "compact"] = field(
        default="rich",
        metadata={"help": "numbers per second of audio in the latents: at most 1,400, or at most 128"},
    )
    latents_per_second: int | None = field(
        default=None,
        validator=validators.optional(validators.ge(1)),
        metadata={"help": "numbers per second at most, instead of those that `code` stands for"},
    )
    width: int = field(
        default=192, validator=validators.ge(8), metadata={"help": "channels of the coarse grid, of bands"}
    )
    fine_width: int = field(
        default=96, validator=validators.ge(8), metadata={"help": "channels of the fine grid, of patches"}
    )
    expansion: int = field(
        default=3, validator=validators.ge(1), metadata={"help": "widening inside a block"}
    )
    encoder_blocks: tuple[int, ...] = field(
        default=(1, 2),
        validator=_block_counts,
        metadata={"help": "blocks of the encoder's fine and coarse grid"},
    )
    decoder_blocks: tuple[int, ...] = field(
        default=(1, 3),
        validator=_block_counts,
        metadata={"help": "blocks of the decoder's fine and coarse grid"},
    )


@frozen(kw_only=True)
class CorpusSettings:
    """The recordings, and which of them are never trained on."""

    path: str | None = field(
        default=None,
        metadata={
            "help": "folder of recordings, or one, or shards (folder or URL); unset: the demo corpus; "
            f"{ARRAYS}: arrays, given in Python"
        },
    )
    heldout_fraction: float = field(
        default=0.1,
        validator=[validators.ge(0), validators.lt(1)],
        metadata={
            "help": "share of the recordings that is held out to measure with; shards are split already"
        },
    )
    pool_shards: int = field(
        default=8,
        validator=validators.ge(1),
        metadata={"help": "shards that each process holds in memory to draw clips from"},
    )


@frozen(kw_only=True)
class TrainingSettings:
    """How long and how the model is trained."""

    minutes: float | None = field(
        default=None,
        validator=validators.optional(_POSITIVE),
        metadata={"help": f"time limit; set this or steps (neither: {DEFAULT_MINUTES:g} minutes)"},
    )
    steps: int | None = field(
        default=None,
        validator=validators.optional(validators.ge(1)),
        metadata={"help": "number of optimizer steps; set this or minutes"},
    )
    start: str = field(
        default="base",
        validator=validators.min_len(1),
        metadata={
            "help": "what to begin with: base (the model in the package), none, or the folder of a run"
        },
    )
    seed: int = field(
        default=0,
        validator=[validators.ge(0), validators.lt(2**63)],
        metadata={"help": "of the initial weights, the clips and the noise"},
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"help": "where to train; auto: CUDA, else MPS, else the CPU"}
    )
    precision: Literal["auto", "float32", "bfloat16"] = field(
        default="auto",
        metadata={"help": "of the model; auto: bfloat16 if the device computes in it; losses are float32"},
    )
    batch_size: int = field(
        default=8, validator=validators.ge(1), metadata={"help": "clips in a step, over all devices"}
    )
    clip_seconds: float = field(
        default=0.75, validator=_POSITIVE, metadata={"help": "length of a clip, made up to whole latents"}
    )
    gain_db: float = field(
        default=10.0,
        validator=[validators.ge(0), validators.le(60)],
        metadata={"help": "dB by which the level of a clip is changed at most, at random"},
    )
    speed: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "how much faster or slower a clip is played at most, at random; 0.4: by up to 1.4. "
            "Unset: 0 where the training begins with a model and its code, else 0.4"
        },
    )
    mix: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "share of the clips that another one is laid over. Unset: 0 where the training begins "
            "with a model and its code, else 0.5"
        },
    )
    reconciliations: int = field(
        default=2,
        validator=validators.ge(0),
        metadata={
            "help": "Griffin-Lim iterations before a term hears the waveform; "
            "with 0 its gradient reaches the IF, too"
        },
    )
    learning_rate: float | None = field(
        default=None,
        validator=validators.optional(_POSITIVE),
        metadata={
            "help": "highest rate; falls along a cosine. Unset: 3e-4 where the training begins with a model, "
            "else 1e-3"
        },
    )
    encoder_rate: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "share of the learning rate at which the encoder learns. Unset: 0 where the training "
            "begins with a model, whose code it keeps, else 1"
        },
    )
    keep: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "share of what is learnt that is kept where the training begins with a model. Unset: the "
            "greatest that does no audible harm to held-out and trained recordings"
        },
    )
    warmup_steps: int = field(
        default=50, validator=validators.ge(0), metadata={"help": "steps over which the rate rises"}
    )
    weight_decay: float = field(default=0.01, validator=validators.ge(0), metadata={"help": "of AdamW"})
    max_gradient_norm: float = field(
        default=1.0, validator=_POSITIVE, metadata={"help": "longer gradients are shortened to this"}
    )
    evaluations: int = field(
        default=20, validator=validators.ge(1), metadata={"help": "held-out measurements over the run"}
    )
    pairs: int = field(
        default=8,
        validator=validators.ge(0),
        metadata={"help": "originals left beside their reconstructions at the end, to be heard"},
    )
    log_every: int = field(
        default=10, validator=validators.ge(1), metadata={"help": "steps from record to record"}
    )
    checkpoint_minutes: float = field(
        default=2.0, validator=_POSITIVE, metadata={"help": "minutes from checkpoint to checkpoint"}
    )

    def __attrs_post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ValueError(f"set either minutes or steps, not both: {self.minutes} and {self.steps}")

    def rates(self, *, begun: bool) -> tuple[float, float]:
        """Return the learning rate and the encoder's share, by whether the training begins with a model."""
        rate, share = (3e-4, 0.0) if begun else (1e-3, 1.0)
        return (
            rate if self.learning_rate is None else self.learning_rate,
            share if self.encoder_rate is None else self.encoder_rate,
        )

    def augmentation(self, *, begun: bool) -> tuple[float, float]:
        """Return `speed` and `mix`, by whether the training begins with a model.

        A model that knows many sounds already has to learn these recordings as they are.
        """
        speed, mix = (0.0, 0.0) if begun else (0.4, 0.5)
        return speed if self.speed is None else self.speed, mix if self.mix is None else self.mix

    @property
    def time_limit(self) -> float | None:
        """The minutes after which the training ends; None where it ends after a number of steps."""
        if self.steps is not None:
            return None
        return DEFAULT_MINUTES if self.minutes is None else self.minutes

    def settled(self, *, begun: bool, new_code: bool = False) -> "TrainingSettings":
        """Return the settings with unset ones filled in, by whether the training begins with a model.

        `new_code` says that the model has a smaller code than the one it begins with, which has to be
        learnt from clips that are changed.
        """
        rate, share = self.rates(begun=begun)
        speed, mix = self.augmentation(begun=begun and not new_code)
        return evolve(
            self, minutes=self.time_limit, learning_rate=rate, encoder_rate=share, speed=speed, mix=mix
        )
