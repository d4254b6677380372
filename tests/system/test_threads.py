"""On how many threads torch computes."""

import pytest
import torch

from distill.system.threads import one_thread


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_the_number_before_is_restored():
    """One thread is used inside the context, and as many as before after it, also after an error."""
    inside = []

    def fail():
        inside.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError), one_thread():
        fail()
    assert inside == [1]
    assert torch.get_num_threads() == 2
