"""Requests and their rows: the completions of a task, each one generated, counted, graded and stored.

Requests are sorted by length. A backend that works in batches gets the same batches every time, and a batch's seed is
the hash of its content. A backend that takes requests one by one gets a seed with each request, and each sample is
stored when it arrives. Opening and closing the run folder is left to `run`.

    prompts = render_prompts([task], settings, tokens, backend, thinking)
    requests = list(list_requests(task, settings, tokens, backend, model, prompts))
    complete(task.name, requests, Sink(store, backend, tokens, grader, thinking, settings))
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ._shared.control_tokens import ControlTokens, user_turn
from ._shared.progress import progress_bar
from ._shared.records import Row, validate
from ._shared.thinking import ThinkingFormat, split_thinking
from .backends import Backend, BatchBackend, Completion, Sampling, StreamBackend
from .errors import DataError
from .fingerprint import thinking_settings
from .grading import Grader
from .ratio import Ratio, ratio_name
from .settings import RunSettings
from .store import Store
from .tags import as_graded, own_text
from .tasks import Task
from .thinking_modes import ThinkingMode

_MOST_REFUSED = 100
"""Number of refused requests, without a completed one, after which no others are sent."""


@dataclass(frozen=True)
class Request:
    """One completion to generate.

    Args:
        key: Hash of everything that decides the text of the completion.
        problem: The problem, a row of the `problems` contract.
        ratio: The requested ratio.
        seed: The run's seed that the sample belongs to.
        sample: Number of the sample among those of this problem, ratio and seed.
        prompt: The rendered prompt.
        length: Length of the prompt, in tokens (in characters for a server).
    """

    key: str
    problem: Row
    ratio: Ratio
    seed: int
    sample: int
    prompt: str
    length: int

    @property
    def number(self) -> int:
        """The request's own random seed: 60 bits of the key."""
        return int(self.key[:15], 16)


