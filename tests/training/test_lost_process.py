"""Tests of distill.training.lost_process: which errors of torch tell that another process has ended."""

import pytest
import torch

from distill.training.lost_process import is_of_a_lost_process

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553]"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(f"{GLOO} Connection closed by peer [127.0.0.1]:37068. This is typically caused"), True),
        (RuntimeError(f"{GLOO} Read error [127.0.0.1]:3461: Connection reset by peer. This is"), True),
        (RuntimeError(f"{GLOO} writev [127.0.0.1]:3461: Broken pipe"), True),
        (RuntimeError(f"{GLOO} Timed out waiting 1800000ms for recv operation to complete"), False),
        (RuntimeError("Connection closed by peer"), False),
        (BrokenPipeError("Broken pipe"), False),
        (torch.distributed.DistBackendError("ncclRemoteError: A call failed possibly due to"), True),
        (torch.distributed.DistBackendError("ncclInvalidUsage: This usually reflects"), False),
        (torch.distributed.DistNetworkError("Connection was likely closed. Did the remote server shutdown or "
                                            "crash?"), True),
        (torch.distributed.DistNetworkError("The server socket has failed to listen on any address"), False),
    ],
)  # fmt: skip
def test_errors_of_a_lost_process(error, lost):
    """Those of a connection that the other process held; not of a slow one, or of another connection."""
    assert is_of_a_lost_process(error) == lost
