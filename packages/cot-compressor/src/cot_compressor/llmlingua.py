"""The interface of LLMLingua's `PromptCompressor`, for code that was written against it.

Same call, same keys in the answer; the compression is this package's: formulas whole, the rate exact in the tokenizer's
tokens, the question used. An argument that would do nothing here is an error, never ignored in silence.

    from cot_compressor.llmlingua import PromptCompressor
    PromptCompressor("rules").compress_prompt(cot, question=question, rate=0.3)["compressed_prompt"]
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .compressor import Compression, Compressor, Keep, check_ratios
from .errors import DataError, InfeasibleBudget
from .labels import kept_units
from .render import Span
from .segment import segment

_DOLLARS_PER_TOKEN = 0.06 / 1000
_WITHOUT_EFFECT: dict[str, Any] = {
    "use_context_level_filter": False,
    "use_token_level_filter": True,
    "drop_consecutive": None,
    "chunk_end_tokens": None,
    "token_to_word": "mean",
}
"""Arguments of LLMLingua-2 whose purpose is met anyway, and the value that asks for nothing else; None for any."""
_MARK = re.compile(r"[^\w\s]+")
_ROUNDS = 4


class PromptCompressor:
    """Stands in for `llmlingua.PromptCompressor(..., use_llmlingua2=True)`."""

    def __init__(
        self, model_name: str | Path = "rules", *, tokenizer: Any = None, use_llmlingua2: bool = True, **others: Any
    ) -> None:
        """Load a scorer and the target tokenizer, as `Compressor.from_pretrained` does.

        Raises:
            DataError: either cannot be loaded, or an argument would have no effect.
        """
        if not use_llmlingua2:
            raise DataError("use_llmlingua2=False asks for perplexity of a language model; this package has none")
        for name, value in others.items():
            raise DataError(f"{name}={value!r} has no effect here; drop it (the README has a migration table)")
        self._compressor = Compressor.from_pretrained(model_name, tokenizer=tokenizer)

    def compress_prompt(
        self,
        context: str | Sequence[str],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        *,
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        **others: Any,
    ) -> dict[str, Any]:
        """Shorten one context, or each of several at the same rate.

        Args:
            context: The text, or several.
            instruction: Must be empty: LLMLingua-2 has no use for it, nor has this.
            question: Steers the scorer (LLMLingua-2 ignores it).
            rate: Share of the tokens to keep.
            target_token: Tokens to keep of all contexts together, instead of `rate`.
            force_tokens: Strings to keep wherever they occur, with the unit they are in. A mark (`.`, `?`) is kept
                behind what is kept: all marks of a text would fill a small budget. A line break between kept pieces
                stays anyway.
            force_reserve_digit: Keep every unit with a digit.
            return_word_label: Add `fn_labeled_original_prompt`: each unit with 1 for kept or 0.
            word_sep: Between units there.
            label_sep: Between a unit and its label there.
            others: Further arguments of LLMLingua, at values that change nothing.

        Returns:
            `compressed_prompt` (contexts joined by a blank line), `compressed_prompt_list`, `origin_tokens`,
            `compressed_tokens`, `ratio` (such as `"3.3x"`), `rate` (such as `"30.6%"`), `saving`. A blank context stays
            blank; where the rate cannot hold one unit, or what is forced, as much is kept as that needs.

        Raises:
            DataError: an argument would have no effect, or the rate is out of range.
        """
        if instruction:
            raise DataError("instruction has no effect on what is kept; put it in front of the result yourself")
        for name, value in others.items():
            if name not in _WITHOUT_EFFECT or (_WITHOUT_EFFECT[name] is not None and value != _WITHOUT_EFFECT[name]):
                raise DataError(f"{name}={value!r} has no effect here; drop it (the README has a migration table)")
        contexts = [context] if isinstance(context, str) else list(context)
        counter = self._compressor.counter
        original = sum(counter.count(text.strip()) for text in contexts)
        if target_token != -1:
            rate = min(target_token / original, 1.0) if original else 1.0
        check_ratios([rate])
        if isinstance(force_tokens, str) or any(not token.strip() and token != "\n" for token in force_tokens):
            raise DataError(
                f'force_tokens must be a list of words and marks, such as ["Wait", "."]; got {force_tokens!r}'
            )
        marks = {token for token in force_tokens if _MARK.fullmatch(token)}
        words = [token for token in force_tokens if token.strip() and token not in marks]
        keep: list[Keep] = [*words, *([re.compile(r"\d")] if force_reserve_digit else [])]
        results = [self._shorten(text, question, rate, keep, marks) if text.strip() else None for text in contexts]
        texts = [result.text if result else "" for result in results]
        compressed = sum(result.tokens if result else 0 for result in results)
        answer: dict[str, Any] = {
            "compressed_prompt": "\n\n".join(texts),
            "compressed_prompt_list": texts,
            "origin_tokens": original,
            "compressed_tokens": compressed,
            "ratio": f"{original / compressed if compressed else 1:.1f}x",
            "rate": f"{compressed / original if original else 1:.1%}",
            "saving": f", Saving ${(original - compressed) * _DOLLARS_PER_TOKEN:.1f} in GPT-4.",
        }
        if return_word_label:
            labels = [_labels(text, result) for text, result in zip(contexts, results, strict=True)]
            answer["fn_labeled_original_prompt"] = word_sep.join(
                f"{word}{label_sep}{label}" for entries in labels for word, label in entries
            )
        return answer

    __call__ = compress_prompt

    def _shorten(
        self, text: str, question: str, rate: float, keep: Sequence[Keep], marks: Collection[str]
    ) -> Compression:
        found = self._at_rate(text, question, rate, keep)
        wanted: list[Span] = []
        for _ in range(_ROUNDS if marks else 0):
            # A mark costs a word its place, so what stands before the marks is looked at again.
            behind, wanted = wanted, _marks_behind(text, found, marks)
            if behind == wanted:
                break
            found = self._at_rate(text, question, rate, [*keep, *wanted])
        return found

    def _at_rate(self, text: str, question: str, rate: float, keep: Sequence[Keep]) -> Compression:
        try:
            return self._compressor.compress(text, question=question, ratio=rate, keep=keep)
        except InfeasibleBudget as error:
            return self._compressor.compress(text, question=question, max_tokens=error.needed_tokens, keep=keep)


def _marks_behind(text: str, result: Compression, marks: Collection[str]) -> list[Span]:
    """The marks that follow a unit which was kept."""
    units = segment(text)
    return [
        (unit.start, unit.end)
        for before, unit in zip(kept_units(units, result.spans), units[1:], strict=False)
        if before and text[unit.start : unit.end] in marks
    ]


def _labels(text: str, result: Compression | None) -> list[tuple[str, int]]:
    units = segment(text)
    kept = kept_units(units, result.spans if result else ())
    return [(text[unit.start : unit.end], int(is_kept)) for unit, is_kept in zip(units, kept, strict=True)]
