"""The bench of `benchmarks/chrpo_segments.py`: exact values, draws and ends that can be worked out by hand."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from chrpo.objective import choose

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("chrpo_segments")


@pytest.fixture
def half(bench):
    """Policies of 20 runs: half of the responses write everything, the other half each segment with probability .5."""
    task = bench.Task(need=np.array([[1.0, 0.5]]), tokens=np.array([[10.0, 20.0]]))
    policies = bench.Policies(task, np.full(20, 0.1))
    policies.choice[..., 0] = np.log(5)
    policies.write[:] = 50
    policies.write[:, :, 0] = 0
    return policies


def test_the_true_accuracy_and_tokens_are_those_worked_out_by_hand(half):
    # Half: complete with .5 x .75 = .375, so .375 x .9 + .625 x .05 = .36875 and 6 + 15 tokens. Rest: .9 and 36 tokens.
    np.testing.assert_allclose(half.expected(), np.tile([0.634375, 28.5], (20, 1)))


def test_rollouts_have_the_true_accuracy_and_tokens(bench, half):
    batch, _ = bench.roll_out(half, bench.prompt_table(half), 0.0, np.random.default_rng(0))
    assert batch.correct.mean() == pytest.approx(0.634375, abs=0.03)
    assert batch.completion_tokens.mean() == pytest.approx(28.5, abs=0.5)


def test_a_task_without_needed_segments_ends_at_the_fewest_tokens_and_full_accuracy(bench):
    task = bench.Task(need=np.zeros((1, 2)), tokens=np.array([[10.0, 20.0]]))
    for row in bench.Row(choose("l1", length_weight=1, advantage_scale="none")), bench.Row(choose("chrpo")):
        ends = bench.train(task, row, np.full(2, 0.2), steps=100)
        np.testing.assert_allclose(ends, [[0.9, 6]] * 2, rtol=0.05)


def test_a_needed_segment_is_kept_under_the_constraint_and_lost_to_a_large_penalty(bench):
    task = bench.Task(need=np.array([[0.5]]), tokens=np.array([[10.0]]))
    held = bench.train(task, bench.Row(choose("chrpo")), np.array([0.2]), steps=100)
    lost = bench.train(task, bench.Row(choose("l1", length_weight=3)), np.array([0.2]), steps=100)
    np.testing.assert_allclose(held, [[0.9, 16]], rtol=0.02)
    np.testing.assert_allclose(lost, [[0.5 * 0.9 + 0.5 * 0.05, 6]], rtol=0.02)


def test_the_cheapest_penalty_is_chosen_among_those_that_are_accurate_enough(bench):
    ends = {"L1 1": (-0.2, 10), "L1 0.3": (-0.01, 20), "L1 0.1": (0.0, 30), "chrpo": (0.0, 5)}
    found = {name: {"0.1": {"accuracy": [a] * 3, "tokens": [t] * 3}} for name, (a, t) in ends.items()}
    assert bench.cheapest(found, "0.1", -0.01) == "L1 0.3"
    assert bench.cheapest(found, "0.1", 0.01) is None
