"""`chrpo merge`: a checkpoint with the largest changes of a trained one, scaled, and everything else as before.

Source: update-selective merging of DLER (Liu et al. 2025, arXiv 2510.15110, section 4.6), which restores accuracy that
training on easier data has cost: the largest 25 % of the changes, times .7. Nothing of the two folders is run. Tensors
are read one by one, and written file by file. Evaluating the result is left to math-eval. Needs torch and transformers.

    merge("checkpoints/sft", "checkpoints/chrpo", "checkpoints/merged", share=0.25, scale=0.7)
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared import runs
from ._shared.checkpoint_files import check_checkpoint
from ._shared.lock import locked
from ._shared.records import read_object, write_json
from .errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

COMMAND = "chrpo merge"
SHARE, SCALE = 0.25, 0.7
_PACKAGES = ("chrpo", "torch", "safetensors")
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_OTHERS = ("*.json", "*.jinja", "*.model", "*.txt")
_REMEDY = "merge two checkpoints of one model"
_HALF_BITS = 16
_MOST_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Merged:
    """What was merged.

    Args:
        weights: Number of weights of the model.
        changed: Number of weights that differ between the two checkpoints.
        kept: Number of changes that are kept.
        smallest: Smallest change that is kept, in absolute value.
    """

    weights: int
    changed: int
    kept: int
    smallest: float


def merge(
    before: str | Path,
    after: str | Path,
    out: str | Path,
    *,
    share: float = SHARE,
    scale: float = SCALE,
    overwrite: bool = False,
) -> Merged | None:
    """Write the checkpoint `before` + `scale` x (the largest changes from `before` to `after`).

    The changes of all tensors are compared with each other; of equal ones at the limit, all are kept. Sums are computed
    in float32 and written in the more precise number format of the two, because small changes would be lost in the
    other. Config, tokenizer and control tokens are those of `after`.

    Args:
        before: Folder of the checkpoint that training started from.
        after: Folder of the checkpoint that it ended with.
        out: Folder to write.
        share: Share of all weights whose changes are kept, in (0, 1].
        scale: Factor of the kept changes.
        overwrite: Replace what other settings made at `out`, and make a finished output again.

    Returns:
        The numbers of weights and changes; None if `out` was finished before, with the same settings and inputs.

    Raises:
        DataError: an input is no checkpoint, the two are not of one model, a number is out of its range, or the output
            was made with other settings, was made by another program, or is being written by another process.
    """
    before, after, out = Path(before), Path(after), Path(out)
    if not 0 < share <= 1:
        raise DataError(f"share must be in (0, 1], such as 0.25 for a quarter of the weights; got {share:g}")
    if not math.isfinite(scale):
        raise DataError(f"scale must be a finite number; got {scale:g}")
    for folder, argument in ((before, "A"), (after, "B")):
        _check(folder, argument)
    runs.check_apart([out], [before, after])
    patterns = ("*.safetensors", *_OTHERS)
    inputs = {"before": runs.digest(before, patterns), "after": runs.digest(after, patterns)}
    recorded = {"share": share, "scale": scale, "inputs": inputs}
    with locked(out):
        work = runs.partial_path(out)
        runs.check_no_links(work)
        runs.remove_leftovers(out)
        state = runs.resolve_state(out / runs.MANIFEST, COMMAND, recorded, done=out, overwrite=overwrite)
        if state == "finished":
            return None
        runs.resolve_state(work / runs.MANIFEST, COMMAND, recorded, done=None, overwrite=overwrite)
        pair = _Pair(_Weights(before), _Weights(after))
        smallest, total = _limit(pair, share)
        runs.remove_partial(out)
        runs.write_manifest(work / runs.MANIFEST, COMMAND, recorded, _PACKAGES)
        changed, kept = _write(pair, work, smallest, scale)
        _copy_others(after, work)
        found = Merged(total, changed, kept, smallest)
        runs.write_manifest(work / runs.MANIFEST, COMMAND, recorded, _PACKAGES, result=vars(found))
        runs.publish(work, out)
    return found


def _check(folder: Path, argument: str) -> None:
    """Refuse what is no checkpoint, or could run code or read files elsewhere when the result is loaded."""
    check_checkpoint(folder, argument)
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise DataError("merging needs torch and transformers, which are not installed: pip install 'chrpo[trl]'")
    from ._shared.checkpoint_loader import load_config, load_tokenizer

    load_config(folder)
    load_tokenizer(folder)


class _Weights:
    """The tensors of a checkpoint folder, by name.

    Args:
        folder: Folder of the checkpoint, which was checked.

    Attributes:
        files: Name of each safetensors file -> names of its tensors.

    Raises:
        DataError: the weights have other names than transformers gives them, or are corrupted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_object(folder / "config.json")
        index = folder / _INDEX
        indexed: dict[str, str] | None = read_object(index)["weight_map"] if index.is_file() else None
        if "transformers_weights" in self.config or (indexed is None and not (folder / _SINGLE).is_file()):
            raise DataError(f"{folder}: its weights are not in {_SINGLE} or {_INDEX}; save the model anew")
        self.files: dict[str, list[str]] = {}
        for file in sorted(set(indexed.values())) if indexed is not None else [_SINGLE]:
            with self._open(file) as tensors:
                self.files[file] = sorted(tensors.keys())
        self.place = {tensor: file for file, names in self.files.items() for tensor in names}
        if indexed is not None and indexed != self.place:
            raise DataError(f"{index}: names other tensors than its files contain; copy the model again")

    def _open(self, file: str) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self.folder / file, framework="pt")
        except SafetensorError as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{self.folder / file}: corrupted weights ({reason}); copy the model again") from error

    def read(self, name: str) -> "Tensor":
        """One tensor."""
        with self._open(self.place[name]) as tensors:
            return tensors.get_tensor(name)


