"""`ratio-sft train`: fine-tuning on a built mixture with TRL's SFTTrainer, resumable, by one or several processes.

All weights are trained, or LoRA adapters that are merged at the end. Rows are encoded once, before training. Encoded
rows, checkpoints and the final folder are in `.OUT.partial`, which every process must see, until the run is complete.

    report = train("mix", "checkpoints/sft", TrainSettings(model="checkpoints/base"))
    report["heldout_loss"]["fixed 0.2"]         # nats per completion token
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio_sft._shared.checkpoint_files import check_checkpoint
from ratio_sft._shared.checkpoint_settings import check_settings
from ratio_sft._shared.control_tokens import FILE_NAME as LADDER
from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.lock import locked
from ratio_sft._shared.records import Row, Tally, read_object, write_json, write_records
from ratio_sft._shared.row_files import content_digest
from ratio_sft._shared.runs import (
    MANIFEST,
    State,
    check_no_links,
    differing,
    digest,
    partial_path,
    publish,
    read_manifest,
    remove_leftovers,
    remove_partial,
    resolve_state,
    write_manifest,
)
from ratio_sft._shared.thinking import ThinkingFormat
from ratio_sft._shared.thinking_formats import format_of, save_format
from ratio_sft._shared.training_checkpoints import (
    check_sound,
    newest_complete,
    read_state,
    remove_incomplete,
    tensors_only,
)
from ratio_sft.data.row_file import RowFile
from ratio_sft.errors import DataError
from ratio_sft.model import checkpoints, lora, template, tokens
from ratio_sft.settings import RECORDED_PACKAGES, TrainSettings

from .encoding import encode
from .row_checks import check_rows

if TYPE_CHECKING:
    from accelerate import PartialState
    from datasets import Dataset

    from .trainer import RatioTrainer

REPORT = "train_report.json"
LOG = "train_log.jsonl"
FOLLOW_LOG = "follow_log.jsonl"
_COMMAND = "ratio-sft train"
_LOGGED = ("step", "epoch", "loss", "grad_norm", "learning_rate", "mean_token_accuracy", "entropy")


@dataclass
class _Run:
    """The inputs and places of a run."""

    data: Path
    rows: dict[str, RowFile]
    out: Path
    settings: TrainSettings
    tally: Tally = field(default_factory=Tally)
    """Counter of the rows read and rejected, on the main process."""

    @property
    def partial(self) -> Path:
        return partial_path(self.out)

    @property
    def checkpoints(self) -> Path:
        return self.partial / "checkpoints"


def train(
    data: str | Path,
    out: str | Path,
    settings: TrainSettings,
    *,
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> Row:
    """Train the model on a folder of `build`. A finished folder of the same settings is left alone.

    A killed run continues from its newest complete checkpoint and ends with the weights of an uninterrupted one.

    Args:
        data: Folder with `train.jsonl` and, if questions were held out, `heldout.jsonl`, or folders of shards in their
            place.
        out: Checkpoint folder to write; it appears when it is complete.
        settings: Settings of the run.
        overwrite: Replace what other settings made, and train again if the folder is finished.
        notify: Function that gets a line about the work before it, the thinking format of the model; the main process
            calls it.

    Returns:
        The training report; `already_finished` is true in it if nothing was done.

    Raises:
        DataError: TRL is not installed, the data or the model folder is unusable, another program or other settings
            made `out`, or another process is writing it.
        RatioSftError: the loss is not finite.
    """
    if find_spec("trl") is None:
        raise DataError("training needs TRL, which is not installed: pip install 'ratio-sft[train]'")
    data, out = Path(data), Path(out)
    check_settings(check_checkpoint(settings.model))
    rows = {name: RowFile(path, "sft") for name, path in _row_paths(data).items()}
    run = _Run(data, rows, out, settings)
    state = _processes()
    made_from = _made_from(run, state.num_processes)
    # One lock for each process, so that every process of a second run is refused.
    with locked(out, state.process_index):
        found = _output_state(run, made_from, overwrite)
        state.wait_for_everyone()
        if found == "finished":
            if state.is_main_process:
                _remove_leftover(run, made_from)
            return {**read_object(out / REPORT), "already_finished": True}
        if state.is_main_process:
            if found == "new":
                remove_partial(out)
            write_manifest(run.partial / MANIFEST, _COMMAND, made_from, packages=RECORDED_PACKAGES)
            remove_incomplete(run.checkpoints)
        state.wait_for_everyone()
        try:
            return _train(run, notify if state.is_main_process else None)
        except DataError:
            if state.is_main_process and newest_complete(run.checkpoints) is None:
                remove_partial(out)
            raise


def _output_state(run: _Run, made_from: Row, overwrite: bool) -> State:
    """`finished`: the checkpoint folder is complete; `partial`: a killed run can be continued; else `new`."""
    check_no_links(run.partial)
    remove_leftovers(run.out)
    if resolve_state(run.out / MANIFEST, _COMMAND, made_from, done=run.out, overwrite=overwrite) == "finished":
        return "finished"
    return resolve_state(run.partial / MANIFEST, _COMMAND, made_from, done=None, overwrite=overwrite)


def _remove_leftover(run: _Run, made_from: Row) -> None:
    """Remove the working folder of a run that was killed after its checkpoint had appeared."""
    manifest = run.partial / MANIFEST
    if manifest.is_file() and not differing(read_manifest(manifest)["settings"], made_from):
        remove_partial(run.out)


def _row_paths(data: Path) -> dict[str, Path]:
    """The file or folder of each kind of rows; those held out may be absent."""
    files = {name: data / f"{name}.jsonl" for name in ("train", "heldout")}
    found = {
        name: data / name if (data / name).is_dir() and not file.exists() else file for name, file in files.items()
    }
    return {name: path for name, path in found.items() if name == "train" or path.is_dir() or path.is_file()}


def _processes() -> "PartialState":
    """The processes of this run; accelerate joins processes without a GPU only if it is asked for the CPU."""
    from accelerate import PartialState
    from torch.accelerator import is_available

    return PartialState(cpu=not is_available())


def _made_from(run: _Run, processes: int) -> Row:
    """The settings with digests in place of paths, so that a moved folder is the same input."""
    settings = asdict(run.settings)
    trackers = settings["report_to"]
    settings["report_to"] = list(trackers) if len(trackers) > 1 else next(iter(trackers), None)
    model = f"{Path(run.settings.model).resolve().name} {digest(run.settings.model)[:16]}"
    paths = {name: Path(rows.path) for name, rows in run.rows.items()}
    files = {name: content_digest(path) if path.is_dir() else digest(path) for name, path in paths.items()}
    if (run.data / LADDER).is_file():
        files[LADDER] = digest(run.data / LADDER)
    return {**settings, "model": model, "data": files, "processes": processes}


def _train(run: _Run, notify: Callable[[str], object] | None) -> Row:
    """Encode, train or continue, measure, save. Every process does the same; only the main one writes."""
    from accelerate.utils import broadcast_object_list
    from transformers.utils.logging import disable_progress_bar

    from ratio_sft.evaluation.choice import chosen_ratios, policy_questions

    from .trainer import build_trainer

    disable_progress_bar()
    resume = newest_complete(run.checkpoints)
    if resume:
        check_sound(resume)
    history = _finished_history(resume) if resume else None
    model, tokenizer, ladder = _load(run)
    thinking = format_of(tokenizer, run.settings.thinking_format)
    if notify is not None:
        notify(f"thinking format: {thinking}")
    encoded = _encode(run, model, tokenizer, ladder, thinking)
    model = _trainable(model, run.settings, resume if history is not None else None)
    check = _follow_check(run, tokenizer, ladder, thinking) if run.settings.follow else None
    trainer = build_trainer(model, tokenizer, encoded["train"], run.settings, run.checkpoints, check)
    if history is None:
        with tensors_only(resume):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        history = trainer.state.log_history
    logs = _logs(history)
    report = {**_report(run, trainer, encoded, logs), "thinking_format": str(thinking)}
    questions = policy_questions(run.rows.get("heldout", run.rows["train"]), ladder)
    places = {"device": trainer.accelerator.device, "batch_size": run.settings.batch_size}
    report["chosen_ratios"] = chosen_ratios(trainer.model, tokenizer, questions, ladder, **places)
    trainer.accelerator.wait_for_everyone()
    weights = checkpoints.gather_weights(trainer)
    if trainer.accelerator.is_main_process:
        final = run.partial / "final"
        shutil.rmtree(final, ignore_errors=True)
        if run.settings.lora_rank is not None:
            model = lora.merge(model)
        checkpoints.save_model(model, final, like=run.settings.model, weights=weights)
        tokenizer.save_pretrained(final)
        ladder.save(final)
        save_format(thinking, final)
        _write_logs(run, final, report, logs)
        publish(final, run.out)
        remove_partial(run.out)
    return broadcast_object_list([report])[0]


def _finished_history(checkpoint: Path) -> list[Any] | None:
    """The log of a checkpoint of a run's last step, or None if steps are left to do."""
    state = read_state(checkpoint)
    return state["log_history"] if state["global_step"] >= state["max_steps"] else None


