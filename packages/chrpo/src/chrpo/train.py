"""`chrpo train`: one run from prompts to a checkpoint, which a kill interrupts and does not change.

The run works in `.OUT.partial` beside OUT; OUT appears when everything in it is complete. The algorithm is left to
`step`, the trainer to `trl`.

    train("prompts.jsonl", "checkpoints/chrpo", model="checkpoints/sft", settings=TrainSettings(max_steps=40))
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared import runs
from ._shared.checkpoint_files import check_checkpoint
from ._shared.checkpoint_settings import check_settings
from ._shared.control_tokens import ControlTokens
from ._shared.lock import locked
from ._shared.records import Row, read_placed
from ._shared.training_checkpoints import newest_complete, remove_incomplete
from .answer_format import AnswerFormat, default_grader, format_name
from .errors import DataError
from .grader import Grader
from .grading import function_name
from .metrics import COMPLETIONS_FOLDER, METRICS_FILE, read_metrics
from .plot import write_plot
from .prompts import WITHOUT_LADDER, completion_limit, control_tokens, request_of
from .settings import TrainSettings

if TYPE_CHECKING:
    from accelerate import PartialState

    from .trl.build import Job
    from .trl.trainer import CHRPOTrainer

COMMAND = "chrpo train"
REPORT_FILE = "training.html"
TENSORBOARD_FOLDER = "runs"
_PACKAGES = ("chrpo", "torch", "transformers", "trl", "accelerate", "math-verify")
_CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
_ROLLOUTS = 8
"""Number of rollouts per prompt without control tokens, that of GRPOConfig."""


def train(
    prompts: str | Path,
    out: str | Path,
    *,
    model: str | Path,
    settings: TrainSettings | None = None,
    overwrite: bool = False,
    grader: Grader | None = None,
    answer_format: AnswerFormat = "boxed",
    report_to: Sequence[str] = (),
    run_name: str | None = None,
    log_completions: int = 0,
    notify: Callable[[str], object] | None = None,
) -> bool:
    """Train a checkpoint and write it to `out`.

    A killed run continues from its newest complete checkpoint when it is started again, and ends with the same result.

    Args:
        prompts: Path of the RL prompts file.
        out: Folder to write: weights, tokenizer, control_tokens.json, manifest.json, metrics.jsonl, training.html.
        model: Folder of the checkpoint to start from; without control tokens, the whole response is shortened.
        settings: Settings of the run.
        overwrite: Replace a finished run, or a run of other settings, at `out`.
        grader: Function (completion, reference answer) -> True if correct; see `RolloutReader`.
        answer_format: Form of the answer; see `RolloutReader`.
        report_to: Trackers besides metrics.jsonl: "tensorboard", "trackio" or "wandb".
        run_name: Name of the run in the trackers; by default that of `out`.
        log_completions: Number of rollouts of each step to write, with what they earned, to `completions/`.
        notify: Function that gets lines about the run, such as the thinking format of the checkpoint.

    Returns:
        False if `out` was finished before, with the same settings and inputs.

    Raises:
        DataError: an input is unusable, or the output was made with other settings, was made by another program, or is
            being written by another process.
        ChrpoError: the grader failed, or no rollout of a step has the right form.
    """
    out, model, settings = Path(out), Path(model), settings or TrainSettings()
    grader = grader or default_grader(answer_format)
    _check_installed([*report_to, *(["vllm"] if settings.vllm else [])])
    process = _process()
    tokens = control_tokens(model)
    check_settings(check_checkpoint(model))  # before its files are read for their digest
    settings = _resolved(settings, rows := _read_prompts(prompts, tokens), tokens)
    recorded = _recorded(settings, grader, answer_format, prompts, model)
    # Every process has a lock of its own, so that every process of a second run is refused.
    with locked(out, process.process_index):
        work = runs.partial_path(out)
        state = _opened(process, out, recorded, overwrite)
        if state != "finished":
            from .trl.build import Job

            job = Job(model, work, rows, tokens, settings, grader, answer_format, process.num_processes, report_to)
            job = replace(job, run_name=run_name or out.name, log_completions=log_completions)
            _run(job, out, recorded, notify)
            process.wait_for_everyone()
    return state != "finished"


def _process() -> "PartialState":
    """The state of this process among those of the run, which are on GPUs if there are any."""
    from accelerate import PartialState
    from torch.cuda import is_available

    return PartialState(cpu=not is_available())


def _check_installed(packages: Sequence[str]) -> None:
    if find_spec("trl") is None:
        raise DataError("training needs TRL, which is not installed: pip install 'chrpo[trl]'")
    for package in packages:
        if find_spec(package) is None:
            raise DataError(f"{package} is not installed: pip install {package}, or run without it")


def _read_prompts(prompts: str | Path, tokens: ControlTokens | None) -> list[Row]:
    """The rows of the prompts file, of which each fits the control tokens."""
    placed = list(read_placed(prompts, "rl_prompts"))
    for where, row in placed:
        try:
            request_of(row, tokens)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    return [row for _, row in placed]


def _resolved(settings: TrainSettings, rows: Sequence[Row], tokens: ControlTokens | None) -> TrainSettings:
    return replace(
        settings,
        rollouts=settings.rollouts or (2 * len(tokens.ratios) if tokens else _ROLLOUTS),
        max_tokens=settings.max_tokens or completion_limit(rows),
    )


def _recorded(
    settings: TrainSettings, grader: Grader, answer_format: AnswerFormat, prompts: str | Path, model: Path
) -> dict[str, Any]:
    """Everything that the result depends on, as JSON values."""
    return {
        **asdict(settings),
        "grader": function_name(grader),
        **({} if answer_format == "boxed" else {"answer_format": format_name(answer_format)}),
        "inputs": {"prompts": runs.digest(prompts), "model": runs.digest(model, _CHECKPOINT_FILES)},
    }


def _opened(process: "PartialState", out: Path, recorded: Mapping[str, Any], overwrite: bool) -> runs.State:
    """The state of the output before this run; afterwards the partial folder is ready."""
    state = _state(out, runs.partial_path(out), recorded, overwrite)
    process.wait_for_everyone()
    if process.is_main_process:
        _open_work(out, recorded, state)
    process.wait_for_everyone()
    return state


def _state(out: Path, work: Path, recorded: Mapping[str, Any], overwrite: bool) -> runs.State:
    """The state of the output; the same on every process, because none has written yet."""
    runs.check_no_links(work)
    runs.remove_leftovers(out)
    state = runs.resolve_state(out / runs.MANIFEST, COMMAND, recorded, done=out, overwrite=overwrite)
    finished = state == "finished"
    partial = runs.resolve_state(work / runs.MANIFEST, COMMAND, recorded, done=None, overwrite=overwrite or finished)
    return state if finished else partial


def _open_work(out: Path, recorded: Mapping[str, Any], state: runs.State) -> None:
    work = runs.partial_path(out)
    if state == "partial":
        shutil.rmtree(work / "final", ignore_errors=True)
        return
    runs.remove_partial(out)
    if state == "new":
        runs.write_manifest(work / runs.MANIFEST, COMMAND, recorded, _PACKAGES)


def _run(job: "Job", out: Path, recorded: Mapping[str, Any], notify: Callable[[str], object] | None) -> None:
    """Train in the partial folder, from its newest checkpoint if it has one, and publish the result."""
    from accelerate import PartialState

    from .trl import lora
    from .trl.build import build_trainer

    process, work, final = PartialState(), job.folder, job.folder / "final"
    try:
        trainer = build_trainer(job)
    except DataError:
        if process.is_main_process and not any(work.glob("checkpoint-*")):
            runs.remove_partial(out)
        raise
    if process.is_main_process:
        if notify is not None:
            notify(f"thinking format: {trainer.reader.thinking_format}")
            if job.tokens is None:
                notify(WITHOUT_LADDER)
            notify(_epochs(len(job.rows), job.settings))
        remove_incomplete(work)
    process.wait_for_everyone()
    checkpoint = newest_complete(work)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    if job.settings.lora_rank is None:
        trainer.save_model(str(final))
    elif process.is_main_process:
        lora.save_merged(trainer.accelerator.unwrap_model(trainer.model), final)
    if process.is_main_process:
        _complete(trainer, final, job, recorded)
        runs.publish(final, out)
        runs.remove_partial(out)


def _epochs(prompts: int, settings: TrainSettings) -> str:
    """How often the run takes each prompt."""
    each = settings.prompts_per_step
    return (
        f"{prompts} prompts, {each} in a step: {prompts / each:.4g} steps take each once, and the run's "
        f"{settings.max_steps} steps {settings.max_steps * each / prompts:.3g} times"
    )


def _complete(trainer: "CHRPOTrainer", final: Path, job: "Job", recorded: Mapping[str, Any]) -> None:
    """Write everything beside the weights."""
    from transformers.utils import GENERATION_CONFIG_NAME

    (final / "training_args.bin").unlink(missing_ok=True)
    trainer.processing_class.save_pretrained(final)  # type: ignore[union-attr]
    trainer.save_beside(final)
    if (job.model / GENERATION_CONFIG_NAME).is_file():
        shutil.copy(job.model / GENERATION_CONFIG_NAME, final / GENERATION_CONFIG_NAME)
    shutil.copy(job.folder / METRICS_FILE, final / METRICS_FILE)
    for name in (TENSORBOARD_FOLDER, COMPLETIONS_FOLDER):
        if (job.folder / name).is_dir():
            shutil.copytree(job.folder / name, final / name)
    metrics = read_metrics(final)
    write_plot(final / REPORT_FILE, metrics)
    result = {"infeasible": trainer.controller.infeasible, "last": metrics[-1]}
    thinking = asdict(trainer.reader.thinking_format)
    runs.write_manifest(final / runs.MANIFEST, COMMAND, recorded, _PACKAGES, result=result, thinking_format=thinking)
