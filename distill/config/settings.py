"""The settings of a training run, except its loss. Loads no torch.

Each number has an upper bound, since a recipe may be somebody else's. The bounds are far beyond what anybody
trains with; whether a model and its batches fit into a machine is checked by `distill.model.memory`.
"""

import math
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen, validators

from distill.config.bounds import above, within
from distill.config.validated import Validated

DEFAULT_MINUTES = 10.0
"""The default length of a training run, if neither minutes nor steps are set."""

ARRAYS = "<arrays>"
"""The path of a corpus that was passed as arrays in Python."""

MOST_SOUNDS = 100_000
MOST_STEPS_BETWEEN = 1000
MOST_TEMPERATURE = 100.0
MOST_REFINEMENTS = 100_000
MOST_SEED = 2**63 - 1
"""Bounds of what is asked of a trained model, on the command line and in Python."""

HIGHEST_RATE = 768_000
"""The highest sample rate of a corpus or a model, in Hz."""

STRIDE = 8
"""STFT frames in a frame of the rich code."""

MOST_JOINT_FRAMES = 8
"""The largest number of frames of the rich code that are coded together. The package has statistics of as
many."""

_JOINT_SECONDS = 0.75
"""The longest time that these frames last by default: 8 of them last 0.74 s in the default representation."""

_JOINT_WIDTH = 768
"""The channels of the hidden layers of the base model's compact code."""

_MOST_WIDTH, _MOST_EXPANSION, _MOST_BLOCKS = 4096, 16, 64

_MOST_OVERLAP = 64
"""The largest n_fft / hop: how many frames hold each sample."""

MOST_FFT = 65_536
MOST_PHASES = 8192 * 4097
"""Bounds of n_fft, and of the phases of bins' centres until these repeat, which take 134 MB."""

_TEN_YEARS = 5_260_000.0
"""In minutes."""


@frozen(kw_only=True)
class RepresentationSettings(metaclass=Validated):
    """How a waveform is turned into magnitude and instantaneous frequency."""

    sample_rate: int = field(
        default=44_100,
        validator=within(1000, HIGHEST_RATE),
        metadata={"help": "Hz; recordings of other rates are resampled"},
    )
    n_fft: int = field(
        default=2048,
        validator=within(16, MOST_FFT),
        metadata={"help": "samples in a frame; an even number"},
    )
    hop: int = field(
        default=512,
        validator=within(1, 32_768),
        metadata={"help": "samples between frames; at most n_fft / 2, at least n_fft / 64"},
    )
    floor: float = field(
        default=1e-6,
        validator=within(1e-12, 1.0),
        metadata={"help": "amplitude (1: full scale) below which the log-magnitude becomes linear"},
    )

    def __attrs_post_init__(self) -> None:
        if self.n_fft % 2 or 2 * self.hop > self.n_fft:
            raise ValueError(
                f"n_fft must be even and at least twice the hop: n_fft = {self.n_fft}, hop = {self.hop}"
            )
        if self.n_fft > _MOST_OVERLAP * self.hop:
            raise ValueError(
                f"n_fft must be at most {_MOST_OVERLAP} times the hop: n_fft = {self.n_fft}, hop = {self.hop}"
            )
        if self.n_fft // math.gcd(self.n_fft, self.hop) * (self.n_fft // 2 + 1) > MOST_PHASES:
            raise ValueError(
                "n_fft above 8192 must share a larger factor with the hop, such as a power of 2: "
                f"n_fft = {self.n_fft}, hop = {self.hop}"
            )


def _block_counts(_: object, attribute: "Attribute[tuple[int, ...]]", counts: tuple[int, ...]) -> None:
    if len(counts) != 2 or min(counts) < 0 or max(counts) > _MOST_BLOCKS:
        raise ValueError(
            f"'{attribute.name}' must hold two counts of blocks, 0 to {_MOST_BLOCKS}, of the fine and of the "
            f"coarse grid: {counts!r}"
        )


