"""Rungs that a model's own switch asks for: in the rows, in the saved template, in a trained checkpoint."""

import json
import shutil

import jinja2
import pytest
from click.testing import CliRunner

from ratio_sft import MixSettings, mix
from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft.cli import cli
from ratio_sft.errors import DataError
from ratio_sft.model import template
from ratio_sft.model.tokens import add_to_tokenizer

WORD = ControlTokens.ladder((0, 0.4, 1), {0: "/no_think"})
EFFORT = ControlTokens.ladder((0.2, 0.6, 1), {0.2: "reasoning_effort=low", 1: "reasoning_effort=high"})
# As gpt-oss does it: a macro reads the variable and has a default for it.
READS = (
    "{%- macro head() -%}{%- if reasoning_effort is not defined -%}{%- set reasoning_effort = 'medium' -%}{%- endif -%}"
    "{{- 'Reasoning: ' + reasoning_effort + '\\n' -}}{%- endmacro -%}{{- head() -}}"
)
USER = [{"role": "user", "content": "Tom has 2"}]


@pytest.fixture(scope="module")
def prompt(make_tokenizer, chatml):
    """`prompt(ladder, messages, ratio=0.2)` is what the wrapped template makes of the messages."""

    def render(tokens, messages, body=chatml, **asked):
        tokenizer = make_tokenizer(body)
        add_to_tokenizer(tokenizer, tokens)
        template.install(tokenizer, tokens)
        return tokenizer.apply_chat_template(messages, tokenize=False, **asked)

    return render


def user(text):
    return [{"role": "user", "content": text}]


# --- the ladder -------------------------------------------------------------------------------------------------------


def test_a_ladder_with_switches_is_the_same_after_saving(tmp_path):
    for tokens in (WORD, EFFORT, ControlTokens.ladder((0.2, 1))):
        tokens.save(tmp_path)
        assert ControlTokens.load(tmp_path) == tokens
    assert "switches" not in json.loads((tmp_path / "control_tokens.json").read_text())


def test_a_prompt_ends_in_the_switch_and_a_response_opens_with_the_token():
    assert [WORD.request(ratio) for ratio in (0, 0.4, 1, "policy")] == WORD.requests
    assert WORD.requests == ["/no_think", "<COMP_40>", "<COMP_100>", "<COMP_POLICY>"]
    assert (WORD.token(0), WORD.leading_ratio("<COMP_0>\n<think>")) == ("<COMP_0>", 0)
    assert WORD.all_tokens == ["<COMP_0>", "<COMP_40>", "<COMP_100>", "<COMP_POLICY>"]


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({0.3: "/no_think"}, r"no control token for ratio 0\.3"),
        ({0: "no think"}, "switch 'no think' is not one word"),
        ({0: ""}, "switch '' is not one word"),
        ({0: "reasoning_effort=low')}}{{'own"}, "is not one word"),
        ({0: "/no\x1b[31m"}, "is not one word"),
        ({0: "reasoning_effort="}, "switch 'reasoning_effort=' is not one word; name one such as /no_think or"),
        ({0: "/x", 0.4: "/x"}, "switch /x means two things"),
        ({0: "<COMP_40>"}, "switch <COMP_40> means two things"),
    ],
)
def test_a_bad_switch_is_refused(switches, message, tmp_path):
    with pytest.raises(DataError, match=message):
        ControlTokens.ladder((0, 0.4), switches)


def test_a_bad_switch_of_a_file_is_refused_with_its_place(tmp_path):
    content = {"format": 1, "ratios": {"<A>": 0.2}, "policy": "<P>", "switches": {"<B>": "/b"}}
    (tmp_path / "control_tokens.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"control_tokens\.json: switches: <B> is no ratio token; .* one of <A>"):
        ControlTokens.load(tmp_path)


# --- the saved template -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "asked", "expected"),
    [
        ("a", {"ratio": 0}, "a /no_think"),
        ("a", {"ratio": 0.4}, "a <COMP_40>"),
        ("a", {}, "a <COMP_POLICY>"),
        ("a", {"ratio": None}, "a"),
        ("a /no_think", {}, "a /no_think"),
        ("a /no_think", {"ratio": None}, "a /no_think"),
        ("a", {"reasoning_effort": "low"}, "a /no_think"),
    ],
)
def test_a_word_of_the_model_ends_the_prompt(prompt, content, asked, expected):
    assert prompt(WORD, user(content), **asked) == f"<|im_start|>user\n{expected}<|im_end|>\n"


