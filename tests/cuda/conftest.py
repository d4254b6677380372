"""What the tests on CUDA have in common. They are skipped where there is no such device."""

import pytest
import torch
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def _exact_and_alone():
    """Multiply in float32 as the CPU does, and let each test choose its device anew."""
    torch.set_float32_matmul_precision("highest")
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # it has no other way
    yield
    torch.backends.cudnn.allow_tf32 = before
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001
