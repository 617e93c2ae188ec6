"""`math-eval grade --engine ray`: grades the shards of a corpus of completions on a Ray cluster.

What is done with one shard is left to `grade`, the cluster to `_shared.ray_shards`. It needs ray.

    report = grade_shards("completions", "graded", workers=8, notify=print)
    report.kinds                                   # Counter({'correct': 71204, 'incorrect': 28796})
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ._shared.ray_shards import Counts, Report, ShardJob
from ._shared.row_layout import Layout
from ._shared.row_source import RowSource
from ._shared.thinking import THINK, ThinkingFormat
from ._shared.thinking_formats import given_format
from .errors import DataError, MathEvalError
from .grade import COMMAND, SCHEMA, FileGrading
from .grading import Grader
from .tags import name_format


def grade_shards(
    source: str | Path,
    out: str | Path,
    *,
    extraction: str = "standard",
    policy: str = "default",
    thinking_format: str | None = None,
    layout: Layout | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    notify: Callable[[str], object],
) -> Report:
    """Write a graded file for each shard of a corpus; together they have the rows of `grade.grade_file`'s output.

    Args:
        source: Folder of shards, here or on an object store; every worker reads it.
        out: Folder for the outputs, likewise; each has the name of its shard.
        extraction: Rule that finds the answer; this and the next four arguments are those of `grade.grade_file`.
        policy: What reasonable people judge differently.
        thinking_format: Name of the format of the thinking, or a file of it.
        layout: Columns of a corpus of other names.
        overwrite: Whether to replace outputs that were made with other settings.
        workers: Number of workers; None takes one for each processor of the cluster.
        notify: Function that gets a line about the work before it, and one about each shard that failed.

    Returns:
        The sums over all shards; `kinds` has the number of rows with each verdict.

    Raises:
        DataError: An unknown extraction, policy or format; the input is bad; the output folder contains something else;
            or shards failed.
    """
    thinking = given_format(thinking_format) if thinking_format else THINK
    make = partial(_ShardGrading, extraction, policy, thinking, layout, overwrite)
    make()  # its errors come before a worker starts
    name_format(notify, thinking)
    RowSource(source, SCHEMA, layout).check_columns()
    return ShardJob(COMMAND, source, out, make, overwrite).run(workers=workers, gpu=False, notify=notify)


class _ShardGrading:
    """Grades shards with at most one grading process."""

    def __init__(
        self, extraction: str, policy: str, thinking: ThinkingFormat, layout: Layout | None, overwrite: bool
    ) -> None:
        grader = Grader(1, extraction=extraction, policy=policy)
        self._grading, self._layout = FileGrading(grader, thinking, overwrite), layout

    def __call__(self, shard: str, out: str) -> Counts:
        rows = RowSource(shard, SCHEMA, self._layout, is_part=True)
        try:
            done = self._grading.write(rows, out)
        except MathEvalError as error:  # of this shard, not of the others
            raise DataError(str(error)) from error
        written, rejected = done.verdicts.total(), done.rejected.total()
        counts = {"read": written + rejected, "written": written, "rejected": done.rejected, "kinds": done.verdicts}
        return {**counts, "was_there": done.was_there}
