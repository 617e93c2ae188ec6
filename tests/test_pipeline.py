"""What one package writes the next accepts, and what they repeat they agree on.

The commands are the real ones, run on a tiny model by the `pipeline` fixture; see `conftest.py`.
"""

import importlib
import json
from itertools import cycle

import pytest

RATIOS = (0.2, 0.6, 1.0)
EVERY = ("ratio_sft", "chrpo", "math_eval")
THREE = [importlib.import_module(f"{name}._shared.control_tokens") for name in EVERY]


def prompt_text(question, token):
    """The prompt that every package must make for a question, spelled out."""
    return (
        "<|im_start|>user\nPlease reason step by step, and put your final answer within \\boxed{}.\n"
        f"{question} {token}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.fixture(scope="module")
def tokenizer(pipeline):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(pipeline / "sft")


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_no_row_is_lost_between_the_packages(pipeline):
    problems = {row["id"] for row in pipeline.rows("problems.jsonl")}
    for name in ("traces.jsonl", "annotated.jsonl", "compressed.jsonl", "learned.jsonl", "prompts.jsonl"):
        assert {row["id"] for row in pipeline.rows(name)} == problems, name
    mixed = pipeline.rows("mix/train.jsonl") + pipeline.rows("mix/heldout.jsonl")
    assert {(row["id"], row["ratio"]) for row in mixed if row["mode"] == "fixed"} == {
        (name, ratio) for name in problems for ratio in RATIOS
    }


@pytest.mark.parametrize("name", ["traces.jsonl", "annotated.jsonl", "compressed.jsonl", "prompts.jsonl"])
def test_fields_that_no_contract_knows_reach_the_other_end(pipeline, name):
    level = {row["id"]: row["level"] for row in pipeline.rows("problems.jsonl")}
    assert all(row["level"] == level[row["id"]] for row in pipeline.rows(name))


def test_no_command_tries_to_reach_the_network(pipeline):
    assert pipeline.hosts == []


def test_traces_are_what_the_base_model_wrote(pipeline):
    samples = {row["id"]: row for row in pipeline.rows("run_base/samples_problems.jsonl")}
    for trace in pipeline.rows("traces.jsonl"):
        written = f"<think>\n{trace['cot']}\n</think>\n\n{trace['response']}"
        assert samples[trace["id"]]["completion"] == written


def test_sft_rows_hold_the_compressed_thinking_and_the_untouched_answer(pipeline):
    texts = {
        (row["id"], entry["ratio"]): (entry["text"], row["response"])
        for row in pipeline.rows("compressed.jsonl")
        for entry in row["compressions"]
    }
    for row in pipeline.rows("mix/train.jsonl"):
        thinking, response = texts[row["id"], row["ratio"]]
        token = f"<COMP_{round(100 * row['ratio'])}>"
        assert row["completion"][0]["content"] == f"{token}\n<think>\n{thinking}\n</think>\n\n{response}"


def test_budgets_hold_in_tokens_of_the_model_that_is_trained(pipeline, tokenizer):
    for row in pipeline.rows("compressed.jsonl") + pipeline.rows("learned.jsonl"):
        whole = len(encode(tokenizer, row["cot"]))
        for entry in row["compressions"]:
            assert entry["original_tokens"] == whole
            assert entry["tokens"] == len(encode(tokenizer, entry["text"])) <= entry["ratio"] * whole


def test_the_measured_teacher_ratios_feed_the_next_mixture(pipeline, command, tmp_path):
    # The tiny model may solve nothing, so the measured ratios are overwritten; the rows are chrpo's own.
    prompts = [{**row, "teacher_ratio": ratio} for row, ratio in zip(pipeline.rows("prompts.jsonl"), cycle([0.2, 1.0]))]
    teacher = {row["id"]: row["teacher_ratio"] for row in prompts}
    (tmp_path / "teacher.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    arguments = ("--tolerance", 0.1, "--teacher", tmp_path / "teacher.jsonl", "--heldout-share", 0)
    done = command("ratio-sft build", pipeline / "compressed.jsonl", tmp_path / "mix", *arguments)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "mix/train.jsonl").read_text().splitlines()]
    policy = [row for row in rows if row["mode"] == "policy"]
    assert policy
    assert all(row["ratio"] == teacher[row["id"]] for row in policy)