@frozen(kw_only=True)
class ModelSettings(metaclass=Validated):
    """The size of the VAE and of its latents."""

    code: Literal["rich", "compact"] = field(
        default="rich",
        metadata={"help": "latent numbers per second: rich at most 1,400, compact at most 128"},
    )
    latents_per_second: int | None = field(
        default=None,
        validator=validators.optional(within(1, 10**7)),
        metadata={"help": "at most this many latent numbers per second; unset: as code has it"},
    )
    joint_frames: int | None = field(
        default=None,
        validator=validators.optional(within(1, MOST_JOINT_FRAMES)),
        metadata={
            "help": "frames of the rich code that a smaller code codes together; unset: those of 0.75 s"
        },
    )
    joint_width: int | None = field(
        default=None,
        validator=validators.optional(within(0, _MOST_WIDTH)),
        metadata={
            "help": "channels of the hidden layers that code frames together besides their principal axes; "
            "unset: 768 for code = compact, or 0 where its size or transform is changed"
        },
    )
    width: int = field(
        default=192,
        validator=within(8, _MOST_WIDTH),
        metadata={"help": "channels of the coarse grid (bands)"},
    )
    fine_width: int = field(
        default=96,
        validator=within(8, _MOST_WIDTH),
        metadata={"help": "channels of the fine grid (patches)"},
    )
    expansion: int = field(
        default=3,
        validator=within(1, _MOST_EXPANSION),
        metadata={"help": "expansion factor of the channels inside a block"},
    )
    encoder_blocks: tuple[int, ...] = field(
        default=(1, 2),
        validator=_block_counts,
        metadata={"help": "blocks of the encoder on the fine and on the coarse grid"},
    )
    decoder_blocks: tuple[int, ...] = field(
        default=(1, 3),
        validator=_block_counts,
        metadata={"help": "blocks of the decoder on the fine and on the coarse grid"},
    )

    def joint_frames_at(self, sample_rate: int, hop: int) -> int:
        """Return `joint_frames` or, if unset, the most frames of 8 hops that last 0.75 s, within 1..8."""
        fitting = int(_JOINT_SECONDS * sample_rate / hop / STRIDE)
        return self.joint_frames or max(1, min(MOST_JOINT_FRAMES, fitting))

    def joint_width_at(self, sample_rate: int, n_fft: int, hop: int) -> int:
        """Return `joint_width` or, if unset, that of the base model for the compact code, and 0 otherwise."""
        if self.joint_width is not None:
            return self.joint_width
        base = RepresentationSettings()
        same = (sample_rate, n_fft, hop) == (base.sample_rate, base.n_fft, base.hop)
        whole = (
            self.joint_frames_at(sample_rate, hop) == MOST_JOINT_FRAMES and self.latents_per_second is None
        )
        return _JOINT_WIDTH if same and whole and self.code == "compact" else 0


def _is_place(_: object, attribute: "Attribute[Any]", place: str | None) -> None:
    if place is not None and (not place.strip() or "\0" in place):
        raise ValueError(f"'{attribute.name}' must be the name of a file or folder, or a URL: {place!r}")


@frozen(kw_only=True)
class CorpusSettings(metaclass=Validated):
    """The recordings, and the share of them that is held out."""

    path: str | None = field(
        default=None,
        validator=_is_place,
        metadata={
            "help": "folder of recordings, one recording, or shards (folder or URL); unset: the demo corpus; "
            f"{ARRAYS}: arrays passed in Python"
        },
    )
    heldout_fraction: float = field(
        default=0.1,
        validator=[validators.ge(0), validators.lt(1)],
        metadata={
            "help": "share of the recordings that is held out for evaluation; shards are already split"
        },
    )
    full_scale: float = field(
        default=1.0,
        validator=above(0, 2**32),
        metadata={
            "help": "value of full scale in recordings whose samples are floats: 32768 if they are scaled to "
            "16-bit integers"
        },
    )
    pool_shards: int = field(
        default=8,
        validator=within(1, 10_000),
        metadata={"help": "shards that each process keeps in memory to draw clips from"},
    )


