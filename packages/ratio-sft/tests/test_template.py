import jinja2
import jinja2.nodes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratio_sft._shared.control_tokens import ControlTokens, user_turn
from ratio_sft.errors import DataError
from ratio_sft.model import template
from ratio_sft.model.tokens import add_to_tokenizer

LADDER = ControlTokens.ladder((0.2, 0.4, 1.0))


@pytest.fixture(scope="module")
def wrapped(make_tokenizer, chatml):
    def wrap(chat_template=chatml, **kwargs):
        tokenizer = make_tokenizer(chat_template, **kwargs)
        add_to_tokenizer(tokenizer, LADDER)
        template.install(tokenizer, LADDER)
        return tokenizer

    return wrap


@pytest.fixture(scope="module")
def tokenizer(wrapped):
    return wrapped()


def render(tokenizer, messages, **kwargs):
    return tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)


USER = [{"role": "user", "content": "Tom has 2"}]


@pytest.mark.parametrize(
    ("kwargs", "token"),
    [
        ({}, " <COMP_POLICY>"),
        ({"ratio": "policy"}, " <COMP_POLICY>"),
        ({"ratio": 0.4}, " <COMP_40>"),
        ({"ratio": "0.4"}, " <COMP_40>"),
        ({"ratio": 1}, " <COMP_100>"),
        ({"ratio": "1.0"}, " <COMP_100>"),
        ({"ratio": None}, ""),
        ({"ratio": "none"}, ""),
    ],
)
def test_ratio_chooses_the_token(tokenizer, kwargs, token):
    assert render(tokenizer, USER, **kwargs) == f"<|im_start|>user\nTom has 2{token}<|im_end|>\n"


@pytest.mark.parametrize("ratio", [0.3, "0.3", 40, "fast", True, False, [0.4], "nan", {}])
def test_an_unknown_ratio_is_refused_with_the_known_ones(tokenizer, ratio):
    with pytest.raises(jinja2.TemplateError, match=r'one of 0\.2, 0\.4, 1, "policy" or null; got'):
        render(tokenizer, USER, ratio=ratio)


def test_only_the_last_user_message_is_asked(tokenizer, make_tokenizer):
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    plain = render(make_tokenizer(), messages)
    assert render(tokenizer, messages, ratio=0.2) == plain.replace("c<|im_end|>", "c <COMP_20><|im_end|>")
    assert messages[3]["content"] == "c"


def test_a_message_that_names_its_token_is_left_alone(tokenizer, make_tokenizer):
    for ending in ("<COMP_40>", "<COMP_POLICY>", "<COMP_40> \n"):
        messages = [{"role": "user", "content": f"a {ending}"}]
        assert render(tokenizer, messages, ratio=0.2) == render(make_tokenizer(), messages)


def test_without_a_user_message_nothing_is_added(tokenizer, make_tokenizer):
    messages = [{"role": "system", "content": "s"}]
    assert render(tokenizer, messages, ratio=0.2) == render(make_tokenizer(), messages)


def test_a_template_that_leaves_out_text_is_refused(wrapped):
    with pytest.raises(DataError, match=r"makes 'user: ' of a message whose content is text, without this text"):
        wrapped(PARTS_ONLY)


PARTS_ONLY = (
    "{%- for m in messages -%}{{ m['role'] + ': ' }}{%- for part in m['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}{%- endfor -%}"
)


def test_content_in_parts_gets_the_token_in_its_last_text(make_tokenizer):
    parts_template = (
        "{%- for m in messages -%}{%- for part in m['content'] -%}"
        "{{ part['text'] if part['type'] == 'text' else '[image]' }}|{%- endfor -%}{%- endfor -%}"
    )
    tokenizer = make_tokenizer(template.wrap(parts_template, LADDER))
    text = [{"type": "text", "text": "a"}, {"type": "image"}]
    assert render(tokenizer, [{"role": "user", "content": text}], ratio=0.4) == "a <COMP_40>|[image]|"
    assert text[0]["text"] == "a"
    done = [{"type": "text", "text": "a <COMP_20>"}]
    assert render(tokenizer, [{"role": "user", "content": done}], ratio=0.4) == "a <COMP_20>|"
    image = [{"type": "image"}]
    assert render(tokenizer, [{"role": "user", "content": image}], ratio=0.4) == "[image]|<COMP_40>|"