@pytest.mark.parametrize(
    ("content", "asked", "effort", "expected"),
    [
        ("a", {"ratio": 0.2}, "low", "a"),
        ("a reasoning_effort=low", {}, "low", "a"),
        ("a reasoning_effort=high \n", {"ratio": None}, "high", "a"),
        ("a", {"reasoning_effort": "high"}, "high", "a"),
        ("a", {"ratio": 0.6}, "medium", "a <COMP_60>"),
        ("a", {}, "medium", "a <COMP_POLICY>"),
        ("a", {"ratio": None}, "medium", "a"),
        ("a", {"ratio": None, "reasoning_effort": "minimal"}, "minimal", "a"),
        ([{"type": "text", "text": "a"}], {"ratio": 1}, "high", "a"),
    ],
)
def test_a_value_of_reasoning_effort_is_set_and_leaves_the_message(prompt, chatml, content, asked, effort, expected):
    body = READS + chatml.replace("else ''", "else message.content[0].text")
    found = prompt(EFFORT, user(content), body, **asked)
    assert found == f"Reasoning: {effort}\n<|im_start|>user\n{expected}<|im_end|>\n"


def test_an_effort_that_is_no_rung_is_refused(prompt, chatml):
    with pytest.raises(jinja2.TemplateError, match="reasoning_effort must be low or high; got medium"):
        prompt(EFFORT, USER, READS + chatml, reasoning_effort="medium")


def test_a_template_that_reads_no_effort_is_refused(prompt):
    with pytest.raises(DataError, match=r"does not read reasoning_effort, .* cannot have reasoning_effort=low, reas"):
        prompt(EFFORT, USER)


# --- rows and training ------------------------------------------------------------------------------------------------


def test_rows_of_the_rung_end_in_the_switch_and_open_with_its_token(trace):
    settings = MixSettings(ratios=(0, 0.2, 1), switches=((0.0, "/no_think"),), heldout_share=0, policy_share=0.5)
    rows = list(mix([trace(n) for n in range(4)], settings).train)
    for row in rows:
        token = f"<COMP_{round(100 * row['ratio'])}>"
        ending = "<COMP_POLICY>" if row["mode"] == "policy" else "/no_think" if row["ratio"] == 0 else token
        assert row["prompt"][0]["content"].endswith(f" {ending}")
        assert row["completion"][0]["content"].startswith(f"{token}\n<think>\n")


def test_a_trace_that_has_the_switch_in_its_text_is_rejected(trace):
    settings = MixSettings(ratios=(0, 1), switches=((0.0, "/no_think"),), heldout_share=0)
    mixture = mix([trace(1), trace(2, question="What does /no_think do?")], settings)
    assert mixture.tally.reasons == {"tag_in_text": 1}


def run(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_a_bad_flag_is_one_line(compressed, tmp_path):
    for value, message in (("no=/x", "'no=/x' is not RATIO=SWITCH, such as 0=/no_think"), ("0.3=/x", "ratio 0.3")):
        result = run("build", compressed, tmp_path / "mix", "--ratio", 0.2, "--switch", value)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    twice = run("build", compressed, tmp_path / "mix", "--switch", "1=/x", "--switch", "1=/y")
    assert (twice.exit_code, "switches names a ratio twice" in twice.stderr) == (2, True)


def test_a_checkpoint_has_the_switch_and_is_trained_with_it(compressed, base, tmp_path):
    built = run("build", compressed, tmp_path / "mix", "--ratio", 0, "--ratio", 1, "--switch", "0=/no_think")
    assert built.exit_code == 0, built.output
    options = ("--model", base, "--max-steps", 2, "--batch-size", 4)
    trained = run("train", tmp_path / "mix", tmp_path / "sft", *options, "--follow", 1)
    assert trained.exit_code == 0, trained.output
    tokens = ControlTokens.load(tmp_path / "sft")
    assert tokens == ControlTokens.load(tmp_path / "mix")
    assert tokens.switches == {"<COMP_0>": "/no_think"}
    saved = run("train", tmp_path / "mix", tmp_path / "more", *options[:1], tmp_path / "sft", *options[2:])
    assert saved.exit_code == 0, saved.output
    assert ControlTokens.load(tmp_path / "more") == tokens
    shutil.copytree(tmp_path / "mix", tmp_path / "other")
    ControlTokens.ladder((0, 1)).save(tmp_path / "other")
    refused = run("train", tmp_path / "other", tmp_path / "none", *options)
    assert refused.exit_code == 2
    assert "ends in '" in refused.stderr
    assert "a fixed row of ratio 0 ends in <COMP_0>" in refused.stderr
