import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import Gains
from chrpo.core.advantages import logit_advantages
from chrpo.core.bandit import GOLDEN, NEARLY_FREE, NEARLY_TIED, Bandit, simulate, simulate_all
from chrpo.errors import DataError

RATIOS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
NO_MINIMUM = Gains(minimum=0)


@pytest.mark.parametrize(
    ("bandit", "savings", "price"), [(GOLDEN, 0.37733, 0.6), (NEARLY_FREE, 0.05760, 2.88), (NEARLY_TIED, 0.16494, 6.08)]
)
def test_optimum_is_that_of_the_linear_program(bandit, savings, price):
    assert bandit.optimum() == pytest.approx((savings, price), abs=5e-5)


def best_mixture(bandit):
    """Savings of the best mixture of two policies that each take one ratio per context: a linear program with one
    constraint over all contexts has its optimum there."""
    contexts, ratios = bandit.accuracy.shape
    arms = np.array(list(itertools.product(range(ratios), repeat=contexts)))
    right = bandit.weights * bandit.accuracy[np.arange(contexts), arms]
    accuracy, savings = right.sum(axis=1), (right * (1 - bandit.ratios[arms])).sum(axis=1)
    best = savings[accuracy >= bandit.floor - 1e-12].max()
    for over in np.flatnonzero(accuracy > bandit.floor):
        for under in np.flatnonzero(accuracy < bandit.floor):
            share = (bandit.floor - accuracy[under]) / (accuracy[over] - accuracy[under])
            best = max(best, share * savings[over] + (1 - share) * savings[under])
    return best


@given(st.integers(0, 10**6))
def test_optimum_is_that_of_the_best_mixture_whatever_the_bandit(seed):
    generator = np.random.default_rng(seed)
    contexts, ratios = generator.integers(1, 4), generator.integers(1, 5)
    accuracy = generator.random((contexts, ratios)).round(int(generator.integers(1, 8)))
    ladder = np.cumsum(generator.uniform(0.02, 1 / ratios, ratios))
    bandit = Bandit(generator.dirichlet(np.ones(contexts)), ladder, accuracy, 0.0)
    bandit = replace(bandit, floor=bandit.best_accuracy * generator.choice([0, 0.7, 0.95, 0.999]))
    assert bandit.optimum()[0] == pytest.approx(best_mixture(bandit), abs=1e-9)


def test_golden_bandit_is_solved_by_the_exact_gradient():
    result = simulate(GOLDEN, 5000, gains=NO_MINIMUM)
    assert result.accuracy == pytest.approx(0.8767, abs=0.002)
    assert result.savings == pytest.approx(0.37733, abs=0.002)
    assert result.price == pytest.approx(0.60, abs=0.03)
    assert result.policy.argmax(axis=1).tolist() == [0, 2, 4]
    assert result.policy[2, 3:] == pytest.approx([0.1, 0.9], abs=0.02)
    assert not result.infeasible


def test_without_the_constraint_accuracy_is_lost():
    result = simulate(GOLDEN, 2000, constrained=False)
    assert result.accuracy == pytest.approx(0.70, abs=0.005)
    assert result.price == 0


def test_golden_bandit_is_solved_from_samples_on_five_runs():
    for result in simulate_all([GOLDEN] * 5, 4000, rollouts=64, gains=NO_MINIMUM):
        assert result.accuracy >= 0.873
        assert result.savings >= 0.372


def random_bandits(count):
    """Accuracies rise in the ratio, as they do for real problems; the floor is 1 to 5 points under the best."""
    generator = np.random.default_rng(123)
    for _ in range(count):
        weights, accuracy = generator.dirichlet(np.full(3, 8.0)), np.sort(generator.uniform(0.05, 1, (3, 5)), axis=1)
        yield Bandit(weights, RATIOS, accuracy, float(weights @ accuracy.max(axis=1) - generator.uniform(0.01, 0.05)))


@pytest.mark.parametrize(("rollouts", "short", "off"), [(None, 0.003, 0.004), (64, 0.006, 0.01)])
def test_harder_bandits_are_solved_with_the_same_gains(rollouts, short, off):
    bandits = [NEARLY_FREE, NEARLY_TIED]
    results = simulate_all(bandits, 8000, rollouts=rollouts, gains=NO_MINIMUM)
    for bandit, result in zip(bandits, results, strict=True):
        assert result.accuracy >= bandit.floor - short
        assert result.savings == pytest.approx(bandit.optimum()[0], abs=off)


def test_random_bandits_are_solved_with_the_same_gains():
    bandits = list(random_bandits(20))
    for bandit, result in zip(bandits, simulate_all(bandits, 6000, gains=NO_MINIMUM), strict=True):
        assert result.accuracy >= bandit.floor - 0.005
        assert result.savings <= bandit.optimum()[0] + 0.01
        assert result.savings >= bandit.optimum()[0] - 0.02