def test_the_checkpoints_own_template_follows_unchanged_and_is_wrapped_once(tokenizer, chatml):
    assert tokenizer.chat_template.endswith("#}\n" + chatml)
    assert template.wrap(tokenizer.chat_template, LADDER) == tokenizer.chat_template


def test_the_prologue_does_not_look_like_a_template_of_parts(tokenizer):
    """Servers search a template for loops over a message's content to choose between text and lists of parts."""
    loops = list(jinja2.Environment().parse(tokenizer.chat_template).find_all(jinja2.nodes.For))
    assert len(loops) == 5
    assert all(isinstance(loop.target, jinja2.nodes.Name) for loop in loops)
    names = [loop.iter.name for loop in loops if isinstance(loop.iter, jinja2.nodes.Name)]
    assert names == ["messages"]
    assert not any(isinstance(loop.iter, jinja2.nodes.Getitem | jinja2.nodes.Getattr) for loop in loops)


@settings(max_examples=40)
@given(question=st.text(max_size=40), ratio=st.sampled_from([0.2, 0.4, 1.0, "policy"]))
def test_the_prompt_is_the_same_in_training_evaluation_and_serving(tokenizer, question, ratio):
    asked = user_turn(question, LADDER.token(ratio))
    [training] = template.prompt_ids(tokenizer, [([{"role": "user", "content": asked}], "policy")])
    evaluation = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    served = tokenizer.apply_chat_template(
        [{"role": "user", "content": user_turn(question)}], add_generation_prompt=True, return_dict=True, ratio=ratio
    )["input_ids"]
    ends_in_token = any(user_turn(question).rstrip().endswith(token) for token in LADDER.all_tokens)
    assert training == evaluation
    assert ends_in_token or training == served


def test_a_golden_prompt_survives_saving(wrapped, tmp_path):
    tokenizer = wrapped()
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    ids = again.apply_chat_template(USER, add_generation_prompt=True, return_dict=True, ratio=0.4)["input_ids"]
    assert again.convert_ids_to_tokens(ids) == [
        *["<|im_start|>", "user", "\n", "Tom", " ", "has", " ", "2", " ", "<COMP_40>", "<|im_end|>", "\n"],
        *["<|im_start|>", "assistant", "\n"],
    ]


OPENED = "<|im_start|>user\nTom has 2{}<|im_end|>\n<|im_start|>assistant\n<think>\n"


def opening(chatml):
    opened = chatml.replace("assistant\\n' -}}", "assistant\\n<think>\\n' -}}")
    assert opened != chatml
    return opened


def test_a_template_that_opens_the_thinking_keeps_its_tag_in_every_prompt(wrapped, chatml, make_tokenizer):
    tokenizer = wrapped(opening(chatml))
    for ratio, token in ((0.4, " <COMP_40>"), ("policy", " <COMP_POLICY>"), ("none", "")):
        assert render(tokenizer, USER, add_generation_prompt=True, ratio=ratio) == OPENED.format(token)
    plain = render(make_tokenizer(opening(chatml)), USER, add_generation_prompt=True)
    assert render(tokenizer, USER, add_generation_prompt=True, ratio=None) == plain


def test_a_template_that_always_closes_the_thinking_is_refused(wrapped, chatml):
    closed = chatml.replace("assistant\\n' -}}", "assistant\\n<think>\\n\\n</think>\\n\\n' -}}")
    with pytest.raises(DataError, match=r"it closes the thinking itself, so the model cannot think after the ratio"):
        wrapped(closed)


# --- the template's own switch ----------------------------------------------------------------------------------------

SWITCHED = {
    "off unless asked": "{{ '<think>\n' if {0} is defined and {0} else '<think>\n\n</think>\n\n' }}",
    "on unless asked": "{{ '<think>\n\n</think>\n\n' if {0} is defined and not {0} else '<think>\n' }}",
}


