r"""The chat template that adds the control token: `chat_template_kwargs={"ratio": 0.4 | "policy" | null}`.

A prologue appends the token, or the model's own switch, to the last user message, or sets `reasoning_effort`; then the
checkpoint's own template renders the messages, in a child process with limits, because it may be a stranger's. A prompt
without a ratio is what that template renders, byte for byte; where its generation prompt opens the thinking block, the
response begins inside. How a training row is made from prompt and completion is left to `training.encoding`.

    install(tokenizer, tokens)
    tokenizer.apply_chat_template([{"role": "user", "content": "1 + 2?"}], ratio=0.4, tokenize=False)
    # '<|im_start|>user\n1 + 2? <COMP_40><|im_end|>\n'
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ratio_sft._shared.bounded import in_child
from ratio_sft._shared.control_tokens import EFFORT, POLICY, ControlTokens
from ratio_sft._shared.thinking_formats import FORMATS
from ratio_sft._shared.tokenizer_file import check_rendered, tokenizing
from ratio_sft.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "{#- ratio-sft: `ratio` is a number of the ladder, 'policy' (the default), or null for no control token -#}"
_END = "{#- ratio-sft: end; the checkpoint's own template follows -#}\n"

# Messages and parts are visited by index: if a template contains a `for part in message.content` loop anywhere, servers
# such as vLLM conclude that all of it reads lists of parts, and pass lists to a template body that cannot read them.
_PROLOGUE = """
{%- set ratio_off = @OFF@ -%}
{%- set ratio_asked = ratio if ratio is defined else none if ratio_off else 'policy' -%}
@EFFORT@{%- set ratio_found = namespace(token='', known=false, message=-1, part=-1, given=false, effort='') -%}
{%- if ratio_asked is none or ratio_asked == 'none' -%}
  {%- set ratio_found.known = true -%}
{%- elif ratio_asked == 'policy' -%}
  {%- set ratio_found.known = true -%}
  {%- set ratio_found.token = @POLICY@ -%}
{%- elif ratio_asked is not boolean -%}
  {%- set ratio_number = ratio_asked | float(-1) if ratio_asked is string else ratio_asked -%}
  {%- for ratio_pair in @LADDER@ -%}
    {%- if ratio_pair[0] == ratio_number -%}
      {%- set ratio_found.known = true -%}
      {%- set ratio_found.token = ratio_pair[1] -%}
    {%- endif -%}
  {%- endfor -%}
{%- endif -%}
{%- if not ratio_found.known -%}
  {{- raise_exception('ratio must be one of @KNOWN@, "policy" or null; got ' ~ ratio_asked) -}}
{%- endif -%}
{%- for ratio_index in range(messages | length) -%}
  {%- if messages[ratio_index]['role'] == 'user' -%}{%- set ratio_found.message = ratio_index -%}{%- endif -%}
{%- endfor -%}
{%- if ratio_found.message >= 0 -%}
  {%- set ratio_message = messages[ratio_found.message] -%}
  {%- set ratio_parts = ratio_message['content'] -%}
  {%- if ratio_parts is not string and ratio_parts is iterable -%}
    {%- for ratio_index in range(ratio_parts | length) -%}
      {%- if ratio_parts[ratio_index]['text'] is string -%}{%- set ratio_found.part = ratio_index -%}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set ratio_text = ratio_parts[ratio_found.part]['text'] if ratio_found.part >= 0 else ratio_parts -%}
  {%- if ratio_text is string -%}
    {%- for ratio_token in @TOKENS@ -%}
      {%- if (ratio_text | trim).endswith(ratio_token) -%}{%- set ratio_found.given = true -%}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set ratio_changed = ratio_found.token and not ratio_found.given -%}
  {%- if ratio_changed -%}
    {%- set ratio_text = ratio_text ~ ' ' ~ ratio_found.token if ratio_text is string else ratio_found.token -%}
  {%- endif -%}
@OWN@  {%- if ratio_changed -%}
    {%- if ratio_parts is string -%}
      {%- set ratio_content = ratio_text -%}
    {%- elif ratio_found.part >= 0 -%}
      {%- set ratio_part = dict(ratio_parts[ratio_found.part], text=ratio_text) -%}
      {%- set ratio_content = ratio_parts[:ratio_found.part] + [ratio_part] + ratio_parts[ratio_found.part + 1:] -%}
    {%- else -%}
      {%- set ratio_content = (ratio_parts or []) + [{'type': 'text', 'text': ratio_text}] -%}
    {%- endif -%}
    {%- set ratio_message = dict(ratio_message, content=ratio_content) -%}
    {%- set messages = messages[:ratio_found.message] + [ratio_message] + messages[ratio_found.message + 1:] -%}
  {%- endif -%}