def _load(run: _Run) -> tuple[Any, Any, ControlTokens]:
    """Model and tokenizer with control tokens and chat template, and the ladder."""
    model, tokenizer = checkpoints.load_model(run.settings.model)
    ladder = tokens.installed(run.settings.model, tokenizer)
    if ladder is None:
        ladder = _ladder(run)
        tokens.add_control_tokens(model, tokenizer, ladder, seed=run.settings.seed)
    else:
        template.install(tokenizer, ladder)
    return model, tokenizer, ladder


def _ladder(run: _Run) -> ControlTokens:
    """The ladder of the rows: the one that `build` wrote beside them, or else their ratios."""
    if (run.data / LADDER).is_file():
        return ControlTokens.load(run.data)
    return ControlTokens.ladder({row["ratio"] for row in run.rows["train"]})


def _encode(
    run: _Run, model: Any, tokenizer: Any, ladder: ControlTokens, thinking: ThinkingFormat
) -> dict[str, "Dataset"]:
    """The encoded rows by name. Every process checks the rows; the main one encodes and counts them."""
    from . import encoded_file

    check_rows(run.rows, ladder, thinking, tokenizer)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    end = template.end_of_turn(tokenizer, checkpoints.end_ids(model, tokenizer))
    files = {name: run.partial / f"{name}.arrow" for name in run.rows}
    state = _processes()
    if state.is_main_process:
        for name, found in run.rows.items():
            length = run.settings.max_length
            limits = {"max_length": length, "context": context, "end": end}
            written = encode(tokenizer, found, ladder, thinking, **limits, tally=run.tally)
            encoded_file.write(files[name], written)
    state.wait_for_everyone()
    encoded = {name: encoded_file.read(path) for name, path in files.items()}
    if not len(encoded["train"]):
        raise DataError(f"{run.data}: no row is usable: {run.tally.summary()}")
    return encoded


