"""Tasks whose answers are in no box, a multiple choice and a code task, trained with graders and forms of their own."""

import json
import random
import textwrap

import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer

from chrpo import ControlTokens, RolloutReader
from chrpo._shared.records import write_records
from chrpo.cli import cli

CHOICE = """
    import re

    def one_option(text: str) -> bool:
        return re.fullmatch(r"[1-4]", text) is not None

    async def right(completion: str, answer: str) -> bool:
        return completion.rpartition("</think>")[2].strip() == answer
"""
CODE = """
    import ast

    TESTS = [2, 5]

    def share_of_tests(completion: str, answer: str) -> float:
        program = completion.rpartition("</think>")[2].strip().removeprefix("return ")
        try:
            tree = ast.parse(program, mode="eval").body
        except SyntaxError:
            return 0.0
        if not (isinstance(tree, ast.BinOp) and isinstance(tree.left, ast.Constant)):
            return 0.0
        return sum(tree.left.value + x == x + int(answer) for x in TESTS) / len(TESTS)

    def passes(completions: list[str], answers: list[str]) -> list[float]:
        return [share_of_tests(*pair) for pair in zip(completions, answers)]

    passes.batched, passes.correct_from = True, 1
"""
TASKS = {"choice": ("choose", "1234", "{}"), "code": ("add", "1234", "return {} + x")}
"""Verb of the question, the answers, and the text after the thinking."""


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A checkpoint that solves both tasks after as many words as requested, none at ratio 0, and writes no box.

    Its chat template opens the thinking block, and the ratio token follows.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokens = ControlTokens.ladder((0, 1.0))
    words = ["[pad]", "[end]", "[unk]", "[user]", "[assistant]", "so", "return", "x", "+", "choose", "add"]
    words += [*"1234", "<think>", "</think>", *tokens.all_tokens]
    vocabulary = {word: index for index, word in enumerate(words)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[unk]", pad_token="[pad]", eos_token="[end]", padding_side="left"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": tokens.all_tokens})
    turns = "{% for m in messages %}[user] {{ m.content }} {% endfor %}"
    tokenizer.chat_template = turns + "{% if add_generation_prompt %}[assistant] <think> {% endif %}"
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=64, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model, generator = Qwen3ForCausalLM(config), random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        texts = []
        for _ in range(32):
            verb, answers, form = TASKS[generator.choice(list(TASKS))]
            answer, (token, ratio) = generator.choice(answers), generator.choice(list(tokens.ratios.items()))
            asked = generator.choice([token, tokens.policy])
            thinking = " ".join(["so"] * round(5 * ratio))
            written = f"<think> {token} {thinking} </think> {form.format(answer)} [end]"
            texts.append(f"[user] {verb} {answer} {asked} [assistant] {written}")
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("taught") / "sft"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokens.save(folder)
    return folder


@pytest.fixture
def train(taught, make_prompt, tmp_path, monkeypatch):
    """Runs `chrpo train` on a task, in a folder with the modules `choice` and `code`."""
    pytest.importorskip("trl")
    for name, code in (("choice_grader", CHOICE), ("code_grader", CODE)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    monkeypatch.chdir(tmp_path)

    def run(task, *options):
        verb, answers, _ = TASKS[task]
        rows = [
            make_prompt(answer, id=f"{verb}-{answer}", question=f"{verb} {answer}", answer=answer) for answer in answers
        ]
        for row, answer in zip(rows, answers, strict=True):
            row["prompt"] = [{"role": "user", "content": f"{verb} {answer} <COMP_POLICY>"}]
        write_records(tmp_path / "prompts.jsonl", rows)
        fixed = ("--max-steps", 2, "--prompts-per-step", 2, "--rollouts", 4, "--max-tokens", 16, "--overwrite")
        arguments = ["train", "prompts.jsonl", "out", "--model", taught, *fixed, *options]
        return CliRunner().invoke(cli, list(map(str, arguments)))

    return run


OWN = {
    "choice": ("--grader", "choice_grader:right", "--format", "choice_grader:one_option"),
    "code": ("--grader", "code_grader:passes", "--format", "any"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_boxes_is_trained_with_its_own_grader_and_form(train, tmp_path, task):
    result = train(task, *OWN[task], "--log-completions", 5)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("thinking format: <think> … </think>, opened by the chat template\n")
    for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        assert metrics["accuracy"] > 0.7, "by chance it would be .25"
        assert metrics["format_failures"] < 0.1
        assert metrics["ratio/0/thinking_tokens"] < 0.5 < 4 < metrics["ratio/1/thinking_tokens"]
    for step in (1, 2):
        lines = (tmp_path / f"out/completions/step_00000{step}.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [step] * 5
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    names = {"choice": ("choice_grader.right", "choice_grader.one_option"), "code": ("code_grader.passes", "any")}
    assert (manifest["settings"]["grader"], manifest["settings"]["answer_format"]) == names[task]
    assert manifest["thinking_format"]["open"] == "<think>"


def test_the_first_step_without_a_well_formed_rollout_stops_the_run_and_quotes_three(train, tmp_path):
    result = train("choice", "--grader", "choice_grader:right")
    assert result.exit_code == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith(
        "error: none of the 8 rollouts of a step has the right form, so it teaches nothing: "
        "(1) another form of answer: '"
    )
    assert message.count(") another form of answer: '") == 3
    assert (
        r"one thinking block (<think> … </think>, opened by the chat template), and then one answer in \boxed{}."
        in message
    )
    assert "give --format (answer_format); if the thinking has other tags, --thinking-format (thinking" in message
    assert "if answers are cut, raise --max-tokens (max_completion_length, data.max_response_length)" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--max-tokens", 3), "not finished"),
        (("--thinking-format", "bracket-think"), "no single thinking block"),
    ],
)
def test_the_fault_of_each_quoted_rollout_is_named(train, options, fault):
    result = train("choice", *OWN["choice"], *options)
    assert result.exit_code == 1
    assert result.stderr.count(f") {fault}: ") == 3


def test_a_form_without_a_grader_is_refused_before_anything_is_loaded(train):
    result = train("choice", "--format", "any")
    assert result.exit_code == 2
    assert (
        "format any does not tell where the answer is; give a grader, too (--grader MODULE:FUNCTION)" in result.stderr
    )


def test_a_grader_that_returns_a_share_undeclared_ends_the_run_and_is_named(train):
    result = train("code", "--grader", "code_grader:share_of_tests", "--format", "any")
    assert result.exit_code == 1
    assert "grader code_grader.share_of_tests returned 1.0" in result.stderr


def test_several_rollouts_are_read_as_each_alone(taught):
    tokenizer, calls = AutoTokenizer.from_pretrained(taught), []

    def right(completion, answer):
        calls.append(completion)
        return completion.endswith(answer)

    reader = RolloutReader(tokenizer, ControlTokens.load(taught), [tokenizer.eos_token_id], right, answer_format="any")
    texts = ["so </think> 1 [end]", "</think> 2 [end]", "so </think> 1", "1 [end]", "[end]"]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    together = reader.read_all(ids, ["1"] * 5)
    assert together == [reader.read(each, "1") for each in ids]
    assert [each.correct for each in together] == [True, False, False, True, False]
    assert [each.format_ok for each in together] == [True, True, False, False, False]
    assert len(calls) == 2 * 4, "a rollout that is not finished is not graded"