@SWITCH@{%- endif -%}
"""
_EFFORT = """{%- if ratio is not defined and reasoning_effort is defined and reasoning_effort is not none -%}
  {%- set ratio_asked = @EFFORTS@[reasoning_effort] -%}
  {%- if ratio_asked is not defined -%}
    {{- raise_exception(@EXPECTED@ ~ reasoning_effort) -}}
  {%- endif -%}
{%- endif -%}
"""
_OWN_EFFORT = """  {%- if ratio_text is string -%}
    {%- for ratio_effort in @VALUES@ -%}
      {%- if ratio_text.rstrip().endswith('@EFFORT_IS@' ~ ratio_effort) -%}
        {%- set ratio_found.effort = ratio_effort -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if ratio_found.effort -%}
    {%- set reasoning_effort = ratio_found.effort -%}
    {%- set ratio_changed = true -%}
    {%- set ratio_text = ratio_text.rstrip() -%}
    {%- set ratio_text = ratio_text[:(ratio_text | length) - ('@EFFORT_IS@' ~ reasoning_effort) | length].rstrip() -%}
  {%- endif -%}
"""
_SWITCH = """  {%- if ratio_found.token or ratio_found.given -%}
    {%- if ratio_off -%}
      {{- raise_exception('thinking is switched off, so it has no ratio; leave out the ratio or @NAME@') -}}
    {%- endif -%}
    {%- set @NAME@ = true -%}
  {%- endif -%}
"""
_SWITCHES = {"enable_thinking": r"(?<![.\w])enable_thinking\b", "thinking": r"(?<![.\w])thinking is (not |un)?defined"}
"""Variables with which templates switch the thinking off and on, and how to recognise a template that reads one."""

_TEXT = (
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}{{ part['text'] }}{%- endfor -%}{%- endif -%}"
)
_ANSWER = "The answer is 3."
_CHATML = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    + _TEXT
    + "{{ '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
_PLAIN = "{%- for message in messages -%}" + _TEXT + "{{ '\\n' }}{%- endfor -%}"


def wrap(body: str, tokens: ControlTokens) -> str:
    """The prologue for `tokens`, then the template `body`. A template that has the prologue is returned unchanged.

    Where the template has a switch of its own, a prompt with a token has thinking switched on, and one that switches it
    off has no token. `reasoning_effort` is another name of the ratio (low: the smallest, medium: the one in the middle,
    high: the largest), unless the template reads it itself: then only the values that are switches of the ladder are.

    Raises:
        DataError: the ladder has a value of `reasoning_effort`, which the template does not read.
    """
    if body.startswith(MARK):
        return body
    switch = next((name for name, read in _SWITCHES.items() if re.search(read, body)), None)
    off = f"{switch} is defined and {switch} is not none and not {switch}" if switch else "false"
    own = {text.removeprefix(EFFORT): text for text in tokens.switches.values() if text.startswith(EFFORT)}
    reads = "reasoning_effort" in body
    if own and not reads:
        raise DataError(
            f"the chat template does not read reasoning_effort, so the ladder cannot have {', '.join(own.values())}"
        )
    efforts = _efforts(tokens, own)
    blocks = {
        "@EFFORT@": _EFFORT if own or not reads else "",
        "@OWN@": _OWN_EFFORT if own else "",
        "@SWITCH@": _SWITCH.replace("@NAME@", switch) if switch else "",
    }
    values = {
        "@OFF@": off,
        "@EFFORTS@": json.dumps(efforts),
        "@EXPECTED@": json.dumps(f"reasoning_effort must be {_one_of(efforts)}; got "),
        "@VALUES@": json.dumps(list(own)),
        "@EFFORT_IS@": EFFORT,
        "@POLICY@": json.dumps(tokens.policy),
        "@LADDER@": json.dumps([[ratio, tokens.request(ratio)] for ratio in tokens.ratios.values()]),
        "@KNOWN@": ", ".join(f"{ratio:g}" for ratio in tokens.ratios.values()),
        "@TOKENS@": json.dumps([*tokens.all_tokens, *tokens.switches.values()]),
    }
    return MARK + _filled(_filled(_PROLOGUE, blocks), values) + _END + body


def _filled(text: str, pieces: Mapping[str, str]) -> str:
    """The text with its marks replaced in one pass: a mark in a value, which may be a stranger's, stays text."""
    return re.sub("|".join(pieces), lambda mark: pieces[mark.group()], text)


