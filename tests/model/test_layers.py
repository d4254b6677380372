"""Tests of distill.model.layers: patches, and blocks that see what they say they see."""

import pytest
import torch

from distill.model.layers import ConvNeXtBlock, Grid, join_patches, split_patches


def draw(*shape, seed=0):
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def changed(layer, x, band, step):
    """Tell which cells `[Q, S]` of the output change with one of the input."""
    other = x.clone()
    other[:, band, step] += 1
    with torch.no_grad():
        return (layer(x) != layer(other)).any(-1)[0]


@pytest.mark.parametrize(("looks_ahead", "steps"), [(False, (4, 5, 6)), (True, (3, 4, 5))])
def test_a_block_sees_three_steps_and_five_bands(looks_ahead, steps):
    """A cell is seen up to two steps later or, by a block that looks ahead, from one before to one after."""
    seen = changed(ConvNeXtBlock(8, 2, looks_ahead=looks_ahead), draw(1, 9, 9, 8), 4, 4)
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[2:7, list(steps)] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize(("looks_ahead", "first"), [(False, 4), (True, 3)])
def test_a_grid_looks_one_cell_ahead_however_deep(looks_ahead, first):
    """Only the first block of a grid looks ahead."""
    seen = changed(Grid(9, 8, 3, 2, looks_ahead=looks_ahead), draw(1, 9, 12, 8), 4, 4)
    assert seen.any(0).nonzero().min() == first


def test_a_block_shares_its_weights_along_frequency():
    """What is moved by two bands comes out moved by two bands, away from the edges."""
    block, x = ConvNeXtBlock(8, 2, looks_ahead=True), draw(1, 12, 5, 8)
    with torch.no_grad():
        moved = block(x.roll(2, 1))
        torch.testing.assert_close(moved[:, 4:10], block(x)[:, 2:8], rtol=1e-4, atol=1e-5)


def test_a_grid_can_tell_its_bands_apart():
    """The embedding of a grid is added to each band, and a grid without blocks adds nothing else."""
    grid = Grid(3, 2, 0, 2, looks_ahead=False)
    with torch.no_grad():
        grid.place.copy_(torch.arange(6.0).reshape(3, 1, 2))
    expected = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])[None, :, None].expand(1, 3, 4, 2)
    assert torch.equal(grid(torch.zeros(1, 3, 4, 2)), expected)


def test_patches_by_hand():
    """Patches of 2 x 2 of a 2 x 4 grid of numbers hold their upper row first."""
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])[None, :, :, None]
    assert join_patches(x, 2, 2).tolist() == [[[[1, 2, 5, 6], [3, 4, 7, 8]]]]


@pytest.mark.parametrize(("height", "length"), [(1, 1), (2, 2), (4, 2), (2, 3)])
def test_patches_come_apart_as_they_were_joined(height, length):
    """Splitting inverts joining."""
    x = draw(2, 8, 6, 3)
    joined = join_patches(x, height, length)
    assert joined.shape == (2, 8 // height, 6 // length, height * length * 3)
    assert torch.equal(split_patches(joined, height, length), x)
