"""verl and a model without control tokens."""

import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl has it")
pytestmark = [pytest.mark.verl, pytest.mark.enable_socket]  # Ray and verl's queue talk over sockets of this machine


def test_without_control_tokens_advantages_are_those_of_a_plain_loop(
    compose_plain, one_step, plain_checkpoint, plain_rows
):
    from chrpo import CHRPOController, Rollout, RolloutReader

    step = one_step(compose_plain(), plain_checkpoint)
    tokenizer, rows = step.trainer.tokenizer, step.rows
    controller = CHRPOController(plain_rows, None, group_size=6, settings=step.trainer.controller.settings)
    reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
    responses = [ids.tolist() for ids in rows["responses"].unbind()]
    places = [int(index) for index in rows["index"]]
    forced = [first for first, *_ in map(tokenizer.convert_ids_to_tokens, responses) if first.startswith("<COMP_")]
    assert not forced
    stats = reader.read_all(responses, [plain_rows[place]["answer"] for place in places])
    rollouts = [Rollout(row=place, stats=each) for place, each in zip(places, stats, strict=True)]
    expected = controller.step(rollouts, list(rows["uid"]))
    assert expected.response.any()
    for advantages, response in zip(rows["advantages"].unbind(), expected.response, strict=True):
        assert advantages.numpy() == pytest.approx(response, abs=1e-6)
    assert step.trainer.controller.state_dict() == controller.state_dict()
    assert controller.prices()["policy"] != 8, "a price that never moves would agree whatever the code"


def test_without_control_tokens_a_step_without_a_well_formed_rollout_is_quoted_from_its_first_token(
    compose_plain, one_step, plain_checkpoint
):
    from chrpo.errors import ChrpoError

    with pytest.raises(
        ChrpoError, match=r"none of the 24 rollouts of a step has the right form.*form of answer: '<think>"
    ):
        one_step(compose_plain(**{"+chrpo__answer_format": "answer-tag"}), plain_checkpoint)
