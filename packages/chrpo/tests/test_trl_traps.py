"""Traps that users of TRL met: defaults that do not fit, options taken in silence, folders that lack a file."""

import json

import pytest
import torch

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.thinking_formats import FORMATS, load_format
from chrpo.errors import DataError

pytest.importorskip("trl")


def plain_config(folder, **changes):
    from chrpo.trl import CHRPOConfig

    return CHRPOConfig(str(folder), report_to="none", use_cpu=True, **{"max_steps": 1, **changes})


def test_defaults_fit_each_other_and_the_references_limit_the_completions(checkpoint, prompt_rows, tmp_path, build):
    args = plain_config(tmp_path)
    assert args.generation_batch_size == 16 * args.num_generations
    assert plain_config(tmp_path, per_device_train_batch_size=20).generation_batch_size == 20
    args = plain_config(tmp_path, num_generations=6, gradient_accumulation_steps=2)
    assert args.max_completion_length is None
    rows = [*prompt_rows, {**prompt_rows[0], "reference_completion_tokens": 21}]
    trainer = build(checkpoint, args, rows)
    assert trainer.max_completion_length == 21 + 10 + 8 - 1
    assert build(checkpoint, plain_config(tmp_path, max_completion_length=5, num_generations=6,
                 gradient_accumulation_steps=2), rows).max_completion_length == 5  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generation_kwargs": {"repetition_penalty": 1.2}}, "generation_kwargs"),
        ({"repetition_penalty": 1.2}, "repetition_penalty is 1.2; it must be 1 .else rollouts are drawn from another"),
        ({"top_p": 0.95}, r"top_p is 0\.95; it must be 1"),
        ({"top_k": 20}, "top_k is 20; it must be 0"),
        ({"min_p": 0.1}, "min_p"),
        ({"top_entropy_quantile": 0.2}, "control tokens may not be trained"),
        ({"use_liger_kernel": True}, "one advantage for a whole rollout"),
        ({"auto_find_batch_size": True}, "groups would be split"),
        ({"reward_weights": [0.5]}, "there is one reward"),
        # TRL would complain about the size of the evaluation batch first.
        ({"eval_strategy": "steps", "eval_steps": 1, "num_generations": 6}, "evaluate checkpoints with math-eval"),
    ],
)
def test_an_option_of_trl_that_would_change_what_is_trained_is_refused_by_name(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        plain_config(tmp_path, **changes)


def test_an_option_of_the_trainer_that_is_not_passed_on_is_named(checkpoint, prompt_rows, tmp_path, config, build):
    with pytest.raises(DataError, match="takes no eval_dataset, tools; of GRPOTrainer's options it takes callbacks"):
        build(checkpoint, config(tmp_path), prompt_rows, tools=[print], eval_dataset=[])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": None}, "prompt 2: mode: got null"),
        ({"prompt": "copy 3 <COMP_POLICY>"}, "prompt 2: prompt: got .*expected a value of type array"),
        ({"teacher_ratio": ...}, "prompt 2: teacher_ratio: field 'teacher_ratio' is missing; add it"),
        ({"answer": ...}, "prompt 2: answer: field 'answer' is missing"),
    ],
)
def test_a_prompt_without_a_field_is_named(checkpoint, prompt_rows, tmp_path, config, build, change, words):
    row = {name: value for name, value in {**prompt_rows[1], **change}.items() if value is not ...}
    with pytest.raises(DataError, match=words):
        build(checkpoint, config(tmp_path), [prompt_rows[0], row])


def test_an_id_without_a_token_is_no_well_formed_answer(checkpoint):
    from transformers import AutoTokenizer

    from chrpo.rollout import RolloutReader

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    reader = RolloutReader(tokenizer, ControlTokens.load(checkpoint), eos_ids=[tokenizer.eos_token_id])
    ids = tokenizer.encode("<think> so so </think> \\boxed{ 3 } [end]", add_special_tokens=False)
    assert reader.read(ids, "3").format_ok
    assert not reader.read([*ids[:2], len(tokenizer), *ids[2:]], "3").format_ok, "it would think for free"


@pytest.fixture(scope="module")
def trained(checkpoint, prompt_rows, tmp_path_factory, config, build):
    """A run with a checkpoint, a saved model, and its log of completions."""
    folder = tmp_path_factory.mktemp("trained")
    changes = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "log_completions": True}
    trainer = build(checkpoint, config(folder, **changes, num_completions_to_print=7), prompt_rows)
    trainer.train()
    trainer.save_model(str(folder / "saved"))
    return trainer, folder


