"""Thinking formats: cut and joined without loss, read from chat templates, stored, and read alike in every package.

The templates are our own, short ones with the generation prompt and the tags of the published models.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from chrpo._shared import thinking_formats
from chrpo._shared.thinking import THINK, Thinking, ThinkingFormat, split_thinking
from chrpo._shared.thinking_formats import (
    FORMATS,
    format_of,
    given_format,
    load_format,
    save_format,
    stored_format,
    template_format,
)
from chrpo._shared.thinking_ids import decode_ids
from chrpo.errors import DataError
from math_eval.grading.final_text import final_text

from .published_templates import PUBLISHED, QWEN3, R1_DISTILL

EVERY = [replace(each, opened=opened) for each in FORMATS.values() for opened in (False, True)]
TAGS = sorted({tag for each in FORMATS.values() for tag in (each.open, each.close, each.between) if tag})


def show(each: ThinkingFormat) -> str:
    return f"{each.open}{'-opened' * each.opened}"


# --- completions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>\n1 + 2\n</think>\n\n3", Thinking("1 + 2", "3", True)),
        ("<think>1 + 2", Thinking("1 + 2", "", False)),
        ("3", Thinking("", "3", True)),
        ("", Thinking("", "", True)),
        ("<think>\n\n</think>\n\n3", Thinking("", "3", True)),
        ("1 + 2</think>3", Thinking("1 + 2", "3", True)),
        ("1</think>2<think>x</think>3", Thinking("1</think>2<think>x", "3", True)),
        ("So <think>1</think>3", Thinking("1", "3", True)),
        ("<think>a <think>b</think> c</think>3", Thinking("a <think>b</think> c", "3", True)),
        ("<think>I open with <think> here.</think>3", Thinking("I open with <think> here.", "3", True)),
        ("<think>I close with `</think>`, later", Thinking("I close with `</think>`, later", "", False)),
        ("<think>1</think>Write “</think>” to close.", Thinking("1", "Write “</think>” to close.", True)),
        ("<think>1</think>3<think>or 4", Thinking("1</think>3<think>or 4", "", False)),
        ("<thinking>1</thinking>3", Thinking("", "<thinking>1</thinking>3", True)),
    ],
)
def test_the_outermost_block_is_the_thinking(completion, expected):
    assert THINK.split(completion) == expected
    assert split_thinking(completion) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("1 + 2\n</think>\n3", Thinking("1 + 2", "3", True)),
        ("1 + 2", Thinking("1 + 2", "", False)),
        ("", Thinking("", "", False)),
        ("\n<think>1 + 2</think>3", Thinking("1 + 2", "3", True)),
        ("1 <think>2</think> 3", Thinking("1 <think>2", "3", True)),
        ("</think>3", Thinking("", "3", True)),
    ],
)
def test_a_completion_begins_inside_a_block_that_the_prompt_opened(completion, expected):
    assert replace(THINK, opened=True).split(completion) == expected
    assert split_thinking(completion, "1 + 2?\nassistant\n<think>\n") == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (
            "<|channel|>analysis<|message|>1 + 2<|end|><|start|>assistant<|channel|>final<|message|>3<|return|>",
            Thinking("1 + 2", "3<|return|>", True),
        ),
        ("<|channel|>final<|message|>3", Thinking("", "3", True)),
        ("<|channel|>analysis<|message|>1 + 2<|end|>", Thinking("1 + 2<|end|>", "", False)),
    ],
)
def test_channels_are_analysis_then_final(completion, expected):
    assert FORMATS["gpt-oss"].split(completion) == expected


@given(st.sampled_from(EVERY), st.lists(st.sampled_from([*TAGS, "a", " ", "\n", "`", '"', "<", "think>"]), max_size=12))
def test_the_parts_of_a_completion_are_the_completion(each, pieces):
    completion = "".join(pieces)
    assert "".join(each.parts(completion)) == completion


@given(st.sampled_from(EVERY), st.text(alphabet="a<>/[] \n+"), st.text(alphabet="b<>/[] \n+"))
def test_a_response_in_two_fields_is_joined_without_loss(each, thinking, answer):
    parts = each.parts(each.join(thinking, answer))
    assert (parts.before, parts.text, parts.answer) == ("", thinking, answer)
    assert each.split(each.join(thinking, answer)).closed
    cut = each.parts(each.join(thinking, None))
    assert (cut.text, cut.closing, cut.answer) == (thinking, "", "")
    assert not each.split(each.join(thinking, None)).closed
    if not each.opened:
        assert each.parts(each.join(None, answer)).answer == answer


@given(st.sampled_from(EVERY), st.lists(st.sampled_from([*TAGS, "a", " "]), max_size=6), st.text(alphabet="b \n"))
def test_tags_inside_the_thinking_lose_nothing_of_it(each, pieces, answer):
    thinking = "a" + "".join(pieces)
    parts = each.parts(each.join(thinking, answer))
    assert (parts.text, parts.answer) == (thinking, answer)


# No published template opens a block of messages or channels.
READ_BY_BOTH = [each for each in EVERY if not (each.opened and "channel" in each.open)]


@pytest.mark.parametrize("each", READ_BY_BOTH, ids=show)
def test_training_and_grading_see_the_same_answer(each):
    prompt = f"assistant\n{each.open}\n" if each.opened else "assistant\n"
    for thinking, answer in (("1 + 2", "It is 3."), ("1 + 2", None), ("\n\n", "It is 3.")):
        completion = each.join(thinking, answer)
        found = each.split(completion)
        assert found == Thinking(thinking.strip(), answer or "", answer is not None)
        graded = final_text(completion, prompt)
        assert (graded and graded.strip()) == (found.answer or None)


@given(st.sampled_from(EVERY), st.text(alphabet="a \n"), st.none() | st.text(alphabet="b \n"))
def test_other_tags_around_a_completion_change_nothing_else(each, thinking, answer):
    completion = each.join(thinking, answer)
    assert each.retagged(completion, THINK) == THINK.join(thinking, answer)
    assert each.retagged(completion, each) == completion


def test_a_completion_without_a_block_is_not_tagged():
    assert FORMATS["bracket-think"].retagged("It is 3.", THINK) == "It is 3."
    assert replace(THINK, opened=True).retagged("1 + 2", THINK) == "<think>1 + 2"


# --- chat templates ---------------------------------------------------------------------------------------------------

PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"


def with_template(template, folder=""):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"[unk]": 0}, unk_token="[unk]")),
        unk_token="[unk]", bos_token="<s>", eos_token="</s>", name_or_path=str(folder),
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_format_of_a_published_template_is_found(model):
    template, name, opened = PUBLISHED[model]
    assert template_format(with_template(template)) == replace(FORMATS[name], opened=opened)


def test_variables_of_the_template_decide_who_opens_the_block():
    switch = PLAIN + "{% if add_generation_prompt %}assistant\n{{ '<think>\n' if deep else '</think>\n' }}{% endif %}"
    assert template_format(with_template(switch), {"deep": True}) == replace(THINK, opened=True)
    assert template_format(with_template(switch), {"deep": False}) is None
    closed = template_format(with_template(QWEN3), {"enable_thinking": False, "add_generation_prompt": False})
    assert closed == THINK


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sign", ["opened", "field", "removed", "system message", "empty block"])
def test_every_format_is_found_by_each_sign(name, sign):
    each = FORMATS[name]
    start, end = each.open, each.between + each.close
    block, asked = start + "\n\n" + end, "{% if add_generation_prompt %}assistant\n@{% endif %}"
    template = {
        "opened": PLAIN + asked.replace("@", start + "\n"),
        "field": "{% for m in messages %}{{ m.role }}{% if m.reasoning %}@{{ m.reasoning }}#{% endif %}{{ m.content }}"
        "{% endfor %}".replace("@", start).replace("#", end),
        "removed": "{% for m in messages %}{{ m.content.split('@')[-1] }}{% endfor %}".replace("@", each.close),
        "system message": f"Think in {start}your draft{end}first.\n" + PLAIN,
        "empty block": PLAIN + asked.replace("@", block),
    }[sign]
    assert template_format(with_template(template)) == replace(each, opened=sign == "opened")


@pytest.mark.parametrize("template", [None, PLAIN])
def test_think_is_taken_if_nothing_shows_a_format(template):
    assert template_format(with_template(template)) is None
    assert format_of(with_template(template)) == THINK


def test_thinking_between_unknown_tags_is_refused_with_the_remedy(tmp_path):
    plan = (
        "{% for m in messages %}{{ m.role }}{% if m.reasoning_content %}"
        "{{ ' to=self:' + m.reasoning_content + '#end' }}{% endif %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(
        DataError, match=r"thinking after '.*assistant to=self:' and before '#endanswer.*write the tags"
    ):
        format_of(with_template(plan, tmp_path))
    save_format(ThinkingFormat(" to=self:", "#end"), tmp_path)
    assert format_of(with_template(plan, tmp_path)) == ThinkingFormat(" to=self:", "#end")


def test_two_formats_in_one_prompt_are_refused_with_the_remedy(tmp_path):
    both = "Use <think>, </think> or [THINK], [/THINK].\n" + PLAIN
    with pytest.raises(
        DataError, match=r"shows the thinking formats think and bracket-think; name .*--thinking-format"
    ):
        format_of(with_template(both, tmp_path))
    save_format(FORMATS["bracket-think"], tmp_path)
    assert format_of(with_template(both, tmp_path)) == FORMATS["bracket-think"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'a' * 10 ** 11 }}", "chat template: "),
        ("{{ messages[0].__class__.__mro__[1].__subclasses__() }}", "chat template: SecurityError"),
        ("{{ raise_exception('no users') }}", "chat template: TemplateError: no users"),
        ("{% if messages | length > 1 %}{{ 'a' * 10 ** 11 }}{% endif %}", "chat template: "),
        ("{% for m in messages %}", "chat template: TemplateSyntaxError"),
    ],
)
def test_a_hostile_template_is_refused(template, message):
    with pytest.raises(DataError, match=message):
        template_format(with_template(template))


def test_a_template_without_end_is_stopped(monkeypatch):
    in_child = thinking_formats.in_child
    monkeypatch.setattr(thinking_formats, "in_child", lambda *arguments: in_child(*arguments, seconds=0.5))
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for template in (endless, "{% if messages | length > 1 %}" + endless + "{% endif %}"):
        with pytest.raises(DataError, match=r"chat template: takes longer than 0\.5 seconds"):
            template_format(with_template(template))


# --- token ids --------------------------------------------------------------------------------------------------------


def with_pieces(tags=("<think>", "</think>")):
    """A tokenizer of single characters in which the tags are also tokens of their own."""
    pieces = {character: number for number, character in enumerate("?0123456789+=. \n`<>/thinkTHINK[]")}
    raw = Tokenizer(models.BPE(pieces, [], unk_token="?"))
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="?", eos_token=".")
    tokenizer.add_tokens(list(tags))
    return tokenizer


def spelled(tokenizer, tag):
    return [tokenizer.convert_tokens_to_ids(character) for character in tag]


def test_only_the_token_of_a_tag_counts_where_the_tag_is_a_token():
    tokenizer = with_pieces()
    start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    one, two, three = spelled(tokenizer, "123")
    ids = [start, one, *spelled(tokenizer, "</think>"), two, end, three]
    text, places = decode_ids(tokenizer, THINK, ids)
    assert text == "<think>1</think>2</think>3"
    assert places == ([0], [17])
    assert THINK.split(text, places) == Thinking("1</think>2", "3", True)
    text, places = decode_ids(tokenizer, THINK, [start, one, *spelled(tokenizer, "</think>"), two])
    assert THINK.split(text, places) == Thinking("1</think>2", "", False)
    text, places = decode_ids(tokenizer, THINK, [start, one, end, *spelled(tokenizer, "<think>"), two])
    assert THINK.split(text, places) == Thinking("1", "<think>2", True)


def test_very_many_tags_as_tokens_and_as_text_take_no_quadratic_time():
    tokenizer, count = with_pieces(), 20_000
    start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    ids = [*spelled(tokenizer, "</think>"), *[start, end] * count]
    text, places = decode_ids(tokenizer, THINK, ids)
    assert text == "</think>" + "<think></think>" * count
    assert places == ([8 + 15 * at for at in range(count)], [15 + 15 * at for at in range(count)])


def test_the_last_closing_tag_counts_where_the_tag_is_no_token():
    tokenizer, each = with_pieces(), FORMATS["bracket-think"]
    completion = "[THINK]1[/THINK]2[/THINK]3"
    text, places = decode_ids(tokenizer, each, spelled(tokenizer, completion))
    assert (text, places) == (completion, ([0], [8, 17]))
    assert each.split(text, places) == Thinking("1[/THINK]2", "3", True)


@given(st.lists(st.sampled_from(["<think>", "</think>", "1", " ", "`"]), max_size=8))
def test_token_ids_are_read_as_their_text_where_no_tag_is_spelled(pieces):
    tokenizer = with_pieces()
    text, places = decode_ids(tokenizer, THINK, tokenizer.convert_tokens_to_ids(pieces))
    assert text == "".join(pieces)
    assert THINK.parts(text, places) == THINK.parts(text)


# --- names and files --------------------------------------------------------------------------------------------------


def test_a_given_name_wins_and_the_prompt_shows_who_opens_the_block(tmp_path):
    save_format(FORMATS["thought"], tmp_path)
    opening = PLAIN + "{% if add_generation_prompt %}[THINK]\n{% endif %}"
    assert format_of(with_template(opening, tmp_path), "bracket-think") == replace(
        FORMATS["bracket-think"], opened=True
    )
    assert format_of(with_template(PLAIN, tmp_path), "bracket-think") == FORMATS["bracket-think"]


def test_a_file_gives_tags_that_no_name_has(tmp_path):
    each = ThinkingFormat("<plan>", "</plan>", opened=True)
    save_format(each, tmp_path)
    assert format_of(with_template(QWEN3), str(tmp_path / "thinking_format.json")) == each
    assert given_format(stored_format(tmp_path)) == each
    assert given_format(stored_format(tmp_path / "elsewhere")) == THINK


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"'tink' is no file and no known name; name one of think, .*gpt-oss, or a"):
        given_format("tink")


@pytest.mark.parametrize("each", EVERY, ids=show)
def test_a_format_is_stored_beside_the_checkpoint_and_wins_over_the_template(each, tmp_path):
    assert load_format(tmp_path) is None
    save_format(each, tmp_path)
    assert load_format(tmp_path) == each
    assert format_of(with_template(R1_DISTILL, tmp_path)) == each


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"open": ""}, "open"),
        ({"close": 7}, "close"),
        ({"opened": "yes"}, "opened"),
        ({"format": 2}, "format"),
        ({"close": "<think><"}, "open '<think>' and close '<think><' overlap; give two separate tags"),
    ],
)
def test_a_bad_file_is_refused_by_its_field(change, message, tmp_path):
    save_format(THINK, tmp_path)
    path = tmp_path / "thinking_format.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"thinking_format\.json: {message}"):
        load_format(tmp_path)
