# copied from packages/_shared/thinking_formats.py; edit it there
"""Which thinking format a checkpoint has: given by name, stored beside its weights, or read from its chat template.

A template shows its format in what it renders, and runs in a child process with limits, because it may be a stranger's.
Splitting a completion is left to `thinking`.

    format_of(tokenizer)                           # ThinkingFormat('<think>', '</think>', '', opened=True)
    format_of(tokenizer, "bracket-think")          # ThinkingFormat('[THINK]', '[/THINK]', '', opened=False)
    save_format(FORMATS["gpt-oss"], "checkpoints/base")
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

FLAG_HELP = f"Format of the thinking: {', '.join(FORMATS)}, or a file like thinking_format.json."
"""Help text of `--thinking-format`."""

_Render = Callable[[list[dict[str, str]]], str]
_USER = {"role": "user", "content": "Add 1 and 2."}
_THOUGHT, _ANSWER = "thinking-of-an-earlier-turn", "answer-of-an-earlier-turn"
_FIELDS = ("reasoning_content", "reasoning", "thinking")
_SHOWN_CHARS = 40


def save_format(thinking_format: ThinkingFormat, folder: str | Path) -> None:
    """Write `thinking_format.json` into a checkpoint folder."""
    write_json(Path(folder) / FILE_NAME, {"format": 1, **asdict(thinking_format)})


def load_format(folder: str | Path) -> ThinkingFormat | None:
    """The format in `thinking_format.json` of a checkpoint folder; None if it has no such file.

    Raises:
        DataError: the file does not fit its schema, or one of its tags contains the other.
    """
    path = Path(folder) / FILE_NAME
    return _read_format(path) if path.is_file() else None


def _read_format(path: Path) -> ThinkingFormat:
    data = validate(read_json(path), "thinking_format", str(path))
    if data["open"] in data["close"] or data["close"] in data["open"]:
        raise DataError(f"{path}: open {data['open']!r} and close {data['close']!r} overlap; give two separate tags")
    return ThinkingFormat(data["open"], data["close"], data["between"], data["opened"])


def given_format(given: str) -> ThinkingFormat:
    """The format that `--thinking-format` names: a name in `FORMATS`, opened by the model, or a file.

    Raises:
        DataError: there is no such name or file, or the file is bad.
    """
    if given in FORMATS:
        return FORMATS[given]
    if not Path(given).is_file():
        raise DataError(
            f"thinking format {given!r} is no file and no known name; name one of {', '.join(FORMATS)}, or a file like "
            f"{FILE_NAME}"
        )
    return _read_format(Path(given))


def stored_format(folder: str | Path) -> str:
    """What `given_format` takes for a checkpoint whose tokenizer is not at hand: its file, or `think` without one."""
    path = Path(folder) / FILE_NAME
    return str(path) if path.is_file() else "think"


def format_of(tokenizer: Any, given: str | None = None, variables: Mapping[str, Any] | None = None) -> ThinkingFormat:
    """The format of a tokenizer's checkpoint: the given one, else that of its folder, else that of its template.

    A template that shows none is taken for `<think>`, opened by the model: ratio-sft trains this format. Of a format
    that is given by name, the generation prompt shows who opens the block.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        given: Value of `--thinking-format`.
        variables: Further variables that prompts are rendered with, such as enable_thinking.

    Raises:
        DataError: the file is bad, the given name is unknown, or `template_format` refuses the template.
    """
    if given is None:
        return load_format(str(tokenizer.name_or_path)) or template_format(tokenizer, variables) or THINK
    found = given_format(given)
    if given not in FORMATS or not tokenizer.chat_template:
        return found
    render = _renderer(tokenizer, variables)
    return found.after(in_child(lambda: render([_USER]), _place(tokenizer)))


def template_format(tokenizer: Any, variables: Mapping[str, Any] | None = None) -> ThinkingFormat | None:
    """The format that a chat template shows; None if there is no template, or it shows none.

    The first of these signs decides: the generation prompt ends in an opening tag; the thinking of an assistant's
    message is rendered between two tags; a block is removed from an earlier answer; the prompt has both tags, in its
    system message or as an empty block.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        variables: Further variables that prompts are rendered with.

    Raises:
        DataError: the template fails, passes a limit of `in_child`, has the same sign for two formats, or renders
            thinking between other tags.
    """
    if not tokenizer.chat_template:
        return None
    render, where = _renderer(tokenizer, variables), _place(tokenizer)
    names, opened = in_child(lambda: _shown(render, where), where)
    if len(names) > 1:
        raise DataError(
            f"{where}: shows the thinking formats {' and '.join(names)}; name the model's own with --thinking-format, "
            f"or write it into {FILE_NAME} in its folder"
        )
    return replace(FORMATS[names[0]], opened=opened) if names else None


def _renderer(tokenizer: Any, variables: Mapping[str, Any] | None) -> _Render:
    own = dict(variables or {})

    def render(messages: list[dict[str, str]]) -> str:
        last = messages[-1]["role"] == "user"
        return tokenizer.apply_chat_template(messages, **{**own, "tokenize": False, "add_generation_prompt": last})

    return render


def _place(tokenizer: Any) -> str:
    return ": ".join(filter(None, (str(tokenizer.name_or_path), "chat template")))


def _shown(render: _Render, where: str) -> tuple[list[str], bool]:
    """Names of the formats that the first sign found has, and whether the generation prompt opens the block."""
    prompt = render([_USER])
    opened = [name for name, each in FORMATS.items() if prompt.rstrip().endswith(each.open)]
    if opened:
        return opened, True
    before, thought, after = _around_thinking(render)
    for sign in (_between_tags(before, after), _removed(render)):
        if sign:
            return sign, False
    empty = [name for name, each in FORMATS.items() if each.open in prompt and each.close in prompt]
    if thought and not empty:
        raise DataError(
            f"{where}: renders thinking after {before[-_SHOWN_CHARS:]!r} and before {after[:_SHOWN_CHARS]!r}, "
            f"which is no known format; write the tags into {FILE_NAME} of the folder, or a file for --thinking-format"
        )
    return empty, False


def _around_thinking(render: _Render) -> tuple[str, str, str]:
    """The text before the thinking of an assistant's message, the thinking if it is rendered, and the text after it."""
    message = {"role": "assistant", "content": _ANSWER, **dict.fromkeys(_FIELDS, _THOUGHT)}
    return _render_or_nothing(render, [_USER, message]).partition(_THOUGHT)


def _between_tags(before: str, after: str) -> list[str]:
    return [
        name
        for name, each in FORMATS.items()
        if before.rstrip().endswith(each.open) and after.lstrip().startswith(each.between + each.close)
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
