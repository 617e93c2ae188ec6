"""What length costs: by the prompt's solve rate, and by the price that follows a token budget."""

import json

import numpy as np
import pytest

from chrpo.core import ConstrainedReward, Outcomes
from chrpo.core.baselines import LengthPenalty
from chrpo.core.length_price import LengthPrice, solve_rate, weighted_by_solve_rate
from chrpo.errors import DataError
from chrpo.objective import choose

FACTS = Outcomes.of(
    format_ok=[True, True, True, False, True, True],
    correct=[True, False, True, True, False, False],
    requested_ratio=[1.0] * 6,
    realised_ratio=[0.8] * 6,
    cost=[0.5, 0.4, 1.0, 0.2, 0.6, 0.8],
    prompt=[3, 3, 3, 3, 0, 0],
    tokens=[50, 40, 100, 20, 60, 80],
)


def test_the_solve_rate_counts_correct_answers_in_the_right_format_and_is_never_0():
    assert solve_rate(FACTS).tolist() == [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    three = Outcomes.of(
        format_ok=[True] * 4, correct=[1, 1, 1, 0], requested_ratio=[1.0] * 4, realised_ratio=[1.0] * 4, cost=[1.0] * 4
    )
    assert solve_rate(three).tolist() == [0.75] * 4


def test_length_costs_in_proportion_to_the_solve_rate():
    """ALP: a - weight x tokens x solve rate; and savings of the constrained reward are 1 - cost x solve rate."""
    weighted = weighted_by_solve_rate(FACTS)
    alp = LengthPenalty(weight=0.01, unit="token")(weighted).main
    assert alp == pytest.approx([0.75, -0.2, 0.5, -0.1, -0.3, -0.4])
    assert ConstrainedReward(margin=1.0)(weighted).main[[0, 1, 2]] == pytest.approx([1.75 / 2, 0, 1.5 / 2])
    assert weighted.realised_ratio.tolist() == FACTS.realised_ratio.tolist()
    assert choose("alp", length_weight=0.01).rewards(FACTS, 0.0).main.tolist() == alp.tolist()
    plain = choose("chrpo", adding=["solve_rate"]).rewards(FACTS, 0.0).main
    assert plain[:3] == pytest.approx([(0.01 + 0.75) / 1.01, 0, (0.01 + 0.5) / 1.01])


def test_the_price_of_tokens_follows_the_budget_between_0_and_its_cap():
    price = LengthPrice(100, step=0.5, cap=0.6)
    assert [price.update(tokens) for tokens in (50, 140, 140, 300, 80, 0)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.5, 0])


def test_the_price_of_tokens_comes_back_bit_for_bit():
    price = LengthPrice(30)
    price.update(41.7)
    twin = LengthPrice(30)
    twin.load_state_dict(json.loads(json.dumps(price.state_dict())))
    assert twin.price == price.price > 0
    assert twin.update(33.3) == price.update(33.3)


@pytest.mark.parametrize(
    "state", [None, [], {}, {"price": -0.1}, {"price": 1.5}, {"price": "0"}, {"price": float("nan")}]
)
def test_a_damaged_price_of_tokens_is_refused(state):
    with pytest.raises(DataError, match="saved price of tokens"):
        LengthPrice(30).load_state_dict(state)


@pytest.mark.parametrize(
    "numbers", [{"budget": 0}, {"budget": np.inf}, {"budget": 3, "step": 0}, {"budget": 3, "cap": -1}]
)
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(DataError, match="must be above 0 and finite"):
        LengthPrice(**numbers)
