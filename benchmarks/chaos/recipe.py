"""The recipe of a tiny model, which also `benchmarks/stopping.py` trains."""

RATE = 8000

TINY = (
    f"representation.sample_rate={RATE}",
    "representation.n_fft=256",
    "representation.hop=64",
    "model.latents_per_second=250",
    "model.width=16",
    "model.fine_width=8",
    "model.expansion=2",
    "model.encoder_blocks=[1, 1]",
    "model.decoder_blocks=[1, 1]",
    "training.precision=float32",
    "training.batch_size=2",
    "training.clip_seconds=0.2",
    "training.device=cpu",
)
"""Its options, as `--set` takes them."""
