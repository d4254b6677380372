"""What a notebook sets around a training run does not change its result."""

import contextlib

import torch

import distill
from distill.storage.checkpoints import load_state
from distill.training.torch_state import isolated_torch_state


@contextlib.contextmanager
def default_dtype():
    """Have float64 as the default."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_training_run_is_the_same(arrays, tiny_options, tmp_path):
    """Global torch settings change no bit of the result, and are restored afterwards."""

    def weights(name):
        options = tiny_options | {"training.start": "none"}
        run = distill.train(arrays, loss="recon", steps=1, out=tmp_path / name, options=options)
        return {key: value.tolist() for key, value in load_state(run.model).items()}

    def settings():
        return (
            torch.get_default_dtype(),
            torch.empty(0).device,
            torch.is_autocast_enabled("cpu"),
            torch.is_inference_mode_enabled(),
        )

    plain = weights("plain")
    with (
        default_dtype(),
        torch.device("meta"),
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.inference_mode(),
    ):
        before = settings()
        surrounded = weights("surrounded")
        assert settings() == before
    assert surrounded == plain


def test_the_dtype_comes_back_when_the_last_run_ends():
    """Overlapping runs of a process restore the dtype when the last one ends."""
    with default_dtype():
        first, second = isolated_torch_state(), isolated_torch_state()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float32
        second.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float64