@dataclass(frozen=True)
class _Pair:
    """Two checkpoints of one model.

    Raises:
        DataError: their configs name different kinds of model, or a tensor is in one of them alone.
    """

    before: _Weights
    after: _Weights

    def __post_init__(self) -> None:
        kinds = [each.config.get("model_type") for each in (self.before, self.after)]
        if kinds[0] != kinds[1]:
            raise DataError(f"{self.after.folder}: a model of type {kinds[1]!r}, not {kinds[0]!r}; {_REMEDY}")
        if alone := sorted(self.before.place.keys() ^ self.after.place.keys()):
            where = self.before.folder if alone[0] in self.before.place else self.after.folder
            raise DataError(f"{where}: tensor {alone[0]!r} is in this checkpoint alone; {_REMEDY}")

    def change(self, name: str) -> tuple["Tensor", "Tensor | None"]:
        """A tensor before, in the wider format of both, and its change in float32.

        The change is None for a tensor of whole numbers, which must be equal in both checkpoints.

        Raises:
            DataError: the shapes differ, or a number is not finite.
        """
        import torch

        old, new = self.before.read(name), self.after.read(name)
        if old.shape != new.shape:
            raise DataError(
                f"{self.after.folder}: tensor {name!r} has shape {list(new.shape)}, and {list(old.shape)} in "
                f"{self.before.folder}; {_REMEDY}"
            )
        if not (old.is_floating_point() and new.is_floating_point()):
            if not torch.equal(old, new):
                raise DataError(f"{self.after.folder}: tensor {name!r}, of whole numbers, differs; {_REMEDY}")
            return old, None
        change = new.float() - old.float()
        if not torch.isfinite(change).all():
            raise DataError(f"{self.after.folder}: tensor {name!r} has numbers that are not finite, there or before")
        return old.to(torch.promote_types(old.dtype, new.dtype)), change

    def sizes(self) -> Iterator["Tensor"]:
        """Bit patterns of the absolute changes of all weights, in pieces; they rise with the numbers."""
        import torch

        for name in self.before.place:
            _, change = self.change(name)
            if change is not None:
                yield from change.abs().flatten().view(torch.int32).split(_MOST_AT_ONCE)


def _limit(pair: _Pair, share: float) -> tuple[float, int]:
    """The smallest change that is kept, and the number of all weights.

    Counts of the upper half of the bits, and then of the lower half, find it exactly without all changes in memory.
    """
    import torch

    halves = 1 << _HALF_BITS
    upper = torch.zeros(halves, dtype=torch.int64)
    for size in pair.sizes():
        upper += torch.bincount(size >> _HALF_BITS, minlength=halves)
    total = int(upper.sum())
    if not total:
        raise DataError(f"{pair.before.folder}: no weights that can be merged; check the path")
    wanted = math.ceil(round(share * total, 6))
    high, beyond = _last(upper, wanted)
    lower = torch.zeros(halves, dtype=torch.int64)
    for size in pair.sizes():
        lower += torch.bincount(size[size >> _HALF_BITS == high] & (halves - 1), minlength=halves)
    low, _ = _last(lower, wanted - beyond)
    return float(torch.tensor([high << _HALF_BITS | low], dtype=torch.int32).view(torch.float32)), total


def _last(counts: "Tensor", wanted: int) -> tuple[int, int]:
    """The largest index from which on there are `wanted`, and the number beyond it."""
    falling = counts.flip(0)
    reached = falling.cumsum(0)
    place = int((reached >= wanted).int().argmax())
    return len(counts) - 1 - place, int(reached[place] - falling[place])


def _write(pair: _Pair, folder: Path, smallest: float, scale: float) -> tuple[int, int]:
    """Write the merged tensors, in the files of the first checkpoint; returns the changes, and those kept."""
    from safetensors.torch import save_file

    changed = kept = size = 0
    for file, names in pair.before.files.items():
        tensors: dict[str, Tensor] = {}
        for name in names:
            old, change = pair.change(name)
            tensors[name] = old
            if change is not None:
                # A limit of 0 would keep weights that did not change.
                stays = (change.abs() >= smallest) & (change != 0)
                changed, kept = changed + int((change != 0).sum()), kept + int(stays.sum())
                tensors[name] = (old.float() + scale * change * stays).to(old.dtype)
            size += tensors[name].nbytes
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if (pair.before.folder / _INDEX).is_file():
        write_json(folder / _INDEX, {"metadata": {"total_size": size}, "weight_map": pair.before.place})
    return changed, kept


def _copy_others(after: Path, folder: Path) -> None:
    """Copy config, tokenizer and control tokens, not the manifest and the index of the weights."""
    for path in sorted({path for pattern in _OTHERS for path in after.glob(pattern)}):
        if path.is_file() and path.name != runs.MANIFEST and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
