"""A test of the training of the base model on CUDA: that it does not wait for the device."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from on_cuda import CUDA, refusing_to_wait

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_the_base_training_does_not_wait(recordings, tmp_path):
    """The draws and the step of the base training do not wait; its loss is float32."""
    from base import Training, use_tensor_cores  # noqa: PLC0415  # a benchmark, which is on no path
    from base_sounds import Sounds  # noqa: PLC0415

    training = Training(tmp_path, CUDA, batch=4)
    use_tensor_cores()
    training.sounds = Sounds(recordings, CUDA, slots=8, share=0.5, step=0, fresh=2, workers=2)
    training._learn(0.0)  # noqa: SLF001  # which makes windows, once
    with refusing_to_wait():
        parts = [training._learn(0.0) for _ in range(3)]  # noqa: SLF001
    training.sounds.close()
    assert {value.dtype for value in parts[-1].values()} == {torch.float32}
    assert all(value.isfinite() for each in parts for value in each.values())
    training.save()
    again = Training(tmp_path, CUDA, batch=4)
    assert (again.step, again.clips) == (4, 16)
    assert torch.equal(again.vae.patch_in.weight, training.vae.patch_in.weight)
