"""A run: complete every problem of every task at every ratio and seed, and write the run folder.

A run that was killed and resumed holds the same samples as an undisturbed one (latencies apart); one begun with other
settings is refused. Loading models is left to `backends`, making the samples to `generate`.

    run(RunSettings(model="checkpoints/sft", tasks=("gsm8k",), ratios=(0.2, "policy")), "runs/sft", data_dir="data")
"""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from . import manifest
from ._shared.control_tokens import FILE_NAME, ControlTokens
from ._shared.lock import locked
from ._shared.records import parse_json, write_json
from .backends import Backend
from .conditions import dump_results
from .errors import DataError
from .generate import Sink, complete, list_requests
from .grading import Grader
from .settings import RunSettings
from .store import Store
from .tasks import Task, load_task

_HASHED_SUFFIXES = {".json", ".jinja", ".safetensors", ".txt", ".model"}


def model_sha256(folder: Path) -> str:
    """The hash of the files of a checkpoint that change its outputs."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _HASHED_SUFFIXES)
    return manifest.files_sha256(files)


def run(
    settings: RunSettings,
    output_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
    backend: Backend | None = None,
) -> tuple[dict[str, Any], bool]:
    """Make a run folder, or finish one that was interrupted.

    Args:
        settings: what to do.
        output_dir: the run folder.
        data_dir: the folder of the published benchmark files.
        overwrite: discard a run made with other settings.
        backend: a loaded model, which stays open; by default the checkpoint or the client is loaded when it is needed.

    Returns:
        the content of results.json, and whether it was there already.

    Raises:
        DataError: bad settings, tasks or checkpoint, or a folder made with other settings or being written.
        MathEvalError: a server or engine is gone.
    """
    folder = Path(output_dir)
    if folder.is_file():
        raise DataError(f"{folder}: is a file; name a folder for the run")
    path, done = folder / "manifest.json", folder / "results.json"
    tokens = _control_tokens(settings)
    tasks = [load_task(name, data_dir=data_dir, limit=settings.limit) for name in settings.tasks]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise DataError(f"two tasks are called {max(names, key=names.count)}; rename one file")
    model = _model(settings)
    with ExitStack() as stack:
        grader = stack.enter_context(Grader(extraction=settings.extraction))
        known = _known(settings, tasks, grader, model)
        if manifest.settle(path, known, done=done, overwrite=overwrite) == "done":
            return parse_json(done.read_text("utf-8"), str(done)), True
        if backend is None:
            backend = stack.enter_context(closing(_load(settings, tokens)))
        if tokens is not None and settings.ratios != (None,):
            _check_tokens(settings, tokens, backend)
        requests = {task.name: list(list_requests(task, settings, tokens, backend, model)) for task in tasks}
        backend.prepare(max(one.length for some in requests.values() for one in some), settings.max_tokens)
        stack.enter_context(locked(folder))
        if manifest.settle(path, known, done=done, overwrite=overwrite) == "resume":
            _check_environment(path, backend.environment)
        else:
            _clear(folder)
            more = {"model": settings.model, "base_url": settings.base_url, "environment": backend.environment}
            sources = {task.name: task.source for task in tasks}
            manifest.write(path, "math-eval run", known, **more, sources=sources)
        with Store(folder, names) as store:
            for name in names:
                complete(name, requests[name], settings, Sink(store, backend, tokens, grader))
            store.finish({name: [request.key for request in requests[name]] for name in names})
            rows = [store.rows[request.key] for name in names for request in requests[name]]
            results = dump_results(rows, names, list(settings.ratios))
            write_json(done, results)
            store.clear()
    return results, False


def _control_tokens(settings: RunSettings) -> ControlTokens | None:
    """The checkpoint's ladder, or None; every ratio asked for must be on it."""
    asked = [ratio for ratio in settings.ratios if ratio is not None]
    if settings.server is not None and settings.tokenizer is None:
        if asked:
            raise DataError(f"ratio {asked[0]} of a server: name the checkpoint's folder with --tokenizer")
        return None
    folder = Path(settings.tokenizer or settings.model)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model folder; check --{'tokenizer' if settings.tokenizer else 'model'}")
    if not asked and not (folder / FILE_NAME).is_file():
        return None
    tokens = ControlTokens.load(folder)
    for ratio in asked:
        tokens.token(ratio)
    return tokens


def _check_tokens(settings: RunSettings, tokens: ControlTokens, backend: Backend) -> None:
    """Refuse ratios of a tokenizer that has not each control token as one token: the model cannot have learned it."""
    for token in tokens.all_tokens:
        if not backend.has_token(token):
            raise DataError(
                f"{settings.tokenizer or settings.model}: its tokenizer has no single token {token}, which {FILE_NAME} "
                "names; use the folder that was trained with it, or leave out --ratio"
            )


def _load(settings: RunSettings, tokens: ControlTokens | None) -> Backend:
    extra = "openai" if settings.server is not None else settings.backend
    try:
        if extra == "transformers":
            from .backends.hf import HFModel

            return HFModel(settings.model)
        if extra == "vllm":
            from .backends.vllm import VLLMModel

            return VLLMModel(
                settings.model,
                concurrency=settings.batch_size,
                tensor_parallel=settings.tensor_parallel,
                data_parallel=settings.data_parallel,
            )
        from .backends.openai import Server
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: pip install 'math-eval[{extra}]'") from error
    # "none" and not null, which vLLM takes as not given; the token that is wanted is in the message already.
    controls = {"chat_template_kwargs": {"ratio": "none"}, "skip_special_tokens": False} if tokens else {}
    return Server(
        settings.server or "",
        settings.base_url or "",
        concurrency=settings.batch_size,
        tokenizer=settings.tokenizer,
        extra=controls,
        requests_per_minute=settings.requests_per_minute,
        timeout_s=settings.timeout_s,
    )


def _model(settings: RunSettings) -> dict[str, Any]:
    """What identifies the model and how it is run, as JSON values."""
    if settings.server is not None:
        return {"model": settings.model}
    if settings.backend == "vllm":
        how = {"tensor_parallel": settings.tensor_parallel, "data_parallel": settings.data_parallel}
    else:
        how = {"batch_size": settings.batch_size}
    return {"backend": settings.backend, "model_sha256": model_sha256(Path(settings.model)), **how}


def _known(settings: RunSettings, tasks: list[Task], grader: Grader, model: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the samples and their verdicts, as JSON values."""
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
        **_tokenizer(settings),
        "grader": grader.description,
    }


def _tokenizer(settings: RunSettings) -> dict[str, Any]:
    """What is read of a server's tokenizer folder: how thinking tokens are counted, and what each request says."""
    if settings.tokenizer is None:
        return {}
    paths = (Path(settings.tokenizer, name) for name in ("tokenizer.json", FILE_NAME))
    return {"tokenizer_sha256": manifest.files_sha256(path for path in paths if path.is_file())}


def _check_environment(path: Path, environment: dict[str, str]) -> None:
    """Half a run made elsewhere is not continued: versions and devices change outputs."""
    before = parse_json(path.read_text("utf-8"), str(path)).get("environment", {})
    if changes := manifest.differences(before, environment):
        raise DataError(f"{path}: begun with another environment ({changes}); go back to that one, or --overwrite")


def _clear(folder: Path) -> None:
    for path in [folder / "results.json", *folder.glob("samples_*.jsonl"), folder / "manifest.json"]:
        path.unlink(missing_ok=True)
