from dataclasses import replace

import pytest

from ratio_sft import MixSettings, mix
from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Tally
from ratio_sft._shared.thinking import THINK, ThinkingFormat
from ratio_sft._shared.thinking_formats import FORMATS
from ratio_sft.errors import DataError
from ratio_sft.model import template
from ratio_sft.model.tokens import add_to_tokenizer
from ratio_sft.training import encoding, row_checks

LADDER = ControlTokens.ladder((0.2, 0.6, 1.0))


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer):
    made = make_tokenizer()
    add_to_tokenizer(made, LADDER)
    template.install(made, LADDER)
    return made


@pytest.fixture(scope="module")
def rows(trace):
    return mix([trace(n) for n in range(10)], MixSettings(heldout_share=0)).train


def encode(tokenizer, rows, max_length=6144, thinking_format=THINK):
    tally = Tally()
    encoded = encoding.encode(tokenizer, rows, LADDER, thinking_format, max_length=max_length, tally=tally)
    return list(encoded), tally


def test_the_loss_counts_the_control_token_first_and_the_end_last(tokenizer, rows):
    encoded, _ = encode(tokenizer, rows)
    for row, found in zip(rows, encoded, strict=True):
        counted = [label for label in found.labels if label != -100]
        token = LADDER.token(row["ratio"])
        assert tokenizer.convert_ids_to_tokens(counted[0]) == token
        assert counted[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(counted[:-1]) == row["completion"][0]["content"]
        assert found.labels[: found.prompt_tokens] == [-100] * found.prompt_tokens
        prompt = tokenizer.decode(found.input_ids[: found.prompt_tokens])
        asked = "<COMP_POLICY>" if row["mode"] == "policy" else token
        assert prompt == f"<|im_start|>user\n{row['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        assert row["prompt"][0]["content"].endswith(f" {asked}")


def test_a_full_length_row_without_a_token_has_none_in_its_prompt_either(tokenizer, trace):
    rows = mix([trace(n) for n in range(4)], MixSettings(heldout_share=0, policy_share=0, plain_share=1.0)).train
    encoded, _ = encode(tokenizer, rows)
    plain = [found for found in encoded if found.mode == "plain"]
    assert len(plain) == 4
    ids = {tokenizer.convert_tokens_to_ids(token) for token in LADDER.all_tokens}
    for found in plain:
        assert ids.isdisjoint(found.input_ids)
        assert tokenizer.decode([label for label in found.labels if label != -100]).startswith("<think>\nso ")


def test_the_template_would_have_lost_the_control_token(tokenizer, rows):
    """Why completions are not rendered by the template."""
    rendered = tokenizer.apply_chat_template(rows[0]["prompt"] + rows[0]["completion"], tokenize=False)
    assert "<COMP_20>" not in rendered.partition("assistant")[2]


def test_behind_a_tag_that_the_template_opens_the_ratio_token_comes_first(make_tokenizer, chatml, rows, trace):
    made = make_tokenizer(chatml.replace("assistant\\n' -}}", "assistant\\n<think>\\n' -}}"))
    add_to_tokenizer(made, LADDER)
    template.install(made, LADDER)
    opened = replace(THINK, opened=True)
    encoded, _ = encode(made, rows, thinking_format=opened)
    for row, found in zip(rows, encoded, strict=True):
        prompt, response = found.input_ids[: found.prompt_tokens], found.input_ids[found.prompt_tokens :]
        assert made.decode(prompt).endswith("<|im_start|>assistant\n<think>\n")
        assert made.convert_ids_to_tokens(response[0]) == LADDER.token(row["ratio"])
        whole = row["completion"][0]["content"]
        assert made.decode(response[:-1]) == whole.replace("<think>\n", "")
        assert opened.split(LADDER.without_token(made.decode(response[:-1]))) == THINK.split(whole)
    settings = MixSettings(heldout_share=0, policy_share=0, plain_share=1.0)
    [plain] = [found for found in encode(made, mix([trace(4)], settings).train, thinking_format=opened)[0]
               if found.mode == "plain"]  # fmt: skip
    assert made.decode(plain.input_ids).count("<think>") == 1
    assert made.decode(plain.input_ids[plain.prompt_tokens :]).startswith("so 4+1=5.")


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_every_format_are_read_as_they_were_built(tokenizer, trace, name):
    settings = MixSettings(heldout_share=0, plain_share=0.5, thinking_format=name)
    rows, each = mix([trace(n) for n in range(4)], settings).train, FORMATS[name]
    for row in rows:
        row_checks.check_thinking(row, LADDER, each, "mix:1")
        row_checks.check_tokens(row, LADDER, each, "mix:1")
        found = each.split(row["completion"][0]["content"])
        assert (found.closed, len(found.text)) == (True, round(10 * row["ratio"]) * len("so 1+1=2."))
    row_checks.check_tokenizer(tokenizer, rows, each, "mix")


@pytest.mark.parametrize(
    ("rows_format", "model_format", "message"),
    [
        ("think", FORMATS["bracket-think"], r"thinks between <think> and </think>, but .* --thinking-format bracket-"),
        ("seed-think", THINK, "thinks between <seed:think> and </seed:think>, .* --thinking-format think, or name"),
        ("think", ThinkingFormat("<plan>", "</plan>"), r"thinks .* with --thinking-format thinking_format\.json"),
    ],
)
def test_rows_of_another_format_than_the_models_are_refused_with_the_remedy(trace, rows_format, model_format, message):
    row = mix([trace(1)], MixSettings(heldout_share=0, thinking_format=rows_format)).train[0]
    with pytest.raises(DataError, match=f"mix:1: completion: {message}"):
        row_checks.check_thinking(row, LADDER, model_format, "mix:1")


def test_long_rows_are_rejected_and_never_cut(tokenizer, rows):
    everything, _ = encode(tokenizer, rows)
    lengths = sorted(len(row.input_ids) for row in everything)
    limit = lengths[len(lengths) // 2]
    kept, tally = encode(tokenizer, rows, max_length=limit)
    assert kept == [row for row in everything if len(row.input_ids) <= limit]
    assert tally.reasons == {"too_long": sum(length > limit for length in lengths)}
    assert tally.read == tally.written + tally.rejected


@pytest.mark.parametrize("stray", ["<COMP_20>", "<COMP_POLICY>", "<|im_end|>"])
def test_a_stray_special_token_is_rejected(tokenizer, rows, stray):
    text = rows[0]["completion"][0]["content"].replace("so", f"so {stray}", 1)
    row = {**rows[0], "completion": [{"role": "assistant", "content": text}]}
    assert encode(tokenizer, [row, rows[1]])[1].reasons == {"special_token_in_text": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completion": [{"role": "assistant", "content": "<COMP_40>\n<think>"}]}, "opens with '<COMP_40>"),
        ({"completion": [{"role": "assistant", "content": "think"}]}, "not with a ratio token"),
        ({"completion": [{"role": "assistant", "content": "<think>"}]}, "prompt ends in <COMP_20>, ratio 0.2"),
        ({"ratio": 0.6}, "opens with the token of 0.2"),
        ({"mode": "policy"}, "ends in <COMP_POLICY>"),
        ({"prompt": [{"role": "user", "content": "1?"}]}, "ends in <COMP_20>"),
        ({"prompt": [{"role": "system", "content": "<COMP_20>"}]}, "must end in a user message"),
    ],
)
def test_contradicting_control_tokens_are_refused(rows, change, message):
    with pytest.raises(DataError, match=message):
        row_checks.check_tokens({**rows[0], **change}, LADDER, THINK, "mix:1")


def test_texts_measured_with_another_tokenizer_are_refused(tokenizer, rows):
    row_checks.check_tokenizer(tokenizer, rows, THINK, "mix")
    other = [{**row, "thinking_tokens": row["thinking_tokens"] // 2} for row in rows]
    with pytest.raises(DataError, match="compressed with another tokenizer"):
        row_checks.check_tokenizer(tokenizer, other, THINK, "mix")
    without = [{key: value for key, value in row.items() if key != "thinking_tokens"} for row in other]
    row_checks.check_tokenizer(tokenizer, without, THINK, "mix")