def test_adapters_end_in_a_checkpoint_that_is_evaluated_at_every_ratio(pipeline, command, tmp_path):
    train = "ratio-sft train {0}/mix {1}/lora --model {0}/base --lora-rank 8 --max-steps 200 --batch-size 6"
    run = "math-eval run --model {1}/lora --tasks {0}/problems.jsonl --max-tokens 130 --output-dir {1}/run"
    asked = " ".join(f"--ratio {ratio}" for ratio in (*RATIOS, "policy"))
    for line in (f"{train} --learning-rate 3e-3", f"{run} {asked}"):
        done = command(line.format(pipeline.folder, tmp_path))
        assert done.exit_code == 0, done.output
    tokens = THREE[0].ControlTokens.load(tmp_path / "lora")
    thinking = {}
    for line in (tmp_path / "run/samples_problems.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["prompt"] == prompt_text(row["question"], tokens.token(row["ratio"]))
        thinking.setdefault(row["ratio"], []).append(row["thinking_tokens"])
    assert {ratio: len(found) for ratio, found in thinking.items()} == dict.fromkeys((*RATIOS, "policy"), 6)
    assert sum(thinking[0.2]) < sum(thinking[1.0])


def test_the_report_compares_all_runs_with_the_base_model(pipeline):
    values = json.loads((pipeline / "report.json").read_text())
    names = {condition["name"] for condition in values["conditions"]}
    assert names == {"base", "sft@0.2", "sft@0.6", "sft@1.0", "chrpo@0.2", "chrpo@policy"}
    comparison = json.loads((pipeline / "comparison.json").read_text())
    samples = {name: pipeline.rows(f"{name}/samples_problems.jsonl") for name in ("run_base", "run_chrpo")}
    policy = [row["thinking_tokens"] for row in samples["run_chrpo"] if row["ratio"] == "policy"]
    base = [row["thinking_tokens"] for row in samples["run_base"]]
    assert comparison["token_reduction"] == pytest.approx(1 - sum(policy) / sum(base))


# --- control tokens and prompts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratios", [(0.2, 0.4, 0.6, 0.8, 1.0), (0.05, 0.29, 0.57), (1,), (0.145, 0.155)])
def test_control_tokens_are_spelled_alike(ratios):
    spellings = [module.ControlTokens.ladder(ratios) for module in THREE]
    assert len({(tuple(found.ratios.items()), found.policy) for found in spellings}) == 1


def test_control_tokens_are_spelled_as_published():
    for module in THREE:
        found = module.ControlTokens.ladder([0.2, 0.4, 0.6, 0.8, 1.0])
        assert found.all_tokens == ["<COMP_20>", "<COMP_40>", "<COMP_60>", "<COMP_80>", "<COMP_100>", "<COMP_POLICY>"]


@pytest.mark.parametrize("name", ["sft", "chrpo"])
def test_every_package_reads_the_ladder_of_a_checkpoint(pipeline, name):
    for module in THREE:
        found = module.ControlTokens.load(pipeline / name)
        assert found.ratios == {"<COMP_20>": 0.2, "<COMP_60>": 0.6, "<COMP_100>": 1.0}
        assert found.policy == "<COMP_POLICY>"


def test_the_prompt_is_the_same_token_for_token_in_sft_rl_and_evaluation(pipeline, tokenizer):
    from math_eval.backends.hf import HFModel
    from ratio_sft._shared.control_tokens import ControlTokens
    from ratio_sft._shared.records import Tally
    from ratio_sft._shared.thinking import THINK
    from ratio_sft.training.encoding import encode as encode_rows

    questions = {row["id"]: row["question"] for row in pipeline.rows("problems.jsonl")}

    def golden(name, token):
        return encode(tokenizer, prompt_text(questions[name], token))

    rows = pipeline.rows("mix/train.jsonl")
    tokens = ControlTokens.load(pipeline / "sft")
    encoded = encode_rows(tokenizer, rows, tokens, THINK, max_length=1000, tally=Tally())
    taught = {}
    for row, ids in zip(rows, encoded, strict=True):
        asked = "policy" if row["mode"] == "policy" else row["ratio"]
        taught[row["id"], asked] = ids.input_ids[: ids.prompt_tokens]
    assert {asked for _, asked in taught} == {*RATIOS, "policy"}
    for (name, asked), ids in taught.items():
        assert ids == golden(name, tokens.token(asked))

    evaluated = pipeline.rows("run_sft/samples_problems.jsonl") + pipeline.rows("run_chrpo/samples_problems.jsonl")
    assert {row["ratio"] for row in evaluated} == {*RATIOS, "policy"}
    model = HFModel(pipeline / "sft")
    for row in evaluated:
        assert row["prompt"] == prompt_text(row["question"], tokens.token(row["ratio"]))
        assert list(model.encode(row["prompt"])) == golden(row["id"], tokens.token(row["ratio"]))

    ladder = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens.ratios}
    chosen = [[*golden(name, "<COMP_POLICY>"), forced] for name in questions for forced in ladder.values()]
    requested = [[*golden(name, token), forced] for name in questions for token, forced in ladder.items()]
    assert {ids[-1] for ids in pipeline.rollout_prompts} == set(ladder.values())
    assert all(ids in chosen or ids in requested for ids in pipeline.rollout_prompts)
    assert any(ids in chosen for ids in pipeline.rollout_prompts)
    assert any(ids in requested for ids in pipeline.rollout_prompts)


