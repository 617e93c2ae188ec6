r"""The part of a completion that is meant as the answer: the text after all thinking, in whatever markup.

Thinking is marked by tags (`<think>`, `[THINK]`, `<thinking>`, `<reasoning>`, `<|begin_of_thought|>` and others) or by
channels. Nested blocks belong to the outermost one, tags in quotation marks are text, and a closing tag without an
opening one ends thinking that the prompt opened. Tokens that end a turn end the text. Finding the answer in it is left
to `extract`.

>>> final_text("<think>a <think>b</think> c</think> It is 5.<|im_end|>")
'It is 5.'
>>> final_text("[THINK]It is 4") is None
True
"""

import re

_NAMES = (
    "think|thinking|thought|thoughts|reasoning|reason|analysis|reflection|scratchpad|seed:think|antthinking|"
    "inner_monologue|internal_monologue|cot"
)
_TAG = re.compile(
    rf"<(?P<a>/?)(?:{_NAMES})>|\[(?P<b>/?)THINK\]|<\|(?P<c>begin|end)_of_thought\|>|◁(?P<d>/?)think▷"
    r"|<\|(?P<e>START|END)_THINKING\|>|<\|(?P<f>/?)think(?:ing)?\|>|<unused(?P<g>94|95)>(?:thought)?",
    re.IGNORECASE,
)
_OPENING = {"", "begin", "start", "94"}
_GEMMA_OPEN, _GEMMA_CLOSE = "<|channel>thought", "<channel|>"
_CHANNEL = re.compile(r"<\|channel\|>\s*([a-z]+)[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
_BARE_CHANNELS = re.compile(r"\s*(?:analysis|commentary)(?=\S)")
_BARE_FINAL = "assistantfinal"
_END = re.compile(
    r"<\|(?:im_end|endoftext|eot_id|eom_id|end|end_of_text|return|EOT|end_of_turn|eos|END_RESPONSE|END_OF_TURN_TOKEN|call)\|>"
    r"|</s>|<eos>|<end_of_turn>|<turn\|>|<｜end▁of▁sentence｜>|\[EOS\]|<\|im_start\|>|<\|start\|>"
)
_SPECIAL = re.compile(r"<\|[A-Za-z_]{1,40}\|>|<｜[^<>]{1,40}｜>|<(?:pad|bos|s|unk|start_of_turn)>")
_QUOTES = "`'\"“”‘’"


def final_text(completion: str, prompt: str = "") -> str | None:
    """The text after all thinking; None if thinking was never closed.

    Args:
        completion: All generated text.
        prompt: The rendered prompt; if it ends in an opening tag, the completion begins inside the thinking block.
    """
    if "<|channel|>" in completion:
        return _channel(completion)
    if _BARE_CHANNELS.match(completion) and _BARE_FINAL in completion:
        return completion.rpartition(_BARE_FINAL)[2]
    if _GEMMA_CLOSE in completion or _GEMMA_OPEN in completion:
        completion = completion.replace(_GEMMA_OPEN, "<think>").replace(_GEMMA_CLOSE, "</think>")
    parts, depth, at = list[str](), int(opens_thinking(prompt)), 0
    for tag in _TAG.finditer(completion):
        if _is_quoted(completion, tag):
            continue
        if depth == 0:
            parts.append(completion[at : tag.start()])
        if next(group for group in tag.groups() if group is not None).lower() in _OPENING:
            depth += 1
        elif depth > 0:
            depth -= 1
        else:
            parts = []
        at = tag.end()
    if depth > 0:
        return None
    return _without_special(" ".join([*filter(None, parts), completion[at:]]))


def opens_thinking(prompt: str) -> bool:
    """Whether a prompt ends in a tag that opens thinking."""
    tags = list(_TAG.finditer(prompt[-40:].rstrip()))
    if not tags or tags[-1].end() != len(prompt[-40:].rstrip()):
        return False
    return next(group for group in tags[-1].groups() if group is not None).lower() in _OPENING


def _channel(completion: str) -> str | None:
    """The text of the last channel called final."""
    messages = list(_CHANNEL.finditer(completion))
    final = next((message for message in reversed(messages) if message[1] == "final"), None)
    return None if final is None else _without_special(completion[final.end() :])


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    before, after = text[tag.start() - 1 : tag.start()], text[tag.end() : tag.end() + 1]
    return bool(before) and before in _QUOTES and bool(after) and after in _QUOTES


def _without_special(text: str) -> str:
    """The text up to the first token that ends a turn, without other special tokens."""
    if "<" not in text and "[EOS]" not in text:
        return text
    start = re.match(rf"(?:\s|{_END.pattern}|{_SPECIAL.pattern})*", text)
    text = text[start.end() :] if start and start.end() and text[start.end() :] else text
    end = _END.search(text)
    return _SPECIAL.sub(" ", text[: end.start()] if end else text)
