"""What decides the samples of a run, as JSON values: the settings that its manifest records and a resume compares.

The sampling seeds of a run are hashes of these values (see `generate.list_requests`). So `files_sha256`,
`model_sha256` and the keys here stay as they are: a change would draw other samples for the same command.

    model_settings(RunSettings("checkpoints/sft", ("gsm8k",)))
    # {'backend': 'transformers', 'model_sha256': '9c56…', 'batch_size': 32}
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ._shared.checkpoint_settings import check_settings
from ._shared.control_tokens import FILE_NAME
from .errors import DataError
from .grading import Grader
from .settings import RunSettings
from .tasks import Task

_HASHED_SUFFIXES = {".json", ".jinja", ".safetensors", ".txt", ".model"}


def files_sha256(paths: Iterable[Path]) -> str:
    """The hash of the names and contents of some files.

    Raises:
        DataError: One of them is missing.
    """
    total = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file; check the path")
        with path.open("rb") as file:
            total.update(os.fsencode(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n"))
    return total.hexdigest()


def model_sha256(folder: Path) -> str:
    """The hash of the files of a checkpoint that can change its outputs.

    Raises:
        DataError: A file leads out of the folder, or has no measure (`check_settings`): reading it might never end.
    """
    check_settings(folder)
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _HASHED_SUFFIXES)
    return files_sha256(files)


def model_settings(settings: RunSettings) -> dict[str, Any]:
    """The identity of the model and how it is run."""
    if settings.server is not None:
        return {"model": settings.model, **({"left_out": sorted(settings.leave_out)} if settings.leave_out else {})}
    if settings.backend == "vllm":
        how = {"tensor_parallel": settings.tensor_parallel, "data_parallel": settings.data_parallel}
    else:
        how = {"batch_size": settings.batch_size}
    return {"backend": settings.backend, "model_sha256": model_sha256(Path(settings.model)), **how}


def run_settings(settings: RunSettings, tasks: list[Task], grader: Grader, model: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the samples of a run and their verdicts.

    Args:
        settings: Settings of the run.
        tasks: Its tasks, loaded.
        grader: The grader that will grade them.
        model: `model_settings(settings)`.
    """
    return {
        **model,
        "tasks": {task.name: task.sha256 for task in tasks},
        "ratios": list(settings.ratios),
        "samples": settings.samples,
        "seeds": list(settings.seeds),
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "limit": settings.limit,
        "instruction": settings.instruction,
        **thinking_settings(settings),
        **_tokenizer_settings(settings),
        "grader": grader.description,
        **({"shard": str(settings.shard)} if settings.shard else {}),
    }


def thinking_settings(settings: RunSettings) -> dict[str, Any]:
    """The way to make the model think less, with every text that it uses; empty if there is none."""
    return {} if settings.mode is None else {"thinking": settings.mode.content}


def _tokenizer_settings(settings: RunSettings) -> dict[str, Any]:
    """The files of a server's tokenizer folder: they decide how thinking is counted and what each request contains."""
    if settings.tokenizer is None:
        return {}
    check_settings(Path(settings.tokenizer))
    paths = (Path(settings.tokenizer, name) for name in ("tokenizer.json", FILE_NAME))
    return {"tokenizer_sha256": files_sha256(path for path in paths if path.is_file())}