@dataclass(frozen=True)
class Sink:
    """The parts that turn completions into stored rows.

    Args:
        store: The files that the rows are appended to.
        backend: The model, whose tokenizer counts the thinking.
        tokens: The checkpoint's control tokens, or None.
        grader: The grader of the answers.
        thinking: Tags around the model's thinking.
        settings: Settings of the run.
    """

    store: Store
    backend: Backend
    tokens: ControlTokens | None
    grader: Grader
    thinking: ThinkingFormat
    settings: RunSettings

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen, and where thinking stops."""
        mode = self.settings.mode
        return replace(self.settings.sampling, stop=None if mode is None else mode.stop(self.thinking))


def render_prompts(
    tasks: list[Task],
    settings: RunSettings,
    tokens: ControlTokens | None,
    backend: Backend,
    thinking: ThinkingFormat,
) -> dict[str, str]:
    """The prompt for every user turn of a run; all are rendered at once, since a chat template runs under limits.

    Raises:
        DataError: The chat template fails, or passes a limit.
    """
    problems = [problem for task in tasks for problem in task.problems]
    turns = (_turn(problem, ratio, settings, tokens) for ratio in settings.ratios for problem in problems)
    each = list(dict.fromkeys(turns))
    empty = thinking if settings.mode is not None and settings.mode.empty else None
    return dict(zip(each, backend.render(each, empty), strict=True))


def _turn(problem: Row, ratio: Ratio, settings: RunSettings, tokens: ControlTokens | None) -> str:
    asked = tokens.request(ratio) if tokens is not None and ratio is not None else None
    instruction = settings.instruction if settings.mode is None else settings.mode.instruction(settings.instruction)
    return user_turn(problem["question"], asked, instruction)


def list_requests(
    task: Task,
    settings: RunSettings,
    tokens: ControlTokens | None,
    backend: Backend,
    model: dict[str, Any],
    prompts: Mapping[str, str],
) -> Iterator[Request]:
    """Every completion of a task, in the order of the final file.

    A key is the hash of the model, the task, the decoding, the prompt and the sample's number. The sampling seeds are
    taken from it, so its ingredients and their order stay as they are.

    Args:
        task: The task.
        settings: Settings of the run: ratios, seeds, samples and decoding.
        tokens: The checkpoint's control tokens, or None.
        backend: The model, which measures the prompts.
        model: Identity of the model and how it is run, as JSON values.
        prompts: `render_prompts(…)`.
    """
    shared = [model, task.name, task.sha256, settings.temperature, settings.top_p, settings.max_tokens]
    shared += thinking_settings(settings).values()
    for ratio in settings.ratios:
        for seed in settings.seeds:
            for problem in task.problems:
                prompt = prompts[_turn(problem, ratio, settings, tokens)]
                length = backend.length(prompt)
                for sample in range(settings.samples):
                    identity = json.dumps([*shared, problem["id"], prompt, ratio, seed, sample], sort_keys=True)
                    key = hashlib.sha256(identity.encode()).hexdigest()
                    yield Request(key, problem, ratio, seed, sample, prompt, length)


def own_requests(
    requests: Mapping[str, list[Request]], settings: RunSettings, backend: Backend
) -> dict[str, list[Request]]:
    """The requests of the settings' shard, all of them without one; a batch is never split, so its seed stays.

    Args:
        requests: Every request of the run by task.
        settings: Settings of the run: the shard and the size of a batch.
        backend: The model, which works in batches or not.
    """
    if settings.shard is None:
        return dict(requests)
    size = 1 if isinstance(backend, StreamBackend) else settings.batch_size
    batches = (batch for some in requests.values() for batch in _batches(some, size))
    own = {one.key for batch in islice(batches, settings.shard.number - 1, None, settings.shard.total) for one in batch}
    return {task: [one for one in some if one.key in own] for task, some in requests.items()}


def complete(task: str, requests: list[Request], sink: Sink) -> None:
    """Generate, grade and store every request of a task that is not stored yet."""
    there = sum(request.key in sink.store.rows for request in requests)
    name = f"{task} (resumed)" if there else task
    with progress_bar(total=len(requests), initial=there, desc=name, unit=" samples") as progress:
        shared = {"task": task, "model": sink.settings.server or Path(sink.settings.model).resolve().name}
        if isinstance(sink.backend, StreamBackend):
            _one_by_one(sink.backend, requests, sink, shared, progress)
        elif isinstance(sink.backend, BatchBackend):
            _in_batches(sink.backend, requests, sink, shared, progress)


def _batches(requests: list[Request], size: int) -> Iterator[list[Request]]:
    """Batches of one ratio and seed, the longest prompts first: if memory runs out, it does so at the start."""
    for group in dict.fromkeys((request.ratio, request.seed) for request in requests):
        ordered = _longest_first(request for request in requests if (request.ratio, request.seed) == group)
        yield from (ordered[start : start + size] for start in range(0, len(ordered), size))


def _longest_first(requests: Iterable[Request]) -> list[Request]:
    return sorted(requests, key=lambda one: -one.length)


def _in_batches(backend: BatchBackend, requests: list[Request], sink: Sink, shared: Row, progress: Any) -> None:
    for batch in _batches(requests, sink.settings.batch_size):
        there = sum(request.key in sink.store.rows for request in batch)
        if there == len(batch):
            continue
        progress.set_postfix_str(f"ratio {ratio_name(batch[0].ratio)}, seed {batch[0].seed}")
        digest = hashlib.sha256("".join(request.key for request in batch).encode()).hexdigest()
        start = time.perf_counter()
        completions = backend.complete([one.prompt for one in batch], sink.sampling, int(digest[:15], 16))
        seconds = {"latency_s": round(time.perf_counter() - start, 4), "batch": digest[:16]}
        sink.store.append(shared["task"], _rows(batch, completions, shared | seconds, sink))
        progress.update(len(batch) - there)


def _one_by_one(backend: StreamBackend, requests: list[Request], sink: Sink, shared: Row, progress: Any) -> None:
    """Longest prompts first; `wall_s` is the time since the previous arrival, so its sum is the time of the run.

    Refused requests are stored only once another one has been completed: otherwise the fault is not theirs.
    """
    missing = _longest_first(one for one in requests if one.key not in sink.store.rows)
    answered = any("refused" not in row for row in sink.store.rows.values())
    waiting: list[Row] = []
    previous = time.perf_counter()
    prompts, seeds = [one.prompt for one in missing], [one.number for one in missing]
    with closing(backend.stream(prompts, sink.sampling, seeds)) as arrivals:
        for index, completion, seconds in arrivals:
            request, arrived = missing[index], time.perf_counter()
            times = {"latency_s": round(seconds, 4), "wall_s": round(arrived - previous, 4), "batch": request.key[:16]}
            waiting += _rows([request], [completion], shared | times, sink)
            previous = arrived
            answered = answered or completion.refused is None
            if answered:
                sink.store.append(shared["task"], waiting)
                progress.update(len(waiting))
                waiting = []
            elif len(waiting) == _MOST_REFUSED:
                break
    if waiting:
        raise DataError(
            f"{waiting[0]['server']}: the server refuses every request, {len(waiting)} of {len(missing)} so far: "
            f"{waiting[0]['refused']}; change the settings that it names"
        )


def _rows(batch: list[Request], completions: list[Completion], shared: Row, sink: Sink) -> list[Row]:
    """The rows of the samples contract for some requests."""
    tokens, pairs = sink.tokens, zip(batch, completions, strict=True)
    verdicts = sink.grader.grade_many(
        [
            (text, request.problem["answer"], prompt)
            for request, completion in pairs
            for text, prompt in [as_graded(completion.text, request.prompt, sink.thinking)]
        ]
    )
    rows: list[Row] = []
    for request, completion, verdict in zip(batch, completions, verdicts, strict=True):
        written = completion.text if tokens is None else tokens.without_token(completion.text)
        own = own_text(written, completion.closing_text, sink.thinking)
        thinking = split_thinking(own, request.prompt, sink.thinking).text
        thinking_tokens = completion.thinking_tokens
        row: Row = {
            **request.problem,
            "prompt": request.prompt,
            "completion": completion.text,
            "finish_reason": completion.finish_reason,
            "thinking_tokens": sink.backend.count(thinking) if thinking_tokens is None else thinking_tokens,
            "thinking_chars": len(thinking),
            "first_correct_chars": sink.grader.first_correct(thinking, request.problem["answer"]),
            "completion_tokens": completion.tokens,
            "extracted": verdict.extracted,
            "verdict": verdict.verdict,
            "ratio": request.ratio,
            "chosen_ratio": tokens.leading_ratio(completion.text) if tokens is not None else None,
            "truncated": completion.finish_reason == "length",
            "seed": request.seed,
            "sample": request.sample,
            **shared,
            "key": request.key,
        }
        row |= _of_mode(completion, row["thinking_tokens"], sink.settings.mode)
        if completion.refused is not None:
            row |= {"verdict": "error", "refused": completion.refused}
        rows.append(validate(row, "samples", f"sample {request.problem['id']}"))
    return rows


def _of_mode(completion: Completion, thinking_tokens: int, mode: ThinkingMode | None) -> Row:
    """What only some rows have: what a way to think less wrote, whether its limit held, and the server."""
    limit = None if mode is None else mode.limit
    found = {
        "closing_text": completion.closing_text,
        "trial_tokens": completion.trial_tokens,
        "over_budget": (limit is not None and thinking_tokens > limit) or None,
        "limit_ignored": completion.limit_ignored or None,
        "server": completion.server,
    }
    return {name: value for name, value in found.items() if value is not None}
