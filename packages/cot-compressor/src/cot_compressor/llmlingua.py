"""The interface of LLMLingua's `PromptCompressor`, for code that was written for it.

The call and the keys of the result are the same. The compression is that of this package: formulas whole, the rate
exact in tokens, the question used. An argument that would have no effect is an error, and never ignored.

>>> PromptCompressor("rules").compress_prompt("Well, so 12 + 15 = 27.", rate=0.6)["compressed_prompt"]
'12 + 15 = 27'
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .budget.ratios import check_ratios
from .compressor import Compression, Compressor, Keep
from .errors import DataError, InfeasibleBudget
from .text.render import Span, kept_units
from .text.segment import segment

_DOLLARS_PER_TOKEN = 0.06 / 1000
_WITHOUT_EFFECT: dict[str, Any] = {
    "use_context_level_filter": False,
    "use_token_level_filter": True,
    "drop_consecutive": None,
    "chunk_end_tokens": None,
    "token_to_word": "mean",
}
"""Arguments of LLMLingua-2 whose purpose is served anyway, and their only accepted value; None means any."""
_MARK = re.compile(r"[^\w\s]+")
_ROUNDS = 4


class PromptCompressor:
    """Replaces `llmlingua.PromptCompressor(..., use_llmlingua2=True)`."""

    def __init__(
        self, model_name: str | Path = "rules", *, tokenizer: Any = None, use_llmlingua2: bool = True, **others: Any
    ) -> None:
        """Load a scorer and the target tokenizer, as `Compressor.from_pretrained` does.

        Args:
            model_name: `"rules"`, or a trained scorer: its folder or its name on a hub.
            tokenizer: Folder of the target model, or its loaded fast tokenizer.
            use_llmlingua2: True, the only accepted value.
            others: Further arguments of LLMLingua, which have no effect and are refused.

        Raises:
            DataError: scorer or tokenizer cannot be loaded, or an argument would have no effect.
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
            context: The text, or a list of texts.
            instruction: Empty, the only accepted value; it has no effect in LLMLingua-2 either.
            question: Question that guides the scorer; LLMLingua-2 ignores it.
            rate: Share of the tokens to keep.
            target_token: Number of tokens to keep of all contexts together, instead of `rate`.
            force_tokens: Strings to keep wherever they occur, with the unit that contains them. A mark (`.`, `?`) is
                kept only after a kept unit, because all marks of a text would fill a small budget. A line break between
                kept parts is always kept.
            force_reserve_digit: True to keep every unit with a digit.
            return_word_label: True to add `fn_labeled_original_prompt`: each unit with 1 for kept or 0 for dropped.
            word_sep: Separator between units in `fn_labeled_original_prompt`.
            label_sep: Separator between a unit and its label in `fn_labeled_original_prompt`.
            others: Further arguments of LLMLingua, at values that change nothing.

        Returns:
            `compressed_prompt` (the shortened contexts, joined by blank lines), `compressed_prompt_list`,
            `origin_tokens`, `compressed_tokens`, `ratio` (such as `"3.3x"`), `rate` (such as `"30.6%"`), `saving`. A
            blank context stays blank. If the rate is too small for one unit, or for everything that is forced, the
            result has the tokens that these need.

        Raises:
            DataError: an argument would have no effect, or the rate is out of range.
        """
        _check_effect(instruction, others)
        contexts = [context] if isinstance(context, str) else list(context)
        counter = self._compressor.counter
        original = sum(counter.count(text.strip()) for text in contexts)
        if target_token != -1:
            rate = min(target_token / original, 1.0) if original else 1.0
        check_ratios([rate])
        keep, marks = _forced(force_tokens, digits=force_reserve_digit)
        results = [self._shorten(text, question, rate, keep, marks) if text.strip() else None for text in contexts]
        answer = _answer(original, results)
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
            # A mark takes the place of a word, so the words before the marks are checked again.
            before, wanted = wanted, _marks_after_kept(text, found, marks)
            if before == wanted:
                break
            found = self._at_rate(text, question, rate, [*keep, *wanted])
        return found

    def _at_rate(self, text: str, question: str, rate: float, keep: Sequence[Keep]) -> Compression:
        try:
            return self._compressor.compress(text, question=question, ratio=rate, keep=keep)
        except InfeasibleBudget as error:
            return self._compressor.compress(text, question=question, max_tokens=error.needed_tokens, keep=keep)


def _check_effect(instruction: str, others: dict[str, Any]) -> None:
    """Refuse arguments that would have no effect."""
    if instruction:
        raise DataError("instruction has no effect on what is kept; put it before the result yourself")
    for name, value in others.items():
        if name not in _WITHOUT_EFFECT or (_WITHOUT_EFFECT[name] is not None and value != _WITHOUT_EFFECT[name]):
            raise DataError(f"{name}={value!r} has no effect here; drop it (the README has a migration table)")


def _forced(force_tokens: Sequence[str], *, digits: bool) -> tuple[list[Keep], set[str]]:
    """The strings and patterns to keep, and the marks to keep after kept units."""
    if isinstance(force_tokens, str) or any(not token.strip() and token != "\n" for token in force_tokens):
        raise DataError(f'force_tokens must be a list of words and marks, such as ["Wait", "."]; got {force_tokens!r}')
    marks = {token for token in force_tokens if _MARK.fullmatch(token)}
    words = [token for token in force_tokens if token.strip() and token not in marks]
    return [*words, *([re.compile(r"\d")] if digits else [])], marks


def _answer(original: int, results: Sequence[Compression | None]) -> dict[str, Any]:
    """The result as LLMLingua spells it."""
    texts = [result.text if result else "" for result in results]
    compressed = sum(result.tokens if result else 0 for result in results)
    return {
        "compressed_prompt": "\n\n".join(texts),
        "compressed_prompt_list": texts,
        "origin_tokens": original,
        "compressed_tokens": compressed,
        "ratio": f"{original / compressed if compressed else 1:.1f}x",
        "rate": f"{compressed / original if original else 1:.1%}",
        "saving": f", Saving ${(original - compressed) * _DOLLARS_PER_TOKEN:.1f} in GPT-4.",
    }


def _marks_after_kept(text: str, result: Compression, marks: Collection[str]) -> list[Span]:
    """Spans of the marks that follow a kept unit."""
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
