"""The memory that a model needs, computed before anything is allocated.

Weights are counted exactly. Activations are estimated from below: whoever is refused could not have trained.
"""

import torch
from torch import Tensor

from distill.config.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import ConfigError
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF
from distill.storage.memory import in_words, machine_memory

_FLOAT, _REDUCED = 4, 2
"""The bytes of a number in float32, and of an activation in bfloat16."""

_COPIES_IN_TRAINING = 3
"""The numbers for each trained weight: its gradient, and the two averages of AdamW."""

_PIECE_SECONDS = 30.0
"""The longest piece of a sound that a model processes at a time."""

_PLANES = 6
"""Values of each bin and frame that are held at a time: two of the spectrogram, the output, its gradient."""

_CELL_BINS, _CELL_FRAMES, _JOINED = 16, 4, 4


class Sizes:
    """The names, shapes and sizes of a model's weights, without their values.

    Raises:
        ConfigError: the model does not fit into the memory of this machine.
    """

    def __init__(self, settings: ModelSettings, representation: RepresentationSettings) -> None:
        self.settings, self.representation = settings, representation
        with torch.device("meta"):  # where tensors have no values
            transform = MagnitudeIF(
                representation.sample_rate, representation.n_fft, representation.hop, representation.floor
            )
            vae = VAE(settings, transform)
        vae.keeps_code = True  # as a training may
        self.weights: dict[str, Tensor] = vae.state_dict()
        self.bytes = _FLOAT * sum(value.numel() for value in self.weights.values())
        self._trained_bytes = self.bytes - _FLOAT * sum(value.numel() for value in vae.encoder_parameters())
        _require(
            self.bytes, "its model", "Choose a smaller model.width, model.fine_width or model.expansion."
        )

    def require_sounds(self) -> None:
        """Require that a piece of a sound can be encoded and decoded.

        Raises:
            ConfigError: it does not fit into the memory of this machine.
        """
        needed = self.bytes + self._clip_bytes(_PIECE_SECONDS, kept=1)
        _require(needed, "its model with a sound", "Use a smaller model, or a machine with more memory.")

    def require_training(self, training: TrainingSettings, processes: int = 1) -> None:
        """Require that a batch can be trained on.

        Raises:
            ConfigError: it does not fit into the memory of this machine.
        """
        blocks = max(1, sum(self.settings.decoder_blocks))  # since the encoder may be kept as it is
        number = _FLOAT if training.precision == "float32" else _REDUCED  # auto may choose bfloat16
        clip = self._clip_bytes(training.clip_seconds, kept=blocks, number=number)
        clips = -(-training.batch_size // processes) * clip
        needed = self.bytes + _COPIES_IN_TRAINING * self._trained_bytes + clips
        remedy = "Lower training.batch_size or training.clip_seconds, or use a smaller model."
        _require(needed, "a batch of its training", remedy)

    def _clip_bytes(self, seconds: float, *, kept: int, number: int = _FLOAT) -> int:
        """Return the bytes for a clip of one channel if the activations of `kept` blocks are held.

        Each activation has `number` bytes.
        """
        transform, model = self.representation, self.settings
        frames = seconds * transform.sample_rate / transform.hop
        cells = transform.n_fft / 2 * frames / (_CELL_BINS * _CELL_FRAMES)
        total = max(1, sum(model.encoder_blocks) + sum(model.decoder_blocks))
        fine = (model.encoder_blocks[0] + model.decoder_blocks[0]) / total
        channels = fine * model.fine_width + (1 - fine) * model.width / _JOINED
        activations = kept * cells * channels * (2 + 2 * model.expansion)
        return round(number * activations + _FLOAT * _PLANES * transform.n_fft / 2 * frames)


def _require(needed: int, what: str, remedy: str) -> None:
    available = machine_memory()
    if torch.cuda.is_available():
        available = max(available, torch.cuda.mem_get_info()[1])
    if needed > available:
        raise ConfigError(
            f"{what} needs {in_words(needed)} of memory at least, and this machine has {in_words(available)}",
            culprit="recipe",
            remedy=remedy,
        )