def switched(chatml, kind, name):
    end = SWITCHED[kind].replace("{0}", name).replace("\n", "\\n")
    return chatml + "{%- if add_generation_prompt -%}" + end + "{%- endif -%}"


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
@pytest.mark.parametrize("kind", SWITCHED)
def test_a_ratio_switches_the_thinking_on(wrapped, chatml, kind, name):
    tokenizer = wrapped(switched(chatml, kind, name))
    for asked in ({}, {"ratio": 0.4}, {"ratio": 0.4, name: True}):
        assert render(tokenizer, USER, add_generation_prompt=True, **asked).endswith("assistant\n<think>\n")
    given = [{"role": "user", "content": "Tom has 2 <COMP_40>"}]
    for ratio in ("policy", None):
        assert render(tokenizer, given, add_generation_prompt=True, ratio=ratio).endswith("assistant\n<think>\n")


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
@pytest.mark.parametrize("kind", SWITCHED)
def test_a_prompt_without_a_ratio_is_the_original_templates_byte_for_byte(wrapped, chatml, make_tokenizer, kind, name):
    tokenizer, original = wrapped(switched(chatml, kind, name)), make_tokenizer(switched(chatml, kind, name))
    for own in ({}, {name: True}, {name: False}):
        plain = render(original, USER, add_generation_prompt=True, **own)
        assert render(tokenizer, USER, add_generation_prompt=True, ratio=None, **own) == plain
    assert render(tokenizer, USER, add_generation_prompt=True, **{name: False}) == plain


@pytest.mark.parametrize(
    ("messages", "asked"),
    [(USER, {"ratio": 0.4}), (USER, {"ratio": "policy"}), ([{"role": "user", "content": "a <COMP_40>"}], {})],
)
def test_a_ratio_without_thinking_is_refused(wrapped, chatml, messages, asked):
    tokenizer = wrapped(switched(chatml, "on unless asked", "enable_thinking"))
    with pytest.raises(jinja2.TemplateError, match="switched off, so it has no ratio; leave out the ratio or enable_"):
        render(tokenizer, messages, enable_thinking=False, **asked)


# --- reasoning_effort -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "token"),
    [
        ({"reasoning_effort": "low"}, " <COMP_20>"),
        ({"reasoning_effort": "medium"}, " <COMP_40>"),
        ({"reasoning_effort": "high"}, " <COMP_100>"),
        ({"reasoning_effort": None}, " <COMP_POLICY>"),
        ({"reasoning_effort": "high", "ratio": 0.2}, " <COMP_20>"),
        ({"reasoning_effort": "high", "ratio": "none"}, ""),
    ],
)
def test_reasoning_effort_is_another_name_of_the_ratio(tokenizer, asked, token):
    assert render(tokenizer, USER, **asked) == f"<|im_start|>user\nTom has 2{token}<|im_end|>\n"


def test_an_unknown_effort_is_refused_with_the_known_ones(tokenizer):
    with pytest.raises(jinja2.TemplateError, match="reasoning_effort must be low, medium or high; got minimal"):
        render(tokenizer, USER, reasoning_effort="minimal")


def test_the_middle_of_an_even_ladder_is_the_shorter_one():
    prologue = template.wrap("", ControlTokens.ladder((0, 0.4, 0.6, 1.0)))
    assert '{"low": 0.0, "medium": 0.4, "high": 1.0}' in prologue


def test_a_template_that_reads_reasoning_effort_itself_keeps_it(wrapped, chatml):
    tokenizer = wrapped("{%- if reasoning_effort is defined -%}{{ reasoning_effort }}|{%- endif -%}" + chatml)
    found = render(tokenizer, USER, reasoning_effort="minimal")
    assert found == "minimal|<|im_start|>user\nTom has 2 <COMP_POLICY><|im_end|>\n"


def test_a_tokenizer_without_template_gets_the_documented_one(wrapped):
    chatml = wrapped(None, extra=("<|im_start|>", "<|im_end|>"))
    assert render(chatml, USER, add_generation_prompt=True, ratio=0.2) == (
        "<|im_start|>user\nTom has 2 <COMP_20><|im_end|>\n<|im_start|>assistant\n"
    )
    plain = wrapped(None, extra=())
    assert render(plain, USER, add_generation_prompt=True, ratio=0.2) == "Tom has 2 <COMP_20>\n"
    in_parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    assert render(plain, in_parts, ratio=0.2) == "a <COMP_20>\n"


def test_every_one_of_several_templates_is_wrapped(wrapped, chatml):
    tokenizer = wrapped({"default": chatml, "tool_use": "T" + chatml})
    assert render(tokenizer, USER, chat_template="tool_use", ratio=0.2).startswith(
        "T<|im_start|>user\nTom has 2 <COMP_20>"
    )
