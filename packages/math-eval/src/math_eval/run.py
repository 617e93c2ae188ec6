"""`math-eval run`: complete every problem of every task at every ratio and seed, and write the run folder.

A run that is killed and resumed has the same samples as an undisturbed one, apart from their latencies. Loading models
is left to `backends`, making the samples to `generate`, joining the shards of a run to `merge`.

    run(RunSettings(model="checkpoints/sft", tasks=("gsm8k",), ratios=(0.2, "policy")), "runs/sft", data_dir="data")
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._shared import runs
from ._shared.control_tokens import ControlTokens
from ._shared.lock import locked
from ._shared.records import write_json
from ._shared.thinking import ThinkingFormat
from .backends import Backend
from .backends.loading import check_tokens, control_tokens, load_backend, thinking_format
from .errors import DataError
from .fingerprint import model_settings, run_settings
from .generate import Request, Sink, complete, list_requests, own_requests, render_prompts
from .grading import Grader
from .presets import note_greedy
from .run_folders import RESULTS, checked_manifest, read_results
from .settings import RunSettings
from .shard import SHARD, write_shard
from .store import Store, remove_partial
from .summary import results_content
from .tags import name_format, other_thinking
from .tasks import Task, load_task

COMMAND = "math-eval run"
_MOST_CONDITIONS = 1000
"""As results.json may have."""


def run(
    settings: RunSettings,
    output_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
    backend: Backend | None = None,
    notify: Callable[[str], object] | None = None,
) -> tuple[dict[str, Any], bool]:
    """Make a run folder, or finish one that was interrupted.

    Args:
        settings: Settings of the run.
        output_dir: The run folder.
        data_dir: Folder of the published benchmark files; None reads the Hugging Face hub.
        overwrite: Whether to replace a run made with other settings, and to make a finished one again.
        backend: A loaded model, which stays open; None loads the checkpoint or the client when it is needed.
        notify: Function that gets the lines about the run before its work: the thinking format of the model, and a note
            if its default settings suit a thinking model badly.

    Returns:
        The content of results.json, and whether the run was already complete. A shard has no conditions.

    Raises:
        DataError: Bad settings, tasks or checkpoint; a folder of other settings, or one that another process writes.
        MathEvalError: The server or the engine does not answer any more.
    """
    folder = Path(output_dir)
    if folder.is_file():
        raise DataError(f"{folder}: is a file; name a folder for the run")
    manifest, done = folder / runs.MANIFEST, folder / (SHARD if settings.shard else RESULTS)
    tokens, tasks = control_tokens(settings), _tasks(settings, data_dir)
    model, (thinking, tokenizer) = model_settings(settings), thinking_format(settings)
    name_format(notify, thinking)
    with ExitStack() as stack:
        grader = stack.enter_context(Grader(extraction=settings.extraction, policy=settings.policy))
        stack.enter_context(locked(folder))
        known = {**run_settings(settings, tasks, grader, model), **other_thinking(thinking)}
        state = runs.resolve_state(manifest, COMMAND, known, done=done, overwrite=overwrite)
        if state == "finished":
            remove_partial(folder, [task.name for task in tasks])
            return {"conditions": []} if settings.shard else read_results(folder), True
        backend = backend or stack.enter_context(closing(load_backend(settings, tokens, thinking, tokenizer, notify)))
        _check_model(settings, backend, tokens, thinking, notify)
        prompts = render_prompts(tasks, settings, tokens, backend, thinking)
        requests = {task.name: list(list_requests(task, settings, tokens, backend, model, prompts)) for task in tasks}
        backend.prepare(max(one.length for some in requests.values() for one in some), settings.max_tokens)
        if state == "new" or not _same_environment(folder, backend.environment, overwrite=overwrite):
            clear(folder)
            _write_manifest(manifest, known, settings, tasks, backend, tokens=tokens, thinking=thinking)
        _record_addresses(manifest, settings.base_urls)
        store = stack.enter_context(Store(folder, list(requests)))
        own = own_requests(requests, settings, backend)
        for name, wanted in own.items():
            complete(name, wanted, Sink(store, backend, tokens, grader, thinking, settings))
        results = _finish(folder, store, requests, own, settings)
        remove_partial(folder, list(requests))
    return results, False


def _finish(
    folder: Path,
    store: Store,
    requests: Mapping[str, list[Request]],
    own: Mapping[str, list[Request]],
    settings: RunSettings,
) -> dict[str, Any]:
    """Write the samples, and the file that marks the folder as complete; returns the content of results.json."""
    keys = {name: [request.key for request in some] for name, some in own.items()}
    store.finish(keys)
    if settings.shard:
        write_shard(folder, {name: [request.key for request in some] for name, some in requests.items()}, keys)
        return {"conditions": []}
    rows = [store.rows[key] for some in keys.values() for key in some]
    results = results_content(rows, list(keys), list(settings.ratios), settings.max_tokens)
    write_json(folder / RESULTS, results)
    return results


def _tasks(settings: RunSettings, data_dir: str | Path | None) -> list[Task]:
    tasks = [load_task(name, data_dir=data_dir, limit=settings.limit) for name in settings.tasks]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise DataError(f"two tasks are called {max(names, key=names.count)}; rename one file")
    if len(tasks) * len(settings.ratios) > _MOST_CONDITIONS:
        raise DataError(
            f"{len(tasks):,} tasks at {len(settings.ratios):,} ratios are more than {_MOST_CONDITIONS:,} conditions; "
            "make several runs"
        )
    return tasks


def _check_model(
    settings: RunSettings,
    backend: Backend,
    tokens: ControlTokens | None,
    thinking: ThinkingFormat,
    notify: Callable[[str], object] | None,
) -> None:
    """Refuse control tokens that the vocabulary lacks, and note default settings that suit a thinking model badly."""
    if tokens is not None and settings.ratios != (None,):
        check_tokens(settings, tokens, backend)
    note_greedy(notify, settings, backend, thinking)


def _write_manifest(
    manifest: Path,
    known: dict[str, Any],
    settings: RunSettings,
    tasks: list[Task],
    backend: Backend,
    *,
    tokens: ControlTokens | None,
    thinking: ThinkingFormat,
) -> None:
    """Write the manifest: what decides the samples, where model and problems were read, and the model's ladder."""
    ladder = {} if tokens is None else {"control_tokens": tokens.content}
    runs.write_manifest(
        manifest,
        COMMAND,
        known,
        math_eval=version("cot-math-eval"),
        model=settings.model,
        environment=backend.environment,
        sources={task.name: task.source for task in tasks},
        thinking_format=asdict(thinking),
        **ladder,
    )


def _record_addresses(manifest: Path, base_urls: Sequence[str]) -> None:
    """Add the addresses of servers to those that the manifest names: a run may be finished at others."""
    content = checked_manifest(manifest.parent)
    found = content.get("base_urls")
    before = found if isinstance(found, list) else []
    if new := [base_url for base_url in base_urls if base_url not in before]:
        write_json(manifest, {**content, "base_urls": [*before, *new]})


def _same_environment(folder: Path, environment: dict[str, str], *, overwrite: bool) -> bool:
    """Whether a run was begun in this environment: versions and devices change outputs.

    Raises:
        DataError: it was begun in another one and may not be overwritten.
    """
    before = checked_manifest(folder).get("environment", {})
    changes = runs.differing(before, environment)
    if changes and not overwrite:
        raise DataError(
            f"{folder / runs.MANIFEST}: begun with another environment ({'; '.join(changes)}); resume it in that "
            "environment, or start again with --overwrite"
        )
    return not changes


def clear(folder: Path) -> None:
    """Remove the files of a run that is going to be replaced."""
    for path in [folder / RESULTS, folder / SHARD, *folder.glob("samples_*.jsonl"), folder / runs.MANIFEST]:
        path.unlink(missing_ok=True)
