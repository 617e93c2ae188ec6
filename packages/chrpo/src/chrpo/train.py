"""One CHRPO run from prompts to checkpoint: resumable, atomic, the same after a kill as without one.

Works in `.OUT.partial` beside OUT; OUT appears when everything in it is complete. The algorithm is in `trl`.

    train("prompts.jsonl", "checkpoints/chrpo", model="checkpoints/sft", settings=TrainSettings(steps=40))
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import lora, manifest
from ._shared.control_tokens import ControlTokens
from ._shared.lock import locked
from ._shared.records import Row, parse_json, read_records
from .core.constraint import Gains
from .errors import DataError
from .grader import Grader, grade
from .judge import Prompts
from .metrics import METRICS_FILE, read_metrics
from .objective import choose
from .plot import write_plot

if TYPE_CHECKING:
    from .trl import CHRPOTrainer

REPORT_FILE = "training.html"
TENSORBOARD_FOLDER = "runs"
_MOST_ROWS_CPU, _MOST_ROWS_GPU = 512, 16


@dataclass(frozen=True)
class TrainSettings:
    """Everything that changes the result.

    Args:
        steps: optimiser steps, each with fresh rollouts.
        prompts_per_step: prompts in a step, over all processes.
        rollouts: per prompt; None for twice as many as ratios, the least.
        learning_rate: of AdamW, constant.
        temperature: of the rollouts; take that of the samples the prompts were prepared from.
        max_tokens: longest completion, control token included; None for 1.5 times the longest reference.
        eps: accuracy that may be given up below the frozen model's.
        objective: name of what is optimised, see `objective.OBJECTIVES`.
        without: parts of it to leave out, see `objective.PARTS`.
        length_weight: of the length penalty; None for the objective's own.
        control_weight: of the control token; None for the objective's own.
        budget_step: lowers the cost that is paid for by this, from 1, while the floors hold; None pays for any saving.
        budget_hold: steps that the floors must hold before each.
        proportional: gain of the price on the violation; None for the trainer's own, as with the next two.
        integral: gain on its sum.
        derivative: gain on its growth.
        beta: weight of the KL penalty to the first checkpoint, on response tokens.
        lora_rank: rank of adapters, merged at the end; None trains all weights.
        vllm: "colocate" or "server" lets vLLM write the rollouts, as in TRL; None leaves it to transformers.
        save_steps: steps between checkpoints.
        rows_per_pass: rollouts in one forward and backward pass of one process; None for all of them on a CPU, at
            most 16 on a GPU.
        seed: of the order of prompts and of the rollouts.
    """

    steps: int = 100
    prompts_per_step: int = 16
    rollouts: int | None = None
    learning_rate: float = 1e-6
    temperature: float = 1.0
    max_tokens: int | None = None
    eps: float = 0.0
    objective: str = "chrpo"
    without: Sequence[str] = ()
    length_weight: float | None = None
    control_weight: float | None = None
    budget_step: float | None = None
    budget_hold: int = 20
    proportional: float | None = None
    integral: float | None = None
    derivative: float | None = None
    beta: float = 0.0
    lora_rank: int | None = None
    vllm: str | None = None
    save_steps: int = 25
    rows_per_pass: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("steps", "prompts_per_step", "rollouts", "save_steps", "learning_rate", "temperature", "lora_rank")
        for name in (*positive, "rows_per_pass"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise DataError(f"{name} must be positive; got {value}")
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{name} must be a finite number; got {value}")
        if self.seed < 0:
            raise DataError(f"seed must be 0 or more; got {self.seed}")
        if self.beta < 0:
            raise DataError(f"beta must be 0 or more; got {self.beta:g}")
        if self.vllm not in (None, "colocate", "server"):
            raise DataError(f"vllm must be colocate or server; got {self.vllm!r}")
        if self.max_tokens is not None and self.max_tokens < 2:
            raise DataError(f"max_tokens must be at least 2, a control token and an answer; got {self.max_tokens}")
        Gains(**self.gains)
        object.__setattr__(self, "without", sorted(set(self.without)))
        chosen = choose(
            self.objective,
            without=self.without,
            length_weight=self.length_weight,
            control_weight=self.control_weight,
        )
        if self.gains and not chosen.constrained:
            raise DataError(f"{', '.join(self.gains)}: this objective has no price of accuracy; leave the gains out")

    @property
    def gains(self) -> dict[str, Any]:
        """The gains that are not left to the trainer."""
        given = {name: getattr(self, name) for name in ("proportional", "integral", "derivative")}
        return {name: value for name, value in given.items() if value is not None}


def train(
    prompts: str | Path,
    out: str | Path,
    *,
    model: str | Path,
    settings: TrainSettings | None = None,
    overwrite: bool = False,
    grader: Grader = grade,
    report_to: Sequence[str] = (),
) -> bool:
    """Train a checkpoint and write it to `out`.

    Args:
        prompts: an RL prompts file.
        out: the folder to write: weights, tokenizer, control_tokens.json, manifest.json, metrics.jsonl, training.html.
        model: the checkpoint to start from, with its control tokens.
        settings: see `TrainSettings`.
        overwrite: replace an output, or an unfinished run, of other settings.
        grader: (completion, reference answer) -> right.
        report_to: "tensorboard", "trackio" or "wandb", besides metrics.jsonl.

    Returns:
        False if `out` was already there, made with the same settings from the same inputs.

    Raises:
        DataError: bad input, or an output made with other settings or being written by another process.
    """
    out, model, settings = Path(out), Path(model), settings or TrainSettings()
    _check_installed([*report_to, *(["vllm"] if settings.vllm else [])])
    from accelerate import PartialState
    from torch.cuda import is_available

    process = PartialState(cpu=not is_available())
    tokens = ControlTokens.load(model)
    _check_weights(model)
    rows = list(read_records(prompts, "rl_prompts"))
    _check_prompts(prompts, rows, tokens)
    settings = _resolved(settings, rows, len(tokens.ratios))
    judged_by = f"{grader.__module__}.{getattr(grader, '__qualname__', type(grader).__qualname__)}"
    wanted = manifest.describe({**asdict(settings), "grader": judged_by}, {"prompts": prompts, "model": model})
    # A lock for each process, so that every one of a second run is refused.
    with locked(out, process.process_index):
        work = out.with_name(f".{out.name}.partial")
        done = _finished(out, wanted, overwrite)
        if not done:
            _unfinished(work, wanted, overwrite)
        process.wait_for_everyone()
        if done:
            if process.is_main_process and work.exists():
                shutil.rmtree(work)
            return False
        if process.is_main_process:
            _open_work(work, wanted)
        process.wait_for_everyone()

        try:
            trainer = _trainer(model, work, rows, tokens, settings, grader, process.num_processes, report_to)
        except DataError:
            if process.is_main_process and not any(work.glob("checkpoint-*")):
                shutil.rmtree(work, ignore_errors=True)
            raise
        checkpoint = _newest_complete(work, clean=process.is_main_process)
        process.wait_for_everyone()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

        final = work / "final"
        if settings.lora_rank is None:
            trainer.save_model(str(final))
        elif process.is_main_process:
            lora.save_merged(trainer.accelerator.unwrap_model(trainer.model), final)
        if process.is_main_process:
            _finish(trainer, final, work, tokens, wanted)
            if out.exists():
                shutil.rmtree(out)
            final.replace(out)
            shutil.rmtree(work)
        process.wait_for_everyone()
        return True


def _check_installed(packages: Sequence[str]) -> None:
    if find_spec("trl") is None:
        raise DataError("training needs TRL, which is not installed: pip install 'chrpo[trl]'")
    for package in packages:
        if find_spec(package) is None:
            raise DataError(f"{package} is not installed: pip install {package}, or leave it out")


def _check_prompts(prompts: str | Path, rows: Sequence[Row], tokens: ControlTokens) -> None:
    for number, row in enumerate(rows, 1):
        try:
            Prompts.of([row], tokens)
        except DataError as error:
            raise DataError(f"{prompts}:{number}: {error}") from error


def _check_weights(model: Path) -> None:
    if not any(model.glob("*.safetensors")):
        pickled = sorted(path.name for path in model.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl"})
        found = f"only pickle weights ({', '.join(pickled)}), which can run code" if pickled else "no weights"
        raise DataError(f"{model}: {found}; save the model as safetensors")


def _resolved(settings: TrainSettings, rows: Sequence[Row], ratios: int) -> TrainSettings:
    longest = max(int(row.get("reference_completion_tokens", row["reference_tokens"])) for row in rows)
    return replace(
        settings,
        rollouts=settings.rollouts or 2 * ratios,
        max_tokens=settings.max_tokens or longest + longest // 2 + 8,
    )


def _finished(out: Path, wanted: dict[str, Any], overwrite: bool) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    path = out / manifest.FILE_NAME
    found = manifest.read(path) if path.is_file() else {}
    if found.get("command") != manifest.COMMAND:
        raise DataError(f"{out}: is there and was not written by chrpo train; choose another output folder")
    changes = manifest.differing(found, wanted)
    if changes and not overwrite:
        raise DataError(f"{out}: made with other settings ({'; '.join(changes)}); --overwrite replaces it")
    return not changes


def _unfinished(work: Path, wanted: dict[str, Any], overwrite: bool) -> None:
    if (work / manifest.FILE_NAME).is_file() and not overwrite:
        changes = manifest.differing(manifest.read(work / manifest.FILE_NAME), wanted)
        if changes:
            raise DataError(
                f"{work}: an unfinished run with other settings ({'; '.join(changes)}); finish it with those, "
                "or start anew with --overwrite"
            )


def _open_work(work: Path, wanted: dict[str, Any]) -> None:
    path = work / manifest.FILE_NAME
    if work.exists() and (not path.is_file() or manifest.differing(manifest.read(path), wanted)):
        shutil.rmtree(work)
    if not path.is_file():
        manifest.write(path, wanted)
    if (work / "final").exists():
        shutil.rmtree(work / "final")


def _newest_complete(work: Path, *, clean: bool) -> Path | None:
    """The newest checkpoint whose state file, written last, is there; torn ones are removed if `clean`."""
    from .trl import STATE_FILE

    complete: dict[int, Path] = {}
    for folder in work.glob("checkpoint-*"):
        try:
            step = parse_json((folder / STATE_FILE).read_text("utf-8"), str(folder / STATE_FILE))["step"]
            complete[step] = folder
        except (OSError, DataError):
            if clean:
                shutil.rmtree(folder)
    return complete[max(complete)] if complete else None


def _trainer(
    model: Path,
    work: Path,
    rows: list[Row],
    tokens: ControlTokens,
    settings: TrainSettings,
    grader: Grader,
    processes: int,
    report_to: Sequence[str],
) -> "CHRPOTrainer":
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from transformers.utils.logging import disable_progress_bar

    from .progress import ProgressBar
    from .trl import CHRPOConfig, CHRPOTrainer

    gpu = torch.cuda.is_available()
    rollouts = int(settings.rollouts or 0)
    share, left = divmod(settings.prompts_per_step * rollouts, processes)
    if left:
        raise DataError(
            f"{settings.prompts_per_step} prompts x {rollouts} rollouts do not divide among {processes} "
            "processes; change one of them"
        )
    rows_per_pass = settings.rows_per_pass or _largest_divisor(share, _MOST_ROWS_GPU if gpu else _MOST_ROWS_CPU)
    if share % rows_per_pass:
        raise DataError(f"rows_per_pass is {rows_per_pass}; it must divide the {share} rollouts of a process and step")
    args = CHRPOConfig(
        output_dir=str(work),
        max_steps=settings.steps,
        num_generations=rollouts,
        per_device_train_batch_size=rows_per_pass,
        gradient_accumulation_steps=share // rows_per_pass,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        temperature=settings.temperature,
        top_p=1.0,
        top_k=0,
        max_completion_length=(settings.max_tokens or 0) - 1,
        eps=settings.eps,
        objective=settings.objective,
        without=list(settings.without),
        length_weight=settings.length_weight,
        control_weight=settings.control_weight,
        budget_step=settings.budget_step,
        budget_hold=settings.budget_hold,
        **{f"price_{name}": gain for name, gain in settings.gains.items()},
        beta=settings.beta,
        use_vllm=settings.vllm is not None,
        vllm_mode=settings.vllm or "colocate",
        save_strategy="steps",
        save_steps=min(settings.save_steps, settings.steps),
        save_total_limit=2,
        logging_steps=1,
        report_to=list(report_to) or "none",
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=gpu,
        activation_checkpointing=gpu,
        seed=settings.seed,
    )
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left", local_files_only=True)
    try:
        weights = AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    except SafetensorError as error:
        raise DataError(f"{model}: unreadable weights ({error}); are they torn? copy the model again") from error
    if settings.lora_rank is not None:
        weights = lora.wrap(weights, settings.lora_rank, seed=settings.seed)
    trainer = CHRPOTrainer(
        weights,
        args,
        prompts=rows,
        control_tokens=tokens,
        processing_class=tokenizer,
        grader=grader,
        callbacks=[ProgressBar()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _largest_divisor(number: int, most: int) -> int:
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)


def _finish(trainer: "CHRPOTrainer", final: Path, work: Path, tokens: ControlTokens, wanted: dict[str, Any]) -> None:
    (final / "training_args.bin").unlink(missing_ok=True)
    trainer.processing_class.save_pretrained(final)  # type: ignore[union-attr]
    tokens.save(final)
    shutil.copy(work / METRICS_FILE, final / METRICS_FILE)
    if (work / TENSORBOARD_FOLDER).is_dir():
        shutil.copytree(work / TENSORBOARD_FOLDER, final / TENSORBOARD_FOLDER)
    metrics = read_metrics(final)
    write_plot(final / REPORT_FILE, metrics)
    result = {"infeasible": trainer.infeasible, "last": metrics[-1]}
    manifest.write(final / manifest.FILE_NAME, {**wanted, "result": result})
