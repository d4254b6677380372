"""Tests of distill.training.gradients: gradients by their inner products, against a calculation by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import TermError
from distill.training.gradients import Gradients

NAMES = ("near", "far", "inner")


def products(vectors):
    """Multiply every two of K terms' vectors `[K, E, N]` in each of E examples: `[E, K, K]`."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return torch.from_numpy(np.einsum("ken,len->ekl", vectors, vectors))


def gradients(output, posterior, names=NAMES):
    """Return the gradients of terms by vectors for each term and example."""
    return Gradients(names=names, output=products(output), posterior=products(posterior))


@pytest.fixture
def by_hand():
    """Two terms at the output in two examples, and one at the posterior alone."""
    return gradients(
        output=[[[3, 4], [0, 1]], [[0, 2], [4, 0]], [[0, 0], [0, 0]]],
        posterior=[[[1, 0], [0, 1]], [[0, 0], [0, 0]], [[0, 2], [0, 4]]],
    )


def test_a_norm_is_taken_in_each_example(by_hand):
    """Norms are means over examples: 3 and 3 at the output, and 3 at the posterior."""
    assert by_hand.norms() == pytest.approx({"near": 3, "far": 3, "inner": 3})
    assert by_hand.reaching == ("near", "far")


def test_a_term_of_the_posterior_is_counted_at_the_rate_of_all_others(by_hand):
    """A posterior's term counts at the other terms' ratio of output norm to posterior norm."""
    sizes = by_hand.sizes({"near": 1.0, "far": 0.5, "inner": 0.1})
    rate = (math.sqrt(34) + math.sqrt(5)) / 2
    assert sizes == pytest.approx({"near": 3, "far": 1.5, "inner": 0.1 * 3 * rate})


def test_opposed_gradients_cancel_in_the_rate():
    """Two terms that pull against each other leave a joint gradient of 1 - 0.5, on both sides."""
    both = gradients([[[1, 0]], [[-1, 0]], [[0, 0]]], [[[3, 0]], [[-3, 0]], [[0, 7]]])
    assert both.sizes({"near": 1, "far": 0.5, "inner": 1})["inner"] == pytest.approx(7 * 0.5 / 1.5)


def test_terms_of_the_posterior_compare_among_themselves_where_nothing_else_has_weight():
    """Without a gradient at the output there is no rate, and none is needed."""
    alone = gradients([[[5, 0]], [[0, 0]], [[0, 0]]], [[[1, 0]], [[2, 0]], [[0, 4]]])
    assert alone.sizes({"near": 0, "far": 1, "inner": 1}) == pytest.approx({"near": 0, "far": 2, "inner": 4})


def test_the_cosine_is_the_mean_over_examples(by_hand):
    """The cosine is 0.4 at the output and 0.5 at the posterior, by hand."""
    assert by_hand.cosine("near", "far") == pytest.approx(0.4)
    assert by_hand.cosine("inner", "near") == by_hand.cosine("near", "inner") == pytest.approx(0.5)


def test_an_example_without_a_gradient_has_no_cosine():
    """A term that hears one clip of two is compared on that one; two that never meet, on none."""
    apart = gradients(
        [[[1, 0], [0, 0]], [[2, 0], [0, 3]], [[0, 0], [0, 5]]], [[[0, 0], [0, 0]] for _ in range(3)]
    )
    assert apart.cosine("near", "far") == pytest.approx(1)
    assert math.isnan(apart.cosine("near", "inner"))


vectors = st.integers(0, 2**32 - 1).map(np.random.default_rng)
share = st.floats(0.01, 1.0)


@given(random=vectors, wanted=st.tuples(share, share, share), now=st.tuples(share, share, share))
def test_the_weights_found_give_the_shares_wanted(random, wanted, now):
    """The shares are met for any gradients, and the output terms keep their total."""
    output = random.normal(size=(3, 5, 8)) * np.array([1, 1e-3, 0])[:, None, None]
    measured = gradients(output, random.normal(size=(3, 5, 4)))
    shares, weights = dict(zip(NAMES, wanted, strict=True)), dict(zip(NAMES, now, strict=True))
    before = measured.sizes(weights)
    after = measured.sizes(measured.weights_for(shares, weights))
    for name in NAMES:
        assert after[name] / sum(after.values()) == pytest.approx(shares[name] / sum(shares.values()))
    assert after["near"] + after["far"] == pytest.approx(before["near"] + before["far"])


def test_a_term_that_is_not_named_keeps_its_weight_and_takes_part_in_the_rate(by_hand):
    """The share of `inner` beside `near` is met with `far` as it was."""
    weights = {"near": 1.0, "far": 0.5, "inner": 0.1}
    found = by_hand.weights_for({"near": 0.5, "inner": 0.5}, weights)
    assert found["near"] == pytest.approx(1)
    sizes = by_hand.sizes({**weights, **found})
    assert sizes["near"] == pytest.approx(sizes["inner"]) == pytest.approx(3)


def test_weights_of_nothing_but_0_are_no_measure(by_hand):
    """Where all output weights are 0, the unweighted total of 3 + 3 is kept, parted 2 to 1."""
    weights = {"near": 0.0, "far": 0.0, "inner": 0.1}
    assert by_hand.weights_for({"near": 2, "far": 1}, weights) == pytest.approx({"near": 4 / 3, "far": 2 / 3})


def test_terms_of_the_posterior_alone_share_what_they_have():
    """The total of 2 and 4, weighted 1 each, is parted evenly."""
    alone = gradients([[[5, 0]], [[0, 0]], [[0, 0]]], [[[5, 0]], [[2, 0]], [[0, 4]]])
    found = alone.weights_for({"far": 1, "inner": 1}, {"near": 1, "far": 1, "inner": 1})
    assert found == pytest.approx({"far": 1.5, "inner": 0.75})


def test_a_term_without_a_gradient_has_no_weight_to_be_found():
    """A term without a gradient is refused, and the message names it and the remedy."""
    silent = gradients([[[1, 0]], [[0, 1]], [[0, 0]]], [[[1, 0]], [[0, 1]], [[0, 0]]])
    with pytest.raises(TermError) as caught:
        silent.weights_for({"near": 0.5, "inner": 0.5}, dict.fromkeys(NAMES, 1.0))
    assert str(caught.value) == (
        "loss term 'inner' has no gradient here, so that no weight gives it a share\n"
        "Leave it out of the target, or train the model on until it has one."
    )