def _trainable(model: Any, settings: TrainSettings, finished: Path | None) -> Any:
    """The model to train; with the weights of the checkpoint `finished` if no steps are left."""
    if settings.lora_rank is None:
        return checkpoints.load_weights(finished) if finished else model
    wrapped = lora.wrap(model, settings.lora_rank, seed=settings.seed)
    if finished:
        lora.load(wrapped, finished)
    return wrapped


def _follow_check(run: _Run, tokenizer: Any, ladder: ControlTokens, thinking: ThinkingFormat) -> Any:
    """A function of the trainer that answers held-out questions at every ratio and returns the figures."""
    from ratio_sft.evaluation.check import check_following, select_questions

    questions = select_questions(run.rows.get("heldout", []), ladder, thinking, run.settings.follow)
    if not questions:
        raise DataError(
            f"{run.data}: no held-out question has a row of every ratio; hold out more questions, or leave out --follow"
        )

    def check(trainer: "RatioTrainer") -> dict[str, float]:
        whole: Any = trainer.accelerator.unwrap_model(trainer.model)  # type: ignore[arg-type]
        size = run.settings.batch_size
        accelerator = trainer.accelerator
        return check_following(whole, tokenizer, questions, ladder, thinking, accelerator=accelerator, batch_size=size)

    return check


def _logs(history: list[Any]) -> tuple[list[Row], list[Row]]:
    """The entries of the loss, and those of the check of ratio following under the figures' own names."""
    from .callbacks import FOLLOWING

    losses = [{key: entry[key] for key in _LOGGED if key in entry} for entry in history if "loss" in entry]
    followed = [
        {
            "step": entry["step"],
            **{name.removeprefix(FOLLOWING): value for name, value in entry.items() if name.startswith(FOLLOWING)},
        }
        for entry in history
        if f"{FOLLOWING}mean_absolute_error" in entry
    ]
    return losses, followed


def _report(
    run: _Run, trainer: "RatioTrainer", encoded: dict[str, "Dataset"], logs: tuple[list[Row], list[Row]]
) -> Row:
    from . import encoded_file
    from .heldout_loss import heldout_loss
    from .trainer import total_steps

    losses, followed = logs
    return {
        "format": 1,
        "steps": total_steps(len(encoded["train"]), run.settings, trainer.accelerator.num_processes),
        "rows": {name: len(found) for name, found in encoded.items()},
        "tokens": sum(encoded_file.lengths(encoded["train"])),
        "rejected_by_reason": run.tally.reasons,
        "first_loss": losses[0]["loss"],
        "last_loss": losses[-1]["loss"],
        "heldout_loss": heldout_loss(trainer, encoded["heldout"]) if len(encoded.get("heldout", ())) else {},
        "following": followed[-1] if followed else None,
        "summary": run.tally.summary(),
    }


def _write_logs(run: _Run, final: Path, report: Row, logs: tuple[list[Row], list[Row]]) -> None:
    """Write everything of the final folder but the model."""
    losses, followed = logs
    run.tally.write_rejected(final / "train.jsonl")
    write_records(final / LOG, losses)
    if followed:
        write_records(final / FOLLOW_LOG, followed)
    if (run.checkpoints / "runs").is_dir():
        shutil.copytree(run.checkpoints / "runs", final / "runs")
    write_json(final / REPORT, report)
    shutil.copyfile(run.partial / MANIFEST, final / MANIFEST)
