"""A run: complete every problem of every task at every ratio, grade, count, and write the run folder.

Requests are sorted by length and cut into fixed batches, each seeded by its own content; so a run that was killed and
resumed holds the same samples as an undisturbed one (latencies apart). A server gets its requests one by one, and each
sample is stored when it arrives. Loading models is left to `backends`.

    run(RunSettings(model="checkpoints/sft", tasks=("gsm8k",), ratios=(0.2, "policy")), "runs/sft", data_dir="data")
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import manifest
from .backends import Backend, BatchBackend, Completion, Sampling, StreamBackend
from .conditions import Ratio, dump_results, ratio_name
from .control import FILE_NAME, INSTRUCTION, ControlTokens, user_turn
from .errors import DataError
from .grading import Grader
from .records import Row, parse_json, validate, write_json
from .store import Store
from .tasks import Task, load_task
from .thinking import split_thinking

_SERVER = "openai:"
_HASHED_SUFFIXES = {".json", ".jinja", ".safetensors", ".txt", ".model"}


@dataclass(frozen=True)
class RunSettings:
    """What a run does.

    Args:
        model: a checkpoint folder, or `openai:NAME` for a model behind a server.
        tasks: built-in names or paths of problems files.
        ratios: numbers of the checkpoint's ladder, "policy", or None for no control token.
        samples: completions a problem.
        seed: of the sampling.
        temperature: 0 is greedy.
        top_p: nucleus mass.
        max_tokens: new tokens a completion may have.
        batch_size: requests generated together; it changes samples, as batches are seeded as a whole. For a server:
            requests in flight at once, which changes no sample.
        limit: first problems of each task, or None for all.
        instruction: put before each question.
        base_url: of the server.
        tokenizer: for a server: a folder with the model's tokenizer.json, and control_tokens.json if it follows ratios.
    """

    model: str
    tasks: tuple[str, ...]
    ratios: tuple[Ratio, ...] = (None,)
    samples: int = 1
    seed: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    batch_size: int = 32
    limit: int | None = None
    instruction: str = INSTRUCTION
    base_url: str | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        for name, number in (("samples", self.samples), ("batch-size", self.batch_size), ("limit", self.limit)):
            if number is not None and number < 1:
                raise DataError(f"{name} must be at least 1; got {number}")
        if self.seed < 0:
            raise DataError(f"seed must not be negative; got {self.seed}")
        if (self.server is None) != (self.base_url is None):
            raise DataError("a server needs both: --model openai:NAME and --base-url http://HOST:PORT/v1")
        if self.tokenizer is not None and self.server is None:
            raise DataError("--tokenizer is for servers; a checkpoint folder has its own")
        if self.samples > 1 and self.temperature == 0:
            raise DataError(f"{self.samples} samples at temperature 0 are all the same; set --temperature above 0")
        for name, values in (("task", self.tasks), ("ratio", self.ratios)):
            if not values:
                raise DataError(f"no {name} given; name at least one with --{name}s")
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise DataError(f"{name} {twice[0]} is given twice; name it once")

    @property
    def server(self) -> str | None:
        """The name of the model at the server, or None for a checkpoint folder."""
        return self.model.removeprefix(_SERVER) if self.model.startswith(_SERVER) else None

    @property
    def sampling(self) -> Sampling:
        """The decoding part."""
        return Sampling(self.max_tokens, self.temperature, self.top_p)


@dataclass(frozen=True)
class _Request:
    """One completion to make; `key` names everything that decides its content."""

    key: str
    problem: Row
    ratio: Ratio
    sample: int
    prompt: str
    length: int


def model_sha256(folder: Path) -> str:
    """The hash of the files of a checkpoint that change its outputs."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _HASHED_SUFFIXES:
            with path.open("rb") as file:
                digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


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
        backend: a loaded model; by default the checkpoint or the client is loaded when it is needed.

    Returns:
        the content of results.json, and whether it was there already.

    Raises:
        DataError: bad settings, tasks or checkpoint, or a folder made with other settings.
    """
    folder = Path(output_dir)
    sampling = settings.sampling
    tasks = [load_task(name, data_dir=data_dir, limit=settings.limit) for name in settings.tasks]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise DataError(f"two tasks are called {max(names, key=names.count)}; rename one file")
    tokens = _control_tokens(settings)
    with Grader() as grader:
        known = _known(settings, tasks, grader)
        path, done = folder / "manifest.json", folder / "results.json"
        state = manifest.settle(path, known, done=done, overwrite=overwrite)
        if state == "done":
            return parse_json(done.read_text("utf-8"), str(done)), True
        backend = backend or _load(settings, tokens)
        requests = {task.name: list(_requests(task, settings, tokens, backend, known)) for task in tasks}
        longest = max(request.length for some in requests.values() for request in some)
        backend.check_lengths(longest, sampling.max_tokens)
        if state == "resume":
            _check_environment(path, backend.environment)
        else:
            _clear(folder)
            more = {
                "seed": settings.seed,
                "model": settings.model,
                "base_url": settings.base_url,
                "environment": backend.environment,
            }
            manifest.write(path, "math-eval run", known, **more)
        with Store(folder, names) as store:
            for name in names:
                _complete(name, requests[name], settings, _Sink(store, backend, tokens, grader))
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
    if not asked and not (folder / FILE_NAME).is_file():
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model folder; check --model")
    tokens = ControlTokens.load(folder)
    for ratio in asked:
        tokens.token(ratio)
    return tokens


def _load(settings: RunSettings, tokens: ControlTokens | None) -> Backend:
    extra = "transformers" if settings.server is None else "openai"
    try:
        if settings.server is None:
            from .backends.hf import HFModel

            return HFModel(settings.model)
        from .backends.openai import Server
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: pip install 'math-eval[{extra}]'") from error
    controls = {"chat_template_kwargs": {"ratio": None}, "skip_special_tokens": False} if tokens else {}
    return Server(
        settings.server,
        settings.base_url or "",
        concurrency=settings.batch_size,
        tokenizer=settings.tokenizer,
        extra=controls,
    )


def _known(settings: RunSettings, tasks: list[Task], grader: Grader) -> dict[str, Any]:
    """Everything that decides the samples, as JSON values."""
    if settings.server is None:
        folder = Path(settings.model)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such model folder; check --model")
        model = {"model_sha256": model_sha256(folder), "batch_size": settings.batch_size}
    else:
        model = {"model": settings.model}
    return {
        **model,
        "tasks": {task.name: task.sha256 for task in tasks},
        "ratios": list(settings.ratios),
        "samples": settings.samples,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "limit": settings.limit,
        "instruction": settings.instruction,
        "grader": grader.description,
    }


def _check_environment(path: Path, environment: dict[str, str]) -> None:
    """Half a run made elsewhere is not continued: versions and devices change outputs."""
    before = parse_json(path.read_text("utf-8"), str(path)).get("environment")
    if before != environment:
        raise DataError(f"{path}: begun with {before}, continued with {environment}; go back to those, or --overwrite")


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in [folder / "results.json", *folder.glob("samples_*.jsonl"), folder / "manifest.json"]:
        path.unlink(missing_ok=True)


def _requests(
    task: Task, settings: RunSettings, tokens: ControlTokens | None, backend: Backend, known: dict[str, Any]
) -> Iterator[_Request]:
    """Every completion of a task, in the order of the final file."""
    shared = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    for ratio in settings.ratios:
        token = tokens.token(ratio) if tokens is not None and ratio is not None else None
        for problem in task.problems:
            prompt = backend.render(user_turn(problem["question"], token, settings.instruction))
            length = backend.length(prompt)
            for sample in range(settings.samples):
                identity = json.dumps([shared, task.name, problem["id"], ratio, sample])
                yield _Request(hashlib.sha256(identity.encode()).hexdigest(), problem, ratio, sample, prompt, length)


def _batches(requests: list[_Request], size: int) -> Iterator[list[_Request]]:
    """Requests of one ratio, longest first so that memory runs out at the start if at all."""
    for ratio in dict.fromkeys(request.ratio for request in requests):
        ordered = sorted(
            (request for request in requests if request.ratio == ratio), key=lambda one: (-one.length, one.key)
        )
        yield from (ordered[start : start + size] for start in range(0, len(ordered), size))


@dataclass(frozen=True)
class _Sink:
    """Where completions go: counted, graded, stored."""

    store: Store
    backend: Backend
    tokens: ControlTokens | None
    grader: Grader


def _complete(task: str, requests: list[_Request], settings: RunSettings, sink: _Sink) -> None:
    """Generate, grade and store every request of a task that is not there in full."""
    name = settings.server or Path(settings.model).resolve().name
    shared = {"task": task, "model": name, "seed": settings.seed}
    with tqdm(total=len(requests), desc=task, unit=" samples") as progress:
        if isinstance(sink.backend, StreamBackend):
            _from_server(sink.backend, requests, settings, sink, shared, progress)
        elif isinstance(sink.backend, BatchBackend):
            _in_batches(sink.backend, requests, settings, sink, shared, progress)


def _in_batches(
    backend: BatchBackend, requests: list[_Request], settings: RunSettings, sink: _Sink, shared: Row, progress: Any
) -> None:
    for batch in _batches(requests, settings.batch_size):
        progress.set_postfix_str(f"ratio {ratio_name(batch[0].ratio)}")
        if not all(request.key in sink.store.rows for request in batch):
            digest = hashlib.sha256("".join(request.key for request in batch).encode()).hexdigest()
            start = time.perf_counter()
            completions = backend.complete([one.prompt for one in batch], settings.sampling, int(digest[:15], 16))
            seconds = {"latency_s": round(time.perf_counter() - start, 4), "batch": digest[:16]}
            sink.store.append(shared["task"], _rows(batch, completions, shared | seconds, sink))
        progress.update(len(batch))


def _from_server(
    backend: StreamBackend, requests: list[_Request], settings: RunSettings, sink: _Sink, shared: Row, progress: Any
) -> None:
    """Longest prompts first; `wall_s` is the time since the previous arrival, so its sum is the time of the run."""
    missing = sorted(
        (one for one in requests if one.key not in sink.store.rows), key=lambda one: (-one.length, one.key)
    )
    progress.update(len(requests) - len(missing))
    if not missing:
        return
    previous = time.perf_counter()
    seeds = [int(request.key[:15], 16) for request in missing]
    with closing(backend.stream([one.prompt for one in missing], settings.sampling, seeds)) as arrivals:
        for index, completion, seconds in arrivals:
            request, arrived = missing[index], time.perf_counter()
            times = {"latency_s": round(seconds, 4), "wall_s": round(arrived - previous, 4), "batch": request.key[:16]}
            sink.store.append(shared["task"], _rows([request], [completion], shared | times, sink))
            progress.update(1)
            previous = arrived


def _rows(batch: list[_Request], completions: list[Completion], shared: Row, sink: _Sink) -> list[Row]:
    """The rows of the samples contract for some requests."""
    tokens, pairs = sink.tokens, zip(batch, completions, strict=True)
    verdicts = sink.grader.grade_many(
        [(completion.text, request.problem["answer"], request.prompt) for request, completion in pairs]
    )
    rows: list[Row] = []
    for request, completion, verdict in zip(batch, completions, verdicts, strict=True):
        thinking_tokens = completion.thinking_tokens
        if thinking_tokens is None:
            thinking = split_thinking(_after_choice(completion.text, tokens), request.prompt)
            thinking_tokens = sink.backend.count(thinking.text)
        row: Row = {
            **request.problem,
            "prompt": request.prompt,
            "completion": completion.text,
            "finish_reason": completion.finish_reason,
            "thinking_tokens": thinking_tokens,
            "completion_tokens": completion.tokens,
            "extracted": verdict.extracted,
            "verdict": verdict.verdict,
            "ratio": request.ratio,
            "chosen_ratio": tokens.leading_ratio(completion.text) if tokens is not None else None,
            "truncated": completion.finish_reason == "length",
            "sample": request.sample,
            **shared,
            "key": request.key,
        }
        rows.append(validate(row, "samples", f"sample {request.problem['id']}"))
    return rows


def _after_choice(completion: str, tokens: ControlTokens | None) -> str:
    """A completion without the ratio token that opens it, which is no thinking."""
    text = completion.lstrip()
    opening = next((name for name in tokens.ratios if text.startswith(name)), None) if tokens is not None else None
    return completion if opening is None else text.removeprefix(opening)
