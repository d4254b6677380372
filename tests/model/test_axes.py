"""Tests of distill.model.axes: the principal axes of a corpus's codes."""

import numpy as np
import pytest
import torch

from distill.model.axes import CodeStatistics, PrincipalAxes


def codes(count=400, size=6):
    """Draw codes whose numbers depend on each other."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(size, size, generator=generator)
    return torch.randn(count, size, generator=generator) @ mixing + torch.arange(size)


def statistics(drawn, lags=1):
    """Return the statistics of codes `[N, C]`, all heard, in clips of as many frames as there are lags."""
    clips = drawn.unflatten(0, (-1, lags))
    return CodeStatistics.of(clips, torch.ones(clips.shape[:2], dtype=torch.bool), lags)


@torch.no_grad()
def test_the_axes_are_those_of_a_singular_value_decomposition():
    """Decoded codes are numpy's projection on as many right singular vectors."""
    drawn, axes = codes(), PrincipalAxes(6, 3)
    axes.begin_with(statistics(drawn), torch.ones(6))
    made = axes.decode(axes.encode(drawn.T[None]))[0].T
    rows = drawn.numpy().astype(np.float64)
    mean = rows.mean(0)
    *_, directions = np.linalg.svd(rows - mean, full_matrices=False)
    expected = (rows - mean) @ directions[:3].T @ directions[:3] + mean
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=1e-4)
    assert axes.begun


@torch.no_grad()
def test_what_matters_more_is_kept_first():
    """Decoded codes are the projection, by numpy, that is best where each error counts by its importance."""
    drawn, axes = codes(), PrincipalAxes(6, 2)
    importance = torch.tensor([1.0, 0.1, 0.5, 0.02, 1.0, 0.3])
    axes.begin_with(statistics(drawn), 7 * importance)
    latents = axes.encode(drawn.T[None])
    made = axes.decode(latents)[0].T
    weight = importance.double().numpy()
    rows = drawn.numpy().astype(np.float64)
    mean = rows.mean(0)
    *_, directions = np.linalg.svd((rows - mean) * weight, full_matrices=False)
    expected = (rows - mean) * weight @ directions[:2].T @ directions[:2] / weight + mean
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(latents[0].std(1, correction=0), torch.ones(2), rtol=1e-3, atol=0)


@torch.no_grad()
def test_latents_begin_as_numbers_of_unit_variance():
    """They have a mean of 0 and do not correlate: the prior is a standard normal."""
    drawn, axes = codes(), PrincipalAxes(6, 4)
    axes.begin_with(statistics(drawn), torch.ones(6))
    latents = axes.encode(drawn.T[None])[0]
    torch.testing.assert_close(latents.mean(1), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.cov(latents, correction=0), torch.eye(4), rtol=0, atol=1e-3)


def test_covariances_are_those_of_pairs_of_heard_frames():
    """Each is numpy's sum over the pairs so far apart that are heard, by the number of heard frames."""
    clips = codes(60).view(12, 5, 6)
    heard = torch.rand(12, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    found = CodeStatistics.of(clips, heard, lags=3)
    rows, kept = clips.numpy().astype(np.float64), heard.numpy()
    mean = rows[kept].mean(0)
    np.testing.assert_allclose(found.mean.numpy(), mean, rtol=1e-9)
    for lag in range(3):
        expected = sum(
            np.outer(clip[at] - mean, clip[at + lag] - mean)
            for clip, known in zip(rows, kept, strict=True)
            for at in range(5 - lag)
            if known[at] and known[at + lag]
        )
        np.testing.assert_allclose(found.covariance[lag].numpy(), expected / kept.sum(), rtol=1e-9)


@torch.no_grad()
def test_frames_that_resemble_each_other_need_fewer_numbers_together():
    """Pairs of frames are numpy's projection on the leading eigenvectors of their covariance together."""
    drawn = torch.randn(1200, 3, generator=torch.Generator().manual_seed(1))
    pairs = drawn[:400].repeat_interleave(2, 0) + 0.1 * drawn[400:]
    axes = PrincipalAxes(3, 3, joint=2)
    axes.begin_with(statistics(pairs, lags=2), torch.ones(3))
    latents = axes.encode(pairs.T[None])
    assert latents.shape == (1, 3, 400)
    rows = pairs.numpy().astype(np.float64)
    mean = rows.mean(0)
    first, second = (rows - mean)[::2], (rows - mean)[1::2]
    same = (first.T @ first + second.T @ second) / 800
    apart = first.T @ second / 800
    _, vectors = np.linalg.eigh(np.block([[same, apart], [apart.T, same]]))
    kept = vectors[:, -3:]
    expected = (rows - mean).reshape(400, 6) @ kept @ kept.T
    made = axes.decode(latents)[0].T.numpy() - mean
    np.testing.assert_allclose(made, expected.reshape(800, 3), rtol=0, atol=1e-3)
    alone = PrincipalAxes(3, 2)  # more numbers per frame than three for two
    alone.begin_with(statistics(pairs), torch.ones(3))
    error = alone.decode(alone.encode(pairs.T[None]))[0].T.numpy() - rows
    assert np.square(made + mean - rows).sum() < 0.5 * np.square(error).sum()


def test_mixed_statistics_are_those_of_all_codes():
    """Mean and covariance of two sets of equal size are numpy's for both together."""
    one, other = codes(), 3 - 2 * codes().flip(1)
    mixed = statistics(one).mixed(statistics(other))
    both = torch.cat([one, other]).numpy().astype(np.float64)
    np.testing.assert_allclose(mixed.mean.numpy(), both.mean(0), rtol=1e-9)
    np.testing.assert_allclose(mixed.covariance[0].numpy(), np.cov(both.T, bias=True), rtol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(
    "few",
    [codes(1), codes(2), codes(50)[:1].repeat(9, 1), codes()[:, :1].repeat(1, 6), torch.zeros(5, 6)],
    ids=["one", "two", "alike", "a line", "zeros"],
)
def test_however_few_codes_leave_nothing_extreme(few):
    """What does not vary is not divided by: no weight exceeds 100, and the codes themselves come back."""
    axes = PrincipalAxes(6, 4)
    axes.begin_with(statistics(few), torch.ones(6))
    assert all(each.isfinite().all() for each in axes.parameters())
    assert axes.inwards.weight.abs().max() <= 100
    latents = axes.encode(few.T[None])
    assert latents.abs().max() < 10
    torch.testing.assert_close(axes.decode(latents)[0].T, few, rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_before_they_begin_they_keep_what_they_can():
    """The layers begin as a projection: applied twice it is the same as once."""
    axes = PrincipalAxes(6, 3)
    once = axes.decode(axes.encode(torch.randn(1, 6, 5)))
    torch.testing.assert_close(axes.decode(axes.encode(once)), once, rtol=1e-4, atol=1e-5)
    assert not axes.begun


@torch.no_grad()
def test_the_log_variance_is_one_for_each_number_and_bounded():
    """It is the same wherever it is asked for, and never outside -8..8."""
    axes = PrincipalAxes(6, 3)
    axes.logvar.copy_(torch.tensor([[-100.0], [-2.0], [100.0]]))
    logvar = axes.logvar_of(axes.encode(torch.randn(2, 6, 5)))
    assert torch.equal(logvar, torch.tensor([[-8.0], [-2.0], [8.0]]).expand(2, 3, 5))
