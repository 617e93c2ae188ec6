"""The prompts of a run, read by verl from the file that `chrpo prepare` writes.

data.custom_cls={path: "pkg://chrpo.verl", name: PromptDataset}
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from collections.abc import Sequence
from functools import cache

from datasets import Dataset
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.fs import copy_to_local

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.records import Row
from chrpo.errors import DataError
from chrpo.prompts import control_tokens as tokens_of
from chrpo.prompts import read_prompts
from chrpo.rendering import prompt_ids, render_prompts


def prompt_rows(files: str | Sequence[str]) -> list[Row]:
    """The rows of one RL prompts file or of several, in order.

    Args:
        files: Path of a file, or several; verl's remote paths are copied first.
    """
    names = [files] if isinstance(files, str) else list(files)
    return [row for name in names for row in read_prompts(copy_to_local(name))]


@cache
def control_tokens(folder: str) -> ControlTokens | None:
    """The control tokens of a checkpoint folder, which may be one of verl's remote paths; None if it has none."""
    return tokens_of(copy_to_local(folder))


class PromptDataset(RLHFDataset):
    """Every prompt of the files, in their order, with its row number as `index`; no prompt is dropped.

    Raises:
        DataError: a prompt is longer than `data.max_prompt_length`, a subset was requested, or the chat template fails
            or passes a limit of `render_prompts`.
    """

    def _read_files_and_tokenize(self) -> None:
        if self.max_samples > 0:
            raise DataError(f"data.train_max_samples is {self.max_samples}; shorten the prompts file instead")
        rows = prompt_rows(self.original_data_files)
        self.dataframe = Dataset.from_list(
            [
                {self.prompt_key: row["prompt"], "answer": row["answer"], "extra_info": {"index": index}}
                for index, row in enumerate(rows)
            ]
        )
        for row, ids in zip(rows, prompt_ids(self.tokenizer, render_prompts(self.tokenizer, rows, {})), strict=True):
            if len(ids) > self.max_prompt_length:
                raise DataError(
                    f"id {row['id']!r}: the prompt has {len(ids)} tokens; raise data.max_prompt_length "
                    f"({self.max_prompt_length}) or remove the row"
                )
