"""Build and train on a model whose template opens the thinking block, with a rung of zero thinking, and answer."""

import json

import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer

from ratio_sft._shared.checkpoint_loader import load_model
from ratio_sft._shared.control_tokens import ControlTokens, user_turn
from ratio_sft._shared.thinking_formats import load_format
from ratio_sft.cli import cli

THINKING = {0: "", 0.2: "1+1", 1: "so 1+1=2,check 1+1=2"}
OPENINGS = {"think": "<think>\\n", "bracket-think": "[THINK]\\n"}


@pytest.fixture(scope="module", params=OPENINGS)
def trained(request, tmp_path_factory, trace, write_lines, make_model, make_tokenizer, chatml):
    """A checkpoint that memorised one problem at three ratios; its base model's template opens the block."""
    folder, name = tmp_path_factory.mktemp("opened"), request.param
    made = {"spans": [], "original_tokens": 15, "tokenizer": "tiny"}
    compressions = [
        {**made, "ratio": ratio, "text": THINKING[ratio], "tokens": tokens, "achieved_ratio": ratio}
        for ratio, tokens in ((0.2, 3), (1, 15))
    ]
    write_lines(folder / "compressed.jsonl", [trace(1, sample=n, compressions=compressions) for n in range(2)])
    make_model(tied=False).save_pretrained(folder / "base")
    opened = chatml.replace("assistant\\n' -}}", f"assistant\\n{OPENINGS[name]}' -}}}}")
    make_tokenizer(opened, extra=("<|im_start|>", "[THINK]", "[/THINK]")).save_pretrained(folder / "base")

    def run(*arguments):
        result = CliRunner().invoke(cli, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return result.stderr

    ladder = [part for ratio in THINKING for part in ("--ratio", ratio)]
    shares = ("--plain-share", 0.5, "--heldout-share", 0, "--policy-share", 0)
    told = run("build", folder / "compressed.jsonl", folder / "mix", *ladder, *shares, "--thinking-format", name)
    options = ("--max-steps", 170, "--batch-size", 6, "--learning-rate", 1e-2, "--weight-decay", 0, "--save-steps", 170)
    told += run("train", folder / "mix", folder / "sft", "--model", folder / "base", *options)
    return folder, name, told


def test_the_checkpoint_has_its_format_and_a_zero_rung(trained):
    folder, name, told = trained
    markup = load_format(folder / "sft")
    assert markup.open + "\\n" == OPENINGS[name]
    assert markup.opened
    assert f"thinking format: {markup}\n" in told
    assert told.count("thinking format: ") == 2
    assert json.loads((folder / "sft/train_report.json").read_text())["thinking_format"] == str(markup)
    assert ControlTokens.load(folder / "sft").ratios == {"<COMP_0>": 0, "<COMP_20>": 0.2, "<COMP_100>": 1}


def test_the_ratio_token_is_the_first_of_the_response_and_sets_the_thinking(trained, trace):
    folder, _, _ = trained
    tokenizer, markup = AutoTokenizer.from_pretrained(folder / "sft"), load_format(folder / "sft")
    tokens, model = ControlTokens.load(folder / "sft"), load_model(folder / "sft", "float32")
    messages = [{"role": "user", "content": user_turn(trace(1)["question"])}]
    base = AutoTokenizer.from_pretrained(folder / "base")
    for ratio in (*THINKING, None):
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, ratio=ratio)
        assert prompt.endswith(f"assistant\n{markup.open}\n")
        if ratio is None:
            assert prompt == base.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        out = model.generate(**ids, do_sample=False, max_new_tokens=100)[0, ids["input_ids"].shape[1] :]
        text = tokenizer.decode(out[:-1])
        opening = tokenizer.convert_ids_to_tokens([int(out[0])])[0]
        assert (opening == tokens.token(ratio)) if ratio is not None else opening == "so"
        found = markup.split(tokens.without_token(text))
        assert (found.text, found.answer) == (THINKING[1 if ratio is None else ratio], "\\boxed{2}")
