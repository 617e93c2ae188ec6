"""Rollouts that verl draws and reads: the first token, the facts, the grader, the step that is stopped."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl has it")
pytestmark = [pytest.mark.verl, pytest.mark.enable_socket]  # Ray and verl's queue talk over sockets of this machine


def test_every_rollout_opens_with_a_ratio_token_the_requested_the_next_of_the_ladder_or_a_drawn_one(trained):
    ids = trained.trainer.tokenizer.convert_tokens_to_ids
    ladder = [ids(f"<COMP_{percent}>") for percent in (20, 60, 100)]
    opened = {}
    for uid, index, prompt, response in zip(
        trained.rows["uid"],
        trained.rows["index"],
        trained.rows["prompts"].unbind(),
        trained.rows["responses"].unbind(),
        strict=True,
    ):
        opened.setdefault((uid, int(index), int(prompt[-2])), []).append(int(response[0]))
    assert len(opened) == 4
    seen = set()
    for (_, index, asked), first in opened.items():
        if asked != ids("<COMP_POLICY>"):
            assert first == [asked] * 6
        elif index in (0, 2, 4):
            assert sorted(first) == sorted(ladder * 2)
        else:
            assert set(first) <= set(ladder)
        seen.add((asked == ids("<COMP_POLICY>")) * (1 + (index in (0, 2, 4))))
    assert {1, 2} <= seen, "both kinds of prompt occur in the step"


def test_the_score_that_verl_shows_is_accuracy(trained):
    scores = [float(score[-1]) for score in trained.rows["rm_scores"].unbind()]
    facts = [fields["reward_extra_info"] for fields in trained.rows["extra_fields"]]
    assert scores == [float(fact["correct"] and fact["format_ok"]) for fact in facts]
    assert trained.metrics["chrpo/accuracy"] == pytest.approx(np.mean([fact["correct"] for fact in facts]))


GRADERS = """
import asyncio

calls = []

async def credit(completions, answers, most):
    calls.append(len(completions))
    await asyncio.sleep(0.01)
    right = [text.endswith("{ " + answer + " }") for text, answer in zip(completions, answers, strict=True)]
    return [most if each else 0.5 for each in right]

credit.batched, credit.correct_from = True, 0.75

def undeclared(completion, answer):
    return 0.5
"""


@pytest.fixture
def graded_by(tmp_path):
    """Settings that name one of the graders."""
    path = tmp_path / "graders_of_mine.py"
    path.write_text(GRADERS)

    def settings(name, **more):
        function = {"path": path, "name": name, **more}
        return {f"++reward__custom_reward_function__{key}": value for key, value in function.items()}

    return settings


def test_an_async_batched_grader_with_declared_credit_judges_as_the_plain_one(
    compose, one_step, checkpoint, prompt_rows, graded_by
):
    from chrpo._shared.control_tokens import ControlTokens
    from chrpo.rollout import RolloutReader

    own = graded_by("credit", reward_kwargs__most=0.8)
    step = one_step(compose(**own, **{"+chrpo__answer_format": "any"}), checkpoint)
    tokenizer = step.trainer.tokenizer
    reader = RolloutReader(tokenizer, ControlTokens.load(checkpoint), [tokenizer.eos_token_id])
    facts = [fields["reward_extra_info"] for fields in step.rows["extra_fields"]]
    responses = [response.tolist() for response in step.rows["responses"].unbind()]
    answers = [prompt_rows[fact["row"]]["answer"] for fact in facts]
    expected = reader.read_all([ids[1:] for ids in responses], answers)
    assert [fact["correct"] for fact in facts] == [each.correct for each in expected]
    assert {fact["correct"] for fact in facts} == {True, False}


def test_a_score_that_is_no_bool_and_not_declared_is_refused_by_name(compose, checkpoint, graded_by):
    import torch
    from transformers import AutoTokenizer
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    from chrpo.errors import ChrpoError

    text = "<COMP_20> <think> so </think> \\boxed{ 7 } [end]"
    ids = torch.tensor(AutoTokenizer.from_pretrained(checkpoint).encode(text, add_special_tokens=False))
    rollout = {"responses": ids, "attention_mask": torch.ones_like(ids)}
    item = SimpleNamespace(batch=rollout, non_tensor_batch={"answer": "7", "index": 0})
    worker = RewardLoopWorker(compose(**graded_by("undeclared")))
    with pytest.raises(ChrpoError, match=r"undeclared returned 0\.5 .*or declare partial credit"):
        asyncio.run(worker.reward_manager.run_single([item]))


def test_a_step_without_a_well_formed_rollout_stops_and_quotes_three(compose, one_step, checkpoint):
    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match=r"none of the 24 rollouts of a step has the right form") as stopped:
        one_step(compose(**{"+chrpo__answer_format": "answer-tag"}), checkpoint)
    assert ") another form of answer: '<think>" in str(stopped.value)
    assert "(3) " in str(stopped.value)
    assert "(4) " not in str(stopped.value)
    assert "then one answer in <answer></answer>" in str(stopped.value)


def test_the_thinking_format_is_a_setting(compose, one_step, checkpoint):
    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match=r"\(3\) no single thinking block: .* one thinking block \(\[THINK\]"):
        one_step(compose(**{"+chrpo__thinking_format": "bracket-think"}), checkpoint)
