"""`math-eval doctor`: what can make the numbers of a finished run misleading, each with what to do about it.

Only stored files are read, and nothing is graded again. Where text is judged by its look, a finding is a warning.

    for finding in examine("runs/base"):
        print(finding)
    # warning  thinking: 31 of 100 samples never close their thinking, …
    #          -> raise --max-tokens, …
"""

from collections.abc import Mapping
from pathlib import Path

from math_eval.run_folders import load_run, read_manifest

from .completions import completion_findings
from .finding import ERROR, OK, WARNING, Finding
from .known_accuracy import accuracy_findings
from .prompts import prompt_findings
from .sampler import sampler_findings

__all__ = ["ERROR", "OK", "WARNING", "Finding", "examine"]


def examine(
    run: str | Path, *, model: str | Path | None = None, expected: Mapping[str, float] | None = None
) -> list[Finding]:
    """The findings about a run, the errors first.

    Args:
        run: A finished run folder.
        model: Folder of its model; None takes the one that the manifest names, if it is there.
        expected: Accuracies in [0, 1] by task that the model is known to have, in addition to the published ones.

    Raises:
        DataError: The run is not finished, or one of its files is corrupt.
    """
    manifest = read_manifest(Path(run))
    rows = [row for condition in load_run(run) for row in condition.rows]
    findings = [
        *prompt_findings(rows, manifest),
        *completion_findings(rows, manifest),
        *sampler_findings(manifest, model),
        *accuracy_findings(rows, manifest, expected or {}),
    ]
    return sorted(findings, key=lambda finding: (ERROR, WARNING, OK).index(finding.level))
