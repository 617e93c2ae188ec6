r"""Prompts as token ids: the chat template renders each prompt once, before training.

The template comes with the checkpoint and may be a stranger's, so it runs in a child process with limits. TRL, whose
trainer gets token ids, would render each prompt again whenever it is drawn, without any; verl does.

    texts = render_prompts(tokenizer, rows, {})            # ['<|im_start|>user\n1 + 2? <COMP_POLICY><|im_end|>\n…']
    prompt_ids(tokenizer, texts)                         # [[1, 872, …]]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ._shared.bounded import in_child
from ._shared.records import Row
from ._shared.tokenizer_file import check_rendered, tokenizing
from .errors import DataError

_MOST_PROMPT_CHARS = 1_000_000
TEMPLATE_SECONDS, _SECONDS_A_PROMPT = 60.0, 0.01
"""Time in which the chat template has to render all prompts: so much, and more for each."""


def render_prompts(tokenizer: Any, rows: Sequence[Row], variables: Mapping[str, Any]) -> list[str]:
    """The text of every prompt up to the start of the answer.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        rows: Rows of an RL prompts file.
        variables: Further variables of the chat template.

    Raises:
        DataError: there is no template, or it fails or passes a limit, one of them on what it adds (`check_rendered`).
    """
    where = f"{tokenizer.name_or_path}: chat template"
    if not tokenizer.chat_template:
        raise DataError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template; use the checkpoint that ratio-sft wrote"
        )

    def render() -> list[str]:
        fixed = {"tokenize": False, "add_generation_prompt": True}
        return [tokenizer.apply_chat_template(row["prompt"], **{**variables, **fixed}) for row in rows]

    texts = in_child(render, where, seconds=TEMPLATE_SECONDS + _SECONDS_A_PROMPT * len(rows))
    check_rendered(texts, [sum(len(message["content"]) for message in row["prompt"]) for row in rows], where)
    longest = max(map(len, texts), default=0)
    if longest > _MOST_PROMPT_CHARS:
        raise DataError(f"{where}: a prompt of {longest} characters; mend the template or the prompt")
    return texts


def prompt_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of rendered prompts.

    Raises:
        DataError: the tokenizer fails.
    """
    with tokenizing(str(tokenizer.name_or_path)):
        return tokenizer(texts, add_special_tokens=False)["input_ids"]
