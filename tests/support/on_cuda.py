"""What the tests on CUDA share: the device, noise, a comparison, and a context in which nothing may wait."""

from contextlib import contextmanager

import torch

CUDA = torch.device("cuda", 0)


@contextmanager
def refusing_to_wait():
    """Let an operation that makes the host wait for the device fail."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def noise(*shape, seed=0):
    """Draw standard normal numbers, on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(one, other, share):
    """Compare by the norm of the difference, as a share of the norm."""
    one, other = one.detach().cpu().double(), other.detach().cpu().double()
    assert one.shape == other.shape
    assert ((one - other).norm() / other.norm()).item() < share