def _one_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _efforts(tokens: ControlTokens, own: dict[str, str]) -> dict[str, float]:
    """Values of `reasoning_effort` and the ratio that each asks for."""
    ratios = list(tokens.ratios.values())
    if not own:
        return {"low": ratios[0], "medium": ratios[(len(ratios) - 1) // 2], "high": ratios[-1]}
    return {value: ratio for value in own for ratio in ratios if tokens.request(ratio) == own[value]}


def fallback(tokenizer: "PreTrainedTokenizerBase") -> str:
    """A template for a tokenizer that has none.

    Our choice: ChatML if the vocabulary has its two tokens, because the model was then trained with them; otherwise
    the bare text of the messages, one on each line, because role names would be tokens that the model never saw. The
    beginning-of-text token comes first if the tokenizer itself adds it.
    """
    vocabulary = tokenizer.get_vocab()
    body = _CHATML if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys() else _PLAIN
    first: list[int] = tokenizer("a")["input_ids"][:1]  # type: ignore[index]
    return "{{- bos_token -}}" + body if first == [tokenizer.bos_token_id] else body


def install(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    """Wrap the tokenizer's template, or each of its templates; `save_pretrained` then stores them.

    Raises:
        DataError: the template is no text, fails, passes a limit of `prompt_ids`, leaves out the text of a message, or
            its generation prompt closes a thinking block, so that the model could not think after the ratio token.
    """
    body = tokenizer.chat_template or fallback(tokenizer)
    if not all(isinstance(text, str) for text in (body.values() if isinstance(body, dict) else [body])):
        raise DataError(f"{_place(tokenizer)}: is not text; mend chat_template in tokenizer_config.json")
    if isinstance(body, dict):
        tokenizer.chat_template = {name: wrap(text, tokens) for name, text in body.items()}  # type: ignore[assignment]
    else:
        tokenizer.chat_template = wrap(body, tokens)
    _check_prompt(tokenizer, tokens)


def _check_prompt(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    [prompt] = _render(tokenizer, [([{"role": "user", "content": "a"}], POLICY)])
    if tokens.policy not in prompt:
        raise DataError(
            f"{_place(tokenizer)}: makes {prompt[-60:]!r} of a message whose content is text, without this text; rows "
            "have text and no lists of parts, so use a template that renders it"
        )
    if any(prompt.rstrip().endswith(each.close) for each in FORMATS.values()):
        raise DataError(
            f"{_place(tokenizer)}: its generation prompt ends in {prompt[-30:]!r}: it closes the thinking itself, so "
            "the model cannot think after the ratio token; use the template of the thinking model"
        )


def prompt_ids(
    tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[tuple[Sequence[dict[str, str]], object]]
) -> list[list[int]]:
    """Token ids of conversations up to the start of the assistant's message.

    Args:
        tokenizer: Tokenizer with the wrapped template.
        prompts: Conversations, each with the value of the template's `ratio`: a number of the ladder, "policy", or
            None for no control token.

    Raises:
        DataError: the template fails, adds too much to its messages (`check_rendered`), or all prompts together take
            more than 30 seconds, 1 GiB of memory or 256 MiB of text.
    """
    return text_ids(tokenizer, _render(tokenizer, prompts))


def end_of_turn(tokenizer: "PreTrainedTokenizerBase", ends: Collection[int]) -> int:
    """Id of the token that ends a response: what the template writes behind an assistant's text, or end of sequence.

    Gemma's template writes `<end_of_turn>`, and its tokenizer's end of sequence is `<eos>`. The template's token counts
    only if generation stops there.

    Args:
        tokenizer: Tokenizer with the wrapped template.
        ends: Ids of the tokens at which generation of the model stops.

    Raises:
        DataError: the template fails, or passes a limit.
    """
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _ANSWER}]
    [text] = in_child(lambda: [tokenizer.apply_chat_template(messages, tokenize=False, ratio=None)], _place(tokenizer))
    check_rendered([text], [len(_ANSWER)], _place(tokenizer))
    _, answered, behind = text.rpartition(_ANSWER)
    found = text_ids(tokenizer, [behind])[0] if answered else []
    own: Any = tokenizer.eos_token_id
    return next((each for each in found if each in ends), own)


def text_ids(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    """Token ids of texts, without added special tokens.

    Raises:
        DataError: the tokenizer fails.
    """
    with tokenizing(str(tokenizer.name_or_path)):
        return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []  # type: ignore[return-value]


def _render(
    tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[tuple[Sequence[dict[str, str]], object]]
) -> list[str]:
    def render() -> list[Any]:
        return [
            tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, ratio=ratio)
            for messages, ratio in prompts
        ]

    texts = in_child(render, _place(tokenizer))
    written = [sum(len(message["content"]) for message in messages) for messages, _ in prompts]
    check_rendered(texts, written, _place(tokenizer))
    return texts


def _place(tokenizer: "PreTrainedTokenizerBase") -> str:
    return ": ".join(filter(None, (str(tokenizer.name_or_path), "chat template")))
