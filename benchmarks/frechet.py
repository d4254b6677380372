"""Print the Fréchet distance of two recordings of the same white noise, by the number of frames.

It is 0 for infinitely many frames: what is printed is the distance that means nothing.
"""

import torch

from distill.evaluation import FrechetDistance

_HOP, _RATE = 512, 44_100


def main() -> None:
    """Measure pairs of noises."""
    generator = torch.Generator().manual_seed(0)
    for frames in (400, 1000, 4000, 40_000):
        distance = FrechetDistance()
        made, original = 0.1 * torch.randn(2, _HOP * frames, generator=generator)
        distance.add(made, original, _RATE)
        print(f"{frames:6} frames: {distance.value:.2f} dB")


if __name__ == "__main__":
    main()