@frozen(kw_only=True)
class TrainingSettings(metaclass=Validated):
    """The options of the training run."""

    minutes: float | None = field(
        default=None,
        validator=validators.optional(above(0, _TEN_YEARS)),
        metadata={"help": f"time limit; set this or steps (neither: {DEFAULT_MINUTES:g} minutes)"},
    )
    steps: int | None = field(
        default=None,
        validator=validators.optional(within(1, 10**12)),
        metadata={"help": "number of optimizer steps; set this or minutes"},
    )
    start: str = field(
        default="base",
        validator=_is_place,
        metadata={"help": "model to start from: base (in the package), none, or the folder of a run"},
    )
    seed: int = field(
        default=0,
        validator=[validators.ge(0), validators.lt(2**63)],
        metadata={"help": "seed of the initial weights, the clips and the noise"},
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"help": "device to train on; auto: CUDA, else MPS, else the CPU"}
    )
    precision: Literal["auto", "float32", "bfloat16"] = field(
        default="auto",
        metadata={
            "help": "precision of the model; auto: bfloat16 if the device supports it; losses are float32"
        },
    )
    cuda_graphs: bool = field(
        default=True,
        metadata={
            "help": "replay the model by CUDA graphs, on one GPU; false if a term differentiates the model's "
            "outputs by each other"
        },
    )
    batch_size: int = field(
        default=8,
        validator=within(1, 65_536),
        metadata={"help": "clips in a mini-batch, over all devices"},
    )
    clip_seconds: float = field(
        default=0.75,
        validator=above(0, 600),
        metadata={"help": "length of a clip, rounded up to whole latents"},
    )
    gain_db: float = field(
        default=10.0,
        validator=[validators.ge(0), validators.le(60)],
        metadata={"help": "largest random change of a clip's level, in dB"},
    )
    speed: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "largest random change of a clip's speed; 0.4: up to 1.4 times faster or slower. "
            "Unset: 0 if the run starts from a model and keeps its latents, else 0.4"
        },
    )
    mix: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "share of the clips that are mixed with another clip. Unset: 0 if the run starts from "
            "a model and keeps its latents, else 0.5"
        },
    )
    griffin_lim_iterations: int = field(
        default=2,
        validator=within(0, 1000),
        metadata={
            "help": "Griffin-Lim iterations for the predicted waveform that terms compare; "
            "with 0, gradients also reach the IF"
        },
    )
    learning_rate: float | None = field(
        default=None,
        validator=validators.optional(above(0, 10)),
        metadata={
            "help": "peak learning rate, with cosine decay. Unset: 3e-4 if the run starts from a model, "
            "else 1e-3"
        },
    )
    encoder_rate: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "factor of the encoder's learning rate. Unset: 0 if the run starts from a model, which "
            "keeps its latents, else 1"
        },
    )
    keep: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(1)]),
        metadata={
            "help": "share of the change of the weights that is kept if the run starts from a model. Unset: "
            "the one with the best measures on held-out and trained recordings"
        },
    )
    warmup_steps: int = field(
        default=50,
        validator=within(0, 10**12),
        metadata={"help": "steps of the learning rate's linear warm-up"},
    )
    weight_decay: float = field(
        default=0.01, validator=within(0, 100), metadata={"help": "weight decay of AdamW"}
    )
    max_gradient_norm: float = field(
        default=1.0, validator=above(0, 1e30), metadata={"help": "norm to which gradients are clipped"}
    )
    nonfinite: Literal["stop", "skip"] = field(
        default="stop",
        metadata={
            "help": "at a step whose loss or gradient is not finite: stop, or skip that step and go on"
        },
    )
    max_skipped: int = field(
        default=10,
        validator=within(1, 1_000_000),
        metadata={
            "help": "with nonfinite = skip: steps skipped in a row, after which one more stops the run"
        },
    )
    evaluations: int = field(
        default=20,
        validator=within(1, 10**6),
        metadata={"help": "number of held-out evaluations in the run"},
    )
    pairs: int = field(
        default=8,
        validator=within(0, 10_000),
        metadata={"help": "originals and reconstructions written at the end, to listen to"},
    )
    page: bool = field(default=True, metadata={"help": "write report.html, the page of the run, at the end"})
    gradient_every: int | None = field(
        default=None,
        validator=validators.optional(within(0, 10**9)),
        metadata={
            "help": "steps between measurements of each term's share of the gradient; 0: none. "
            "Unset: 50 for each term, which takes about 1 % of the time"
        },
    )
    log_every: int = field(default=10, validator=within(1, 10**9), metadata={"help": "steps between records"})
    checkpoints: int = field(
        default=3,
        validator=within(1, 10_000),
        metadata={"help": "newest checkpoints to keep, besides the best one by held-out loss"},
    )
    checkpoint_minutes: float = field(
        default=2.0, validator=above(0, _TEN_YEARS), metadata={"help": "minutes between checkpoints"}
    )

    def __attrs_post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ValueError(f"set either minutes or steps, not both: {self.minutes:g} and {self.steps}")

    def rates(self, *, begun: bool) -> tuple[float, float]:
        """Return the learning rate and the encoder's factor. `begun`: the run starts from a model."""
        rate, factor = (3e-4, 0.0) if begun else (1e-3, 1.0)
        return (
            rate if self.learning_rate is None else self.learning_rate,
            factor if self.encoder_rate is None else self.encoder_rate,
        )

    def augmentation(self, *, begun: bool) -> tuple[float, float]:
        """Return `speed` and `mix`. `begun`: the run starts from a model.

        By default a pretrained model is trained on unchanged recordings.
        """
        speed, mix = (0.0, 0.0) if begun else (0.4, 0.5)
        return speed if self.speed is None else self.speed, mix if self.mix is None else self.mix

    @property
    def time_limit(self) -> float | None:
        """The time limit in minutes; None if the run ends after a number of steps."""
        if self.steps is not None:
            return None
        return DEFAULT_MINUTES if self.minutes is None else self.minutes

    def settled(self, *, begun: bool, new_code: bool = False) -> "TrainingSettings":
        """Return the settings with the defaults of unset ones filled in.

        Args:
            begun: Whether the run starts from a model.
            new_code: Whether the model has smaller latents than the one it starts from. These have to be
                learnt, so that clips are augmented.
        """
        rate, factor = self.rates(begun=begun)
        speed, mix = self.augmentation(begun=begun and not new_code)
        return evolve(
            self, minutes=self.time_limit, learning_rate=rate, encoder_rate=factor, speed=speed, mix=mix
        )