@pytest.mark.parametrize("name", ["sft", "chrpo"])
def test_a_stock_client_gets_the_same_prompt_from_the_saved_template(pipeline, name):
    from transformers import AutoTokenizer

    stock = AutoTokenizer.from_pretrained(pipeline / name)
    messages = [{"role": "user", "content": prompt_text("2 + 3?", "").split("user\n")[1].split(" <|im_end|>")[0]}]
    asked = {"<COMP_POLICY>": {}, "<COMP_60>": {"ratio": 0.6}}
    for token, arguments in asked.items():
        text = stock.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **arguments)
        assert text == prompt_text("2 + 3?", token)


# --- verdicts and token counts --------------------------------------------------------------------------------------

ANSWERS = [
    (r"\boxed{27}", "27", True),
    (r"\boxed{27.0}", "27", True),
    (r"\boxed{027}", "27", True),
    (r"\boxed{-3}", "3", False),
    (r"\boxed{1,234}", "1234", True),
    (r"\boxed{\$18}", "18", True),
    (r"\boxed{\frac{1}{2}}", "0.5", True),
    (r"\boxed{\dfrac12}", r"\frac{1}{2}", True),
    (r"\boxed{1/3}", r"\frac{2}{6}", True),
    (r"\boxed{0.33}", r"\frac{1}{3}", False),
    (r"\boxed{x^2+1}", "1+x^2", True),
    (r"\boxed{x^2-1}", "1+x^2", False),
    (r"\boxed{\sqrt{8}}", r"2\sqrt{2}", True),
    (r"\boxed{(1,2)}", "(1,2)", True),
    (r"\boxed{(2,1)}", "(1,2)", False),
    (r"\boxed{\text{(B)}}", r"\text{(B)}", True),
    (r"\boxed{\pi}", r"\pi", True),
    (r"\boxed{90^\circ}", r"90^\circ", True),
    (r"\boxed{\left[1,2\right)}", "[1,2)", True),
    (r"\boxed{5} or rather \boxed{\frac{1}{2}}", r"\frac{1}{2}", True),
    (r"\boxed{\frac{1}{2}} or rather \boxed{5}", r"\frac{1}{2}", False),
    (r"\boxed{}", "5", False),
    (r"\boxed{9^{9^{9^{9}}}}", "5", False),
    (r"\boxed{10^{999999999}}", "5", False),
    ("It is five.", "5", False),
]


