"""`ratio-sft train`: fine-tuning on a built mixture with TRL's SFTTrainer, resumable, one or many processes.

All weights are trained, or LoRA adapters that are merged at the end.
Rows are encoded once, before training, into a file; it, checkpoints and the final folder live in `OUT.partial`, which
every process must see, until all is done.

    report = train("mix", "checkpoints/sft", TrainSettings(model="checkpoints/base"))
    report["heldout_loss"]["fixed 0.2"]         # nats per completion token
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoints, lora, template, tokens
from ._shared.control_tokens import ControlTokens
from ._shared.lock import locked
from ._shared.records import Row, Tally, parse_json, write_json, write_records
from .encoding import check_heldout, check_text, check_tokenizer, check_tokens, encode
from .errors import DataError
from .manifest import FILE_NAME, differing_keys, digest, is_finished, open_partial, publish
from .row_file import RowFile
from .settings import TrainSettings

if TYPE_CHECKING:
    from accelerate import PartialState
    from datasets import Dataset

REPORT = "train_report.json"
LOG = "train_log.jsonl"
FOLLOW_LOG = "follow_log.jsonl"
_LOGGED = ("step", "epoch", "loss", "grad_norm", "learning_rate", "mean_token_accuracy", "entropy")


def train(data: str | Path, out: str | Path, settings: TrainSettings, *, overwrite: bool = False) -> Row:
    """Train the model on a folder of `build`; returns the report. A finished folder of the same settings is left alone.

    A killed run continues from its newest whole checkpoint and ends with the same weights as an undisturbed one.

    Args:
        data: folder with `train.jsonl` and, if rows were held out, `heldout.jsonl`.
        out: the checkpoint folder to write; it appears when complete.
        settings: how to train.
        overwrite: replace a folder, or drop an unfinished run, of other settings.

    Raises:
        DataError: the data or the model folder is unusable, or `out` holds something else or is being written.
    """
    data, out = Path(data), Path(out)
    checkpoints.check_model_folder(settings.model)
    rows = {name: RowFile(data / f"{name}.jsonl", "sft") for name in ("train", "heldout") if _wanted(data, name)}
    state = _processes()
    made_from = _made_from(data, rows, settings, state.num_processes)
    # A lock for each process, so that every one of a second run is refused.
    with locked(out, state.process_index):
        finished = is_finished(out, made_from, overwrite=overwrite)
        partial = out.with_name(f"{out.name}.partial")
        differing = differing_keys(partial, made_from) if _holds_anything(partial) else []
        if differing and not overwrite and not finished:
            raise DataError(
                f"{partial}: an unfinished run with other settings ({', '.join(differing)}); repeat them to continue "
                "it, or add --overwrite to drop it"
            )
        state.wait_for_everyone()
        if finished:
            if state.is_main_process and _holds_anything(partial) and not differing:
                shutil.rmtree(partial)
            return {**parse_json((out / REPORT).read_text("utf-8"), str(out / REPORT)), "already_finished": True}
        if state.is_main_process:
            open_partial(partial, "ratio-sft train", made_from, keep=not differing)
            checkpoints.remove_torn(partial / "checkpoints")
        state.wait_for_everyone()
        try:
            return _run(data, rows, out, partial, settings)
        except DataError:
            if state.is_main_process and checkpoints.newest_complete(partial / "checkpoints") is None:
                shutil.rmtree(partial, ignore_errors=True)
            raise


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _wanted(data: Path, name: str) -> bool:
    """heldout.jsonl may be absent; train.jsonl may not."""
    return name == "train" or (data / f"{name}.jsonl").is_file()


def _processes() -> "PartialState":
    """The processes of this run; accelerate joins them without an accelerator only if it is told that there is none."""
    from accelerate import PartialState
    from torch.accelerator import is_available

    return PartialState(cpu=not is_available())


def _made_from(data: Path, rows: dict[str, RowFile], settings: TrainSettings, processes: int) -> Row:
    """Settings with digests in place of paths, so that a moved folder is still the same input."""
    model = f"{Path(settings.model).resolve().name} {digest(settings.model)[:16]}"
    files = {name: digest(data / f"{name}.jsonl") for name in rows}
    return {**asdict(settings), "model": model, "data": files, "processes": processes}


def _run(data: Path, rows: dict[str, RowFile], out: Path, partial: Path, settings: TrainSettings) -> Row:
    """Encode, train or continue, measure, save; the processes do the same but for what only the main one writes."""
    from accelerate.utils import broadcast_object_list
    from transformers.utils.logging import disable_progress_bar

    from . import encoded_file, sampling
    from .trainer import FOLLOWING, RatioTrainer, build_trainer, heldout_loss, total_steps

    disable_progress_bar()
    tally = Tally()
    work = partial / "checkpoints"
    resume = checkpoints.newest_complete(work)
    history = checkpoints.finished_history(resume) if resume else None
    model, tokenizer = checkpoints.load_model(settings.model)
    ladder = tokens.installed(settings.model, tokenizer)
    if ladder is None:
        ladder = ControlTokens.ladder({row["ratio"] for row in rows["train"]})
        tokens.install(model, tokenizer, ladder, seed=settings.seed)
    template.install(tokenizer, ladder)
    encoded = _encode(data, rows, partial, model, tokenizer, ladder, settings, tally)
    model = _trainable(model, settings, resume if history is not None else None)
    asked = sampling.questions(rows.get("heldout", []), ladder, settings.follow) if settings.follow else []
    if settings.follow and not asked:
        raise DataError(f"{data}: no held-out question has a row of every ratio, so --follow has nothing to ask")

    def sample(trainer: RatioTrainer) -> dict[str, float]:
        whole: Any = trainer.accelerator.unwrap_model(trainer.model)  # type: ignore[arg-type]
        size = settings.batch_size
        return sampling.follow(whole, tokenizer, asked, ladder, trainer.accelerator, batch_size=size)

    trainer = build_trainer(model, tokenizer, encoded["train"], settings, work, sample if asked else None)
    if history is None:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        history = trainer.state.log_history
    log = [{key: entry[key] for key in _LOGGED if key in entry} for entry in history if "loss" in entry]
    followed = [_followed(entry, FOLLOWING) for entry in history if f"{FOLLOWING}mean_absolute_error" in entry]
    report = {
        "format": 1,
        "steps": total_steps(len(encoded["train"]), settings, trainer.accelerator.num_processes),
        "rows": {name: len(found) for name, found in encoded.items()},
        "tokens": sum(encoded_file.lengths(encoded["train"])),
        "rejected_by_reason": tally.reasons,
        "first_loss": log[0]["loss"],
        "last_loss": log[-1]["loss"],
        "heldout_loss": heldout_loss(trainer, encoded["heldout"]) if len(encoded.get("heldout", ())) else {},
        "following": followed[-1] if followed else None,
        "summary": tally.summary(),
    }
    trainer.accelerator.wait_for_everyone()
    weights = checkpoints.gather_weights(trainer)
    if trainer.accelerator.is_main_process:
        final = partial / "final"
        shutil.rmtree(final, ignore_errors=True)
        if settings.lora_rank is not None:
            model = lora.merge(model)
        checkpoints.save_model(model, final, like=settings.model, weights=weights)
        tokenizer.save_pretrained(final)
        ladder.save(final)
        tally.write_rejected(final / "train.jsonl")
        write_records(final / LOG, log)
        if followed:
            write_records(final / FOLLOW_LOG, followed)
        if (work / "runs").is_dir():
            shutil.copytree(work / "runs", final / "runs")
        write_json(final / REPORT, report)
        shutil.copyfile(partial / FILE_NAME, final / FILE_NAME)
        publish(final, out)
        shutil.rmtree(partial)
    return broadcast_object_list([report])[0]


def _encode(
    data: Path,
    rows: dict[str, RowFile],
    partial: Path,
    model: Any,
    tokenizer: Any,
    ladder: ControlTokens,
    settings: TrainSettings,
    tally: Tally,
) -> dict[str, "Dataset"]:
    """All processes check the rows, the main one encodes them; `tally` counts in that one only."""
    from . import encoded_file

    check_heldout(rows["train"], rows.get("heldout", ()), ladder, str(data / "heldout.jsonl"))
    for name, found in rows.items():
        where = str(data / f"{name}.jsonl")
        for number, row in enumerate(found, 1):
            check_text(row, f"{where}:{number}")
            check_tokens(row, ladder, f"{where}:{number}")
        check_tokenizer(tokenizer, found, where)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    files = {name: partial / f"{name}.arrow" for name in rows}
    state = _processes()
    if state.is_main_process:
        for name, found in rows.items():
            length = settings.max_length
            written = encode(tokenizer, found, ladder, max_length=length, context=context, tally=tally)
            encoded_file.write(files[name], written)
    state.wait_for_everyone()
    encoded = {name: encoded_file.read(path) for name, path in files.items()}
    if not len(encoded["train"]):
        raise DataError(f"{data}: no row is usable: {tally.summary()}")
    return encoded


def _trainable(model: Any, settings: TrainSettings, finished: Path | None) -> Any:
    """The model as it is trained; with the weights of the checkpoint `finished`, if there is nothing left to train."""
    if settings.lora_rank is None:
        return checkpoints.load_weights(finished) if finished else model
    wrapped = lora.wrap(model, settings.lora_rank, seed=settings.seed)
    if finished:
        lora.load(wrapped, finished)
    return wrapped


def _followed(entry: Row, prefix: str) -> Row:
    """The figures of one log entry under their own names, after its step."""
    figures = {name.removeprefix(prefix): figure for name, figure in entry.items() if name.startswith(prefix)}
    return {"step": entry["step"], **figures}
