"""The text of token ids, and which of the thinking tags in it the model wrote as tokens of their own.

If a tag is one token of the vocabulary, only this token counts: the same letters in other tokens are text. Otherwise
every occurrence in the text counts. Cutting the text there is left to `thinking`.

    text, places = decode_ids(tokenizer, THINK, ids)
    THINK.split(text, places).answer
"""

from collections.abc import Sequence
from typing import Any

from .thinking import Places, ThinkingFormat, find_all
from .tokenizer_file import check_decoded


def decode_ids(tokenizer: Any, thinking_format: ThinkingFormat, ids: Sequence[int]) -> tuple[str, Places]:
    """The text of a completion with its special tokens, and the places of its thinking tags.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        thinking_format: Format of the checkpoint.
        ids: Token ids, without the end token and without padding.

    Raises:
        DataError: the text is much longer than its tokens (`check_decoded`).
    """

    def decode(some: Sequence[int]) -> str:
        return tokenizer.decode(some, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    text = check_decoded(decode(ids), len(ids), str(tokenizer.name_or_path))

    def places(tag: str) -> list[int]:
        found = find_all(text, tag)
        own = tokenizer.encode(tag, add_special_tokens=False)
        if len(own) != 1 or own[0] == tokenizer.unk_token_id or ids.count(own[0]) == len(found):
            return found
        placed: list[int] = []
        at = before = 0
        for index in (index for index, token in enumerate(ids) if token == own[0]):
            # Only what is between two of them is decoded: with the whole text before each, time would be quadratic.
            at = text.find(tag, at + len(decode(ids[before:index])))
            if at < 0:
                break
            placed.append(at)
            before = index
        return placed

    return text, (places(thinking_format.open), places(thinking_format.close))