@pytest.mark.parametrize(("answer", "gold", "right"), ANSWERS)
@pytest.mark.parametrize("thinking", ["<think>\nSo \\boxed{4}.\n</think>\n\n", "<COMP_20>\n<think>\n\n</think>\n"])
def test_training_and_evaluation_agree_on_an_answer(thinking, answer, gold, right):
    from chrpo import grade as reward
    from math_eval import grade

    completion = f"{thinking}The answer is {answer}." if "boxed" in answer else f"{thinking}{answer}"
    assert (reward(completion, gold), grade(completion, gold).verdict == "correct") == (right, right)


@pytest.mark.parametrize("completion", [r"<think>It is \boxed{5}.", r"<think>\boxed{5}</think>", ""])
def test_training_and_evaluation_find_no_answer_inside_thinking(completion):
    from chrpo import grade as reward
    from math_eval import grade

    assert not reward(completion, "5")
    assert grade(completion, "5").verdict == "no_answer"


COMPLETIONS = [
    "<think>\n1 + 2 = 3\n</think>\n\nThe answer is \\boxed{3}.",
    "<think>\n1 + 2 = 3, so the answer is",
    "The answer is \\boxed{3}.",
    "1 + 2 = 3\n</think>\n\nThe answer is \\boxed{3}.",
    "<think>\n1 + 2 = 3\n</think>\n<think>\n2 + 1 = 3\n</think>\n\\boxed{3}",
    "<think>\n\n</think>\n\n\\boxed{3}",
    "<think></think></think>\\boxed{3}",
    "so <think>  1 + 2 = 3  </think> \\boxed{3}",
    "<think>\n<think>\n3\n</think>\n\\boxed{3}",
    "<think>\nI may think <COMP_60> of it\n</think>\n\\boxed{3}",
    "",
]


@pytest.fixture(scope="module")
def evaluated(pipeline, tokenizer, tmp_path_factory):
    """(completion, whether it ended) -> the row that `math-eval run` writes for it in policy mode."""
    from math_eval import RunSettings, run
    from math_eval.backends import Completion
    from math_eval.backends.hf import HFModel

    folder = tmp_path_factory.mktemp("scripted")
    cases = [(text, finished) for text in COMPLETIONS for finished in (True, False)]
    problems = [{"id": str(n), "question": f"Case {n}.", "answer": "3"} for n in range(len(cases))]
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))

    class Scripted(HFModel):
        """The checkpoint, but it says what it is told to, its own control token first."""

        def complete(self, prompts, sampling, seed):
            return [self._said(*cases[int(prompt.split("Case ")[1].split(".")[0])]) for prompt in prompts]

        def _said(self, text, finished):
            said = f"<COMP_20>\n{text}"
            return Completion(said, len(encode(tokenizer, said)) + finished, "stop" if finished else "length")

    settings = RunSettings(str(pipeline / "sft"), (str(folder / "cases.jsonl"),), ("policy",), max_tokens=200)
    run(settings, folder / "run", backend=Scripted(pipeline / "sft"))
    rows = [json.loads(line) for line in (folder / "run/samples_cases.jsonl").read_text("utf-8").splitlines()]
    return {cases[int(row["id"])]: row for row in rows}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("text", COMPLETIONS)
def test_training_and_evaluation_count_the_same_tokens(pipeline, tokenizer, evaluated, text, finished):
    from chrpo import ControlTokens, RolloutReader, grade

    # In training the control token is forced, so a rollout starts behind it.
    ids = encode(tokenizer, f"\n{text}") + [tokenizer.eos_token_id] * finished
    reader = RolloutReader(tokenizer, ControlTokens.load(pipeline / "sft"), [tokenizer.eos_token_id], grade)
    facts = reader.read(ids, "3")
    row = evaluated[text, finished]
    assert row["chosen_ratio"] == 0.2
    assert row["thinking_tokens"] == facts.thinking_tokens
    assert row["completion_tokens"] == facts.completion_tokens


@pytest.mark.parametrize("text", COMPLETIONS)
def test_a_prompt_that_opens_the_thinking_block_counts_in_both(text):
    from chrpo._shared.thinking import split_thinking as in_training
    from math_eval._shared.thinking import split_thinking as in_evaluation

    for prompt in ("", "user\n2 + 3?\nassistant\n<think>\n"):
        assert vars(in_training(text, prompt)) == vars(in_evaluation(text, prompt))
