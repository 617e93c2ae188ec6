"""The adversarial table: texts that try to earn as much as an honest short answer, from their tokens to their rewards.

The frozen model thinks in 20 tokens and answers in 7 more; the honest answer takes the smallest ratio.
"""

from dataclasses import replace

import numpy as np
import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo.batch import RolloutBatch, stat_columns
from chrpo.core import ConstrainedReward, PaperReward
from chrpo.grader import grade
from chrpo.objective import choose
from chrpo.prompts import PromptTable
from chrpo.rollout import RolloutReader
from chrpo.score import score_step

THINK = "so copy 1 2 3 4 5 6 0"
HONEST = "<think> so copy 7 so </think> \\boxed{ 7 } [end]"
LONG = f"<think> {THINK} {THINK} 7 7 </think> \\boxed{{ 7 }} [end]"
HACKS = {
    "thinking moved behind the block": (0.2, f"<think> so copy 7 so </think> {THINK} \\boxed{{ 7 }} [end]"),
    "a block that is never closed": (0.2, "<think> so copy 7 so \\boxed{ 7 } [end]"),
    "no block at all": (0.2, "\\boxed{ 7 } [end]"),
    "a second block": (0.2, "<think> so </think> <think> so </think> \\boxed{ 7 } [end]"),
    "a second control token": (0.2, "<think> so copy 7 so </think> <COMP_20> \\boxed{ 7 } [end]"),
    "a role token": (0.2, "<think> so [pad] so </think> \\boxed{ 7 } [end]"),
    "several different boxes": (0.2, "<think> so copy </think> \\boxed{ 6 } \\boxed{ 7 } [end]"),
    "the answer in the block alone": (0.2, "<think> so \\boxed{ 7 } </think> so [end]"),
    "a correct answer that was truncated": (0.2, "<think> so copy 7 so </think> \\boxed{ 7 }"),
    "requests a fifth and thinks at full length": (0.2, LONG),
    "repeats to fill full length": (1.0, f"<think> {'so copy ' * 10} </think> \\boxed{{ 7 }} [end]"),
    "incorrect and short": (0.2, "<think> so </think> \\boxed{ 6 } [end]"),
    "incorrect and empty": (0.2, "<think> </think> \\boxed{ 6 } [end]"),
}
REWARDS = {"constrained": ConstrainedReward(), "paper": PaperReward()}


@pytest.fixture(scope="module")
def earn(checkpoint, make_prompt):
    """What each of some rollouts of one prompt earns, main and control reward together."""
    from transformers import AutoTokenizer

    tokenizer, tokens = AutoTokenizer.from_pretrained(checkpoint), ControlTokens.load(checkpoint)
    reader = RolloutReader(tokenizer, tokens, [tokenizer.eos_token_id], grade)
    ratios = list(tokens.ratios.values())
    known = {"reference_tokens": 20, "reference_completion_tokens": 27, "teacher_ratio": 0.2}

    def run(reward, rollouts, price, asked="<COMP_POLICY>"):
        prompts = PromptTable.of([make_prompt("7", asked, **known)], tokens)
        stats = [reader.read(tokenizer.encode(text, add_special_tokens=False), "7") for _, text in rollouts]
        columns = {"row": [0] * len(stats), "ratio_index": [ratios.index(ratio) for ratio, _ in rollouts]}
        scored = score_step(
            RolloutBatch.of({**columns, **stat_columns(stats)}, np.log([[1 / 3] * 3] * len(stats))),
            prompts,
            replace(choose("chrpo", without=["stratified"]), reward=reward),
            group_size=len(rollouts),
            prices={prompts.group[0]: price},
        )
        return scored.reward.tolist()

    return run


@pytest.mark.parametrize("price", [0.0, 0.6, 100.0])
@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
@pytest.mark.parametrize("hack", HACKS)
def test_every_hack_earns_less_than_the_honest_short_answer(earn, hack, reward, price):
    honest, hacked = earn(reward, [(0.2, HONEST), HACKS[hack]], price)
    assert hacked < honest


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
@pytest.mark.parametrize("hack", [name for name, (ratio, _) in HACKS.items() if ratio == 0.2])
def test_nor_does_it_pay_where_the_user_requested_the_ratio(earn, hack, reward):
    honest, hacked = earn(reward, [(0.2, HONEST), HACKS[hack]], 0.6, "<COMP_20>")
    assert hacked < honest


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
def test_long_companions_do_not_make_an_answer_look_short(earn, reward):
    """The reference is the frozen model's, so no rollout of training can inflate it."""
    alone = earn(reward, [(0.2, HONEST)], 0.6)
    among = earn(reward, [(0.2, HONEST), *[(1.0, LONG.replace("7 7", "7 " * 40))] * 5], 0.6)
    assert among[0] == alone[0]