def flat_bandits(count):
    """Accuracy hardly rises at the largest ratios, by another curve in each context; the floor is 1 point below the
    best."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        weights, top = generator.dirichlet(np.full(3, 8.0)), generator.uniform(0.6, 1, (3, 1))
        depth, power = generator.uniform(0.1, 1, (3, 1)) * top, generator.uniform(2, 5, (3, 1))
        accuracy = top - depth * ((1 - RATIOS) / 0.8) ** power
        yield Bandit(weights, RATIOS, accuracy, float(weights @ accuracy.max(axis=1) - 0.01))


def test_floors_hold_soon_and_from_few_samples_where_accuracy_is_flat_at_the_top():
    """Mean accuracy from step 50 on, at step 100, 200 and 400."""
    bandits = list(flat_bandits(100))
    results = simulate_all(bandits, 400, step_size=0.08, rollouts=10, scaled=True)
    for steps in (100, 200, 400):
        over = np.array(
            [
                result.trajectory[50:steps, 0].mean() - bandit.floor
                for bandit, result in zip(bandits, results, strict=True)
            ]
        )
        assert np.mean(over >= -0.005) >= 0.95
        assert over.min() >= -0.012


def test_many_bandits_at_once_give_what_each_gives_alone():
    together = simulate_all([NEARLY_FREE, NEARLY_TIED], 50)
    for bandit, result in zip([NEARLY_FREE, NEARLY_TIED], together, strict=True):
        alone = simulate(bandit, 50)
        assert result.trajectory == pytest.approx(alone.trajectory, abs=1e-12)
        assert result.policy == pytest.approx(alone.policy, abs=1e-12)
    with pytest.raises(DataError, match="bandits of one shape"):
        simulate_all([], 50)


def test_an_infeasible_floor_is_flagged_and_gives_the_most_accurate_policy():
    bandit = replace(GOLDEN, floor=0.95)
    assert bandit.optimum() is None
    result = simulate(bandit, 3000)
    assert result.infeasible
    assert result.accuracy == pytest.approx(GOLDEN.best_accuracy, abs=0.005)


@pytest.mark.parametrize(
    ("weights", "ratios", "accuracy", "floor"),
    [
        ([1.0], [0.3, 1.0], [[0.5, 0.9]], 0.8),
        ([0.9, 0.1], [0.1, 0.15, 0.9], [[0.8, 0.4, 0.9], [0.2, 0.7, 0.6]], 0.84),
        ([0.5, 0.5], [0.25, 0.5, 1.0], [[0.7] * 3, [0.4] * 3], 0.5),
        ([0.2, 0.8], [0.5, 1.0], [[0.1, 0.9], [0.2, 0.6]], 0.0),
        ([1.0], [0.7], [[0.6]], 0.6),
    ],
    ids=["one context, two ratios", "not monotone", "equal accuracies", "no floor", "no choice"],
)
def test_odd_bandits_are_solved_too(weights, ratios, accuracy, floor):
    bandit = Bandit(np.array(weights), np.array(ratios), np.array(accuracy), floor)
    result = simulate(bandit, 5000, gains=NO_MINIMUM)
    assert result.accuracy >= floor - 0.003
    assert result.savings == pytest.approx(bandit.optimum()[0], abs=0.004)
    assert not result.infeasible


def test_a_rounding_error_between_accuracies_makes_no_price():
    """Ratios .25 and .5 are equally accurate but for one ulp; the price at which they tie is none."""
    bandit = Bandit(np.ones(1), np.array([0.25, 0.5]), np.array([[0.3, 0.1 + 0.2]]), 0.3)
    assert bandit.optimum() == pytest.approx((0.225, 0))


def test_weights_that_sum_to_nearly_one_are_made_to():
    bandit = replace(GOLDEN, weights=np.array([0.333333, 0.333333, 0.333333]), accuracy=np.ones((3, 5)), floor=1.0)
    assert simulate(bandit, 50).accuracy == pytest.approx(1)


def test_a_collapsed_policy_comes_back():
    # All mass on the smallest ratio; with the factor pi in the gradient this would take a thousand times as long.
    policy, q = np.array([[0.996, 0.001, 0.001, 0.001, 0.001]]), np.array([[0.1, 0.2, 0.5, 0.9, 0.95]])
    logits = np.log(policy)
    for _ in range(120):
        logits += 0.1 * logit_advantages(q, np.exp(logits) / np.exp(logits).sum())
    assert (np.exp(logits) / np.exp(logits).sum())[0].argmax() == 4


def test_a_simulation_starts_at_the_given_price():
    for price in (2.0, 7.0):
        assert simulate(GOLDEN, 1, gains=Gains(start=price)).trajectory[0, 2] == price


@pytest.mark.parametrize("options", [{"step_size": 0}, {"step_size": np.nan}, {"rollouts": 0}, {"seed": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(DataError, match="step_size above 0"):
        simulate(GOLDEN, 10, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": np.array([0.5, 0.6, 0.1])}, "sum to 1"),
        ({"ratios": RATIOS[:3]}, "must have shape"),
        ({"floor": 1.2}, r"in \[0, 1\]"),
    ],
)
def test_bandits_that_make_no_sense_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        replace(GOLDEN, **change)