def test_checkpoints_and_saved_models_have_what_the_next_tool_needs(trained, checkpoint):
    trainer, folder = trained
    for name in ("checkpoint-1", "checkpoint-2", "saved"):
        assert ControlTokens.load(folder / name) == ControlTokens.load(checkpoint)
        assert load_format(folder / name) == FORMATS["think"]
    states = [json.loads((folder / name / "chrpo_state.json").read_text()) for name in ("checkpoint-2", "saved")]
    assert states == [{"generations": 2, **json.loads(json.dumps(trainer.controller.state_dict()))}] * 2
    assert json.loads((folder / "checkpoint-1" / "chrpo_state.json").read_text()) != states[0]


def test_the_log_of_completions_has_the_ratio_the_facts_and_what_is_trained(trained):
    trainer, folder = trained
    files = sorted(path.name for path in (folder / "completions").iterdir())
    assert files == ["step_000001.jsonl", "step_000002.jsonl"], "and no table of TRL"
    lines = [json.loads(line) for line in (folder / "completions" / files[1]).read_text().splitlines()]
    assert len(lines) == 7
    last, ladder = trainer.token_advantages, list(ControlTokens.load(folder / "saved").ratios)
    for place, line in enumerate(lines):
        ids = trainer.processing_class.encode(line["completion"], add_special_tokens=False)
        answer = next(row["answer"] for row in trainer.rows if row["id"] == line["id"])
        stats = trainer.reader.read(ids, answer)
        assert (line["format_ok"], line["correct"], line["truncated"]) == (
            stats.format_ok, stats.correct, stats.truncated,
        )  # fmt: skip
        assert (line["thinking_tokens"], line["completion_tokens"]) == (stats.thinking_tokens, len(ids) + 1)
        assert line["ratio"] in ladder
        assert line["reward"] == pytest.approx(trainer.result.reward[place])
        assert line["control_advantage"] == pytest.approx(last.control[place])
        assert line["response_advantage"] == pytest.approx(last.response[place])


def test_two_trainers_do_not_write_one_folder(checkpoint, prompt_rows, tmp_path, config, build):
    from chrpo._shared.lock import locked

    trainer = build(checkpoint, config(tmp_path / "out"), prompt_rows)
    with locked(tmp_path / "out"), pytest.raises(DataError, match="out: another process is writing it"):
        trainer.train()


@pytest.mark.parametrize("absolute", [True, False])
def test_the_probabilities_of_a_prompt_do_not_depend_on_the_padding_beside_it(absolute):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    from chrpo.trl.positions import count_from_first_token

    torch.manual_seed(0)
    if absolute:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=32,
            )
        )  # fmt: skip
    model.eval()
    ids = torch.tensor([[0, 0, 0, 5, 6, 7]])
    mask = torch.tensor([[0, 0, 0, 1, 1, 1]])

    def last(ids, mask):
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask).logits[0, -1]

    alone = last(ids[:, 3:], mask[:, 3:])
    assert torch.allclose(last(ids, mask), alone, atol=1e-5) != absolute
    count_from_first_token(model)
    assert torch.allclose(last(ids, mask), alone, atol=1e-5)
    assert bool(model._forward_pre_hooks) == absolute, "models with rotary positions are left alone"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0, "bf16": False, "run_name": "mine"}),
        ({"lr_scheduler": "cosine", "warmup_steps": 3}, {"lr_scheduler_type": "cosine", "warmup_steps": 3}),
        ({"bf16": True, "gradient_checkpointing": True}, {"bf16": True, "gradient_checkpointing": True}),
    ],
)
def test_settings_of_the_command_reach_trl(checkpoint, prompt_rows, tmp_path, given, expected):
    from chrpo.grader import grade
    from chrpo.settings import TrainSettings
    from chrpo.trl.build import Job, _config

    settings = TrainSettings(rollouts=6, max_tokens=16, max_steps=9, **given)
    job = Job(
        checkpoint, tmp_path, prompt_rows, ControlTokens.load(checkpoint), settings, grade, "boxed", 1, (), "mine", 5
    )
    config = _config(job)
    assert {name: getattr(config, name) for name in expected} == expected
    assert (config.log_completions, config.num_completions_to_print) == (True, 5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"warmup_steps": 9, "max_steps": 9}, "warmup_steps is 9; it must be 0 or more, and fewer than the 9 steps"),
        ({"lr_scheduler": "sawtooth"}, "lr_scheduler must be one of constant, linear, cosine"),
    ],
)
def test_a_course_of_the_learning_rate_that_cannot_be_is_named(given, words):
    from chrpo.settings import TrainSettings

    with pytest.raises(DataError, match=words):
        TrainSettings(**given)
