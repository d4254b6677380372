"""The distributions of the loss terms that come with Distill as plugins, installed or not."""

_HOMES = {
    "distill-adversarial": ("adversarial",),
    "distill-band-energy": ("band_energy",),
    "distill-latent": ("kl_capacity", "kl_batch_free_bits", "mmd", "active_units"),
    "distill-mel": ("mel",),
    "distill-perceptual": ("weighted_stft", "loudness", "sum_difference"),
    "distill-phase": ("phase", "group_delay", "consistency"),
}


def home_of(term: str) -> str | None:
    """Return the distribution in `plugins/` that provides a term, None if there is none."""
    if term.startswith("auraloss_"):
        return "distill-auraloss"
    return next((home for home, terms in _HOMES.items() if term in terms), None)
