"""Trains a scorer on an annotated file.

The result is a model folder that `--scorer` takes, with a model card. A killed run continues after its last complete
epoch and ends with the same weights. The training loop is in `trainer.py`.

    train_file("annotated.jsonl", "models/compressor", TrainSettings(encoder="models/encoder"))
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cot_compressor import distributed
from cot_compressor._shared import runs
from cot_compressor._shared.checkpoint_settings import check_settings
from cot_compressor.errors import DataError, needs_extra
from cot_compressor.scorers.card import TrainReport, model_card
from cot_compressor.scorers.hub import SETTINGS_FILE

from .settings import TrainSettings

if TYPE_CHECKING:
    from .trainer import Trainer

_COMMAND = "cot-compressor train"
_RECORDED = ("cot-compressor", "accelerate", "tokenizers", "torch", "transformers")


def train_file(
    source: str | Path, out: str | Path, settings: TrainSettings, *, overwrite: bool = False
) -> TrainReport | None:
    """Train a scorer and write its folder.

    Args:
        source: Path of an `annotated` file.
        out: Folder of the scorer; if it is replaced, all of its content is removed.
        settings: Settings of the training.
        overwrite: True to replace a scorer that was trained with other settings, or to train a finished one again.

    Returns:
        The report of the training, or None if the folder was complete already.

    Raises:
        DataError: the input is bad, `out` was made with other settings or by another program, another run is writing
            it, or the packages that training needs are not installed.
    """
    with needs_extra("train", "training needs torch and transformers"):
        from .trainer import Trainer
    out, encoder = Path(out).resolve(), Path(settings.encoder)
    if not encoder.is_dir():
        raise DataError(f"encoder {encoder}: no such folder; give one with config.json and tokenizer.json")
    check_settings(encoder)  # before its files are read for their digest
    recorded = {
        **{key: value for key, value in asdict(settings).items() if key != "encoder"},
        "input": runs.digest(source),
        "encoder": runs.digest(encoder),
    }
    partial = runs.partial_path(out)
    with distributed.only_writer(out):
        runs.check_apart([out], [Path(source), encoder])
        state = _state(out, recorded, overwrite=overwrite)
        if state == "finished":
            return None
        trainer = Trainer(source, settings, partial)
        if distributed.rank() == 0 and state == "new":
            runs.remove_partial(out)
            partial.mkdir(parents=True)
            _write_manifest(partial, recorded)
        distributed.wait()
        report = trainer.train()
        if distributed.rank() == 0:
            _publish(trainer, report, out, recorded)
        distributed.wait()
    return report


def _state(out: Path, recorded: dict[str, Any], *, overwrite: bool) -> runs.State:
    partial = runs.partial_path(out) / runs.MANIFEST
    runs.check_no_links(partial.parent)
    runs.remove_leftovers(out)
    state = runs.resolve_state(partial, _COMMAND, recorded, done=None, overwrite=overwrite)
    if state == "partial":
        return state
    manifest = out / runs.MANIFEST
    if manifest.is_file() and not (out / SETTINGS_FILE).is_file():
        raise DataError(
            f"{out}: already there, and not written by {_COMMAND} (no {SETTINGS_FILE}); name another output, or move "
            "it away"
        )
    return runs.resolve_state(manifest, _COMMAND, recorded, done=out, overwrite=overwrite)


def _write_manifest(folder: Path, recorded: dict[str, Any]) -> None:
    runs.write_manifest(folder / runs.MANIFEST, _COMMAND, recorded, _RECORDED)


def _publish(trainer: "Trainer", report: TrainReport, out: Path, recorded: dict[str, Any]) -> None:
    """Write the complete model folder, give it its final name, and remove the partial one."""
    folder = trainer.partial / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    trainer.save(folder, report)
    card = model_card(report, trainer.data.annotators, Path(trainer.settings.encoder))
    (folder / "README.md").write_text(card, encoding="utf-8")
    _write_manifest(folder, recorded)
    out.parent.mkdir(parents=True, exist_ok=True)
    runs.publish(folder, out)
    runs.remove_partial(out)
