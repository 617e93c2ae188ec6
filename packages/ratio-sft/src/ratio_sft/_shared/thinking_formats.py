# copied from packages/_shared/thinking_formats.py; edit it there
"""Which thinking format a checkpoint has: given by name, stored beside its weights, or read from its chat template.

A template shows its format in what it renders, and runs in a child process with limits, because it may be a stranger's.
Splitting a completion is left to `thinking`.

    format_of(tokenizer)                           # ThinkingFormat('<think>', '</think>', '', opened=True)
    save_format(format_named("gpt-oss"), "checkpoints/base")
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from .bounded import in_child
from .records import read_json, validate, write_json
from .thinking import THINK, ThinkingFormat

FILE_NAME = "thinking_format.json"
FORMATS = {
    "think": THINK,
    "bracket-think": ThinkingFormat("[THINK]", "[/THINK]"),
    "thinking": ThinkingFormat("<thinking>", "</thinking>"),
    "thought": ThinkingFormat("<thought>", "</thought>"),
    "begin-of-thought": ThinkingFormat("<|begin_of_thought|>", "<|end_of_thought|>"),
    "seed-think": ThinkingFormat("<seed:think>", "</seed:think>"),
    "gemma4": ThinkingFormat("<|channel>thought", "<channel|>"),
    "gpt-oss": ThinkingFormat(
        "<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|end|><|start|>assistant"
    ),
}
"""Every format that a template is searched for, by the name that people give it."""

_Render = Callable[[list[dict[str, str]]], str]
_USER = {"role": "user", "content": "Add 1 and 2."}
_THOUGHT, _ANSWER = "thinking-of-an-earlier-turn", "answer-of-an-earlier-turn"
_FIELDS = ("reasoning_content", "reasoning", "thinking")


def format_named(name: str, *, opened: bool = False) -> ThinkingFormat:
    """The format of this name.

    Args:
        name: A name in `FORMATS`.
        opened: True if the chat template's generation prompt ends in the opening tag.

    Raises:
        DataError: there is no such name.
    """
    if name not in FORMATS:
        raise DataError(f"thinking format {name!r} is unknown; name one of {', '.join(FORMATS)}")
    return replace(FORMATS[name], opened=opened)


def save_format(thinking_format: ThinkingFormat, folder: str | Path) -> None:
    """Write `thinking_format.json` into a checkpoint folder."""
    write_json(Path(folder) / FILE_NAME, {"format": 1, **asdict(thinking_format)})


def load_format(folder: str | Path) -> ThinkingFormat | None:
    """The format in `thinking_format.json` of a checkpoint folder; None if it has no such file.

    Raises:
        DataError: the file does not fit its schema, or one of its tags contains the other.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return None
    data = validate(read_json(path), "thinking_format", str(path))
    if data["open"] in data["close"] or data["close"] in data["open"]:
        raise DataError(f"{path}: open {data['open']!r} and close {data['close']!r} overlap; give two separate tags")
    return ThinkingFormat(data["open"], data["close"], data["between"], data["opened"])


def format_of(tokenizer: Any, variables: Mapping[str, Any] | None = None) -> ThinkingFormat:
    """The format of a tokenizer's checkpoint: `thinking_format.json` in its folder, or else what its template shows.

    A template that shows none is taken for `<think>`, opened by the model: ratio-sft trains this format.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        variables: Further variables that prompts are rendered with, such as enable_thinking.

    Raises:
        DataError: the file is bad, or `template_format` refuses the template.
    """
    return load_format(str(tokenizer.name_or_path)) or template_format(tokenizer, variables) or THINK


def template_format(tokenizer: Any, variables: Mapping[str, Any] | None = None) -> ThinkingFormat | None:
    """The format that a chat template shows; None if there is no template, or it shows none.

    The first of these signs decides: the generation prompt ends in an opening tag; the thinking of an assistant's
    message is rendered between two tags; a block is removed from an earlier answer; the prompt has both tags, in its
    system message or as an empty block.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        variables: Further variables that prompts are rendered with.

    Raises:
        DataError: the template fails, passes a limit of `in_child`, or has the same sign for two formats.
    """
    if not tokenizer.chat_template:
        return None
    own = dict(variables or {})

    def render(messages: list[dict[str, str]]) -> str:
        last = messages[-1]["role"] == "user"
        return tokenizer.apply_chat_template(messages, **{**own, "tokenize": False, "add_generation_prompt": last})

    where = ": ".join(filter(None, (str(tokenizer.name_or_path), "chat template")))
    names, opened = in_child(lambda: _shown(render), where)
    if len(names) > 1:
        raise DataError(
            f"{where}: shows the thinking formats {' and '.join(names)}; write the model's own into {FILE_NAME} "
            "in its folder"
        )
    return format_named(names[0], opened=opened) if names else None


def _shown(render: _Render) -> tuple[list[str], bool]:
    """Names of the formats that the first sign found has, and whether the generation prompt opens the block."""
    prompt = render([_USER])
    opened = [name for name, each in FORMATS.items() if prompt.rstrip().endswith(each.open)]
    if opened:
        return opened, True
    for sign in (_between_tags(render), _removed(render)):
        if sign:
            return sign, False
    return [name for name, each in FORMATS.items() if each.open in prompt and each.close in prompt], False


def _between_tags(render: _Render) -> list[str]:
    message = {"role": "assistant", "content": _ANSWER, **dict.fromkeys(_FIELDS, _THOUGHT)}
    text = _render_or_nothing(render, [_USER, message])
    before, found, after = text.partition(_THOUGHT)
    return [
        name
        for name, each in FORMATS.items()
        if found and before.rstrip().endswith(each.open) and after.lstrip().startswith(each.between + each.close)
    ]


def _removed(render: _Render) -> list[str]:
    found: list[str] = []
    for name, each in FORMATS.items():
        message = {"role": "assistant", "content": each.join(_THOUGHT, _ANSWER)}
        text = _render_or_nothing(render, [_USER, message, _USER])
        if _ANSWER in text and _THOUGHT not in text:
            found.append(name)
    return found


def _render_or_nothing(render: _Render, messages: list[dict[str, str]]) -> str:
    """What a template makes of a conversation; nothing if it refuses such a conversation."""
    try:
        return render(messages)
    except MemoryError:
        raise
    except Exception:
        return ""
