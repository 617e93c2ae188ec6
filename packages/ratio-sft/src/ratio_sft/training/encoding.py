r"""Training rows to token ids and labels: the prompt through the chat template, the completion as plain text.

A template may rewrite assistant messages: Qwen3's removes everything before `<think>`, and so the ratio token.
Therefore completions never pass through it. A row is `template(prompt) + tokens(completion) + end of sequence`, and the
loss counts the completion and the end. If the template's generation prompt opens the thinking block, the completion
does not open it again, so that its first token is the ratio token behind the opened tag. Batching is left to `sampler`
and `collator`.

    row = next(encode(tokenizer, [sft_row], tokens, THINK, max_length=6144, tally=Tally()))
    row.labels[row.prompt_tokens] == tokenizer.convert_tokens_to_ids("<COMP_40>")     # the first label of the loss
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ratio_sft._shared.control_tokens import POLICY, ControlTokens
from ratio_sft._shared.records import Row, Tally
from ratio_sft._shared.thinking import ThinkingFormat
from ratio_sft.data.rows import kind
from ratio_sft.model.template import prompt_ids, text_ids
from ratio_sft.model.tokens import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
_CHUNK = 512


@dataclass(frozen=True)
class Encoded:
    """One training row as token ids.

    Args:
        input_ids: Token ids of prompt, completion and end of sequence.
        prompt_tokens: Number of tokens of the prompt.
        ratio: Ratio of the row.
        mode: Kind of the row, see `data.rows.kind`.
    """

    input_ids: list[int]
    prompt_tokens: int
    ratio: float
    mode: str

    @property
    def labels(self) -> list[int]:
        """The token ids, with -100 in place of the prompt."""
        return [IGNORED] * self.prompt_tokens + self.input_ids[self.prompt_tokens :]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    rows: Iterable[Row],
    tokens: ControlTokens,
    thinking_format: ThinkingFormat,
    *,
    max_length: int,
    context: int | None = None,
    end: int | None = None,
    tally: Tally,
) -> Iterator[Encoded]:
    """Encode rows; those that are too long or contain a stray special token are rejected by reason.

    Args:
        tokenizer: Tokenizer with the control tokens and the wrapped template.
        rows: Rows of the `sft` contract that passed the checks of `row_checks`.
        tokens: The ladder.
        thinking_format: Thinking format of the model.
        max_length: Largest number of tokens of a row.
        context: Number of positions of the model, or None if unlimited; a longer row is rejected too.
        end: Id of the token that ends a response; by default the tokenizer's end of sequence.
        tally: Counter of rows read, written and rejected.

    Raises:
        DataError: the chat template fails, or passes a limit.
    """
    own: Any = tokenizer.eos_token_id
    last: int = own if end is None else end
    reserved = {*token_ids(tokenizer, tokens), own, last}
    left = iter(rows)
    while chunk := list(islice(left, _CHUNK)):
        tally.read += len(chunk)
        texts = [response_text(row["completion"][0]["content"], thinking_format) for row in chunk]
        completions = text_ids(tokenizer, texts)
        modes = [kind(row, thinking_format) for row in chunk]
        asked = [(row["prompt"], None if mode == "plain" else POLICY) for row, mode in zip(chunk, modes, strict=True)]
        prompts = prompt_ids(tokenizer, asked)
        for row, mode, prompt, completion in zip(chunk, modes, prompts, completions, strict=True):
            length = len(prompt) + len(completion) + 1
            if length > max_length:
                tally.reject(row, "too_long", f"{length} tokens are more than {max_length}")
            elif context is not None and length > context:
                tally.reject(row, "beyond_context", f"{length} tokens are more than the model's {context} positions")
            elif not reserved.isdisjoint(completion if mode == "plain" else completion[1:]):
                tally.reject(row, "special_token_in_text", "the completion has a second control token or an end token")
            else:
                tally.written += 1
                yield Encoded([*prompt, *completion, last], len(prompt), float(row["ratio"]), mode)


def response_text(completion: str, thinking_format: ThinkingFormat) -> str:
    r"""What the model writes of a row's completion: all of it, but for the opening tag if the template opens the block.

    >>> response_text("<COMP_20>\n<think>\n1 + 2\n</think>\n\n3", ThinkingFormat("<think>", "</think>", opened=True))
    '<COMP_20>\n1 + 2\n</think>\n\n3'
    """
    if not thinking_format.opened:
        return completion
    token, _, rest = completion.partition(thinking_format.open)
    return token + rest.removeprefix("\n")
