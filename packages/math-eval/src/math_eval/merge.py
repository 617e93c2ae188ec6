"""`math-eval merge`: join the shards of a run to the run folder that one `math-eval run` without `--shard` makes.

The samples are the same in the same order, and so are all figures but those of time. Making a shard is left to `run`.

    merge(["runs/sft-1", "runs/sft-2"], "runs/sft")
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._shared import runs
from ._shared.lock import locked
from ._shared.records import Row, read_records, write_json, write_records
from .errors import DataError
from .run import COMMAND, clear
from .run_folders import RESULTS, check_task, checked_manifest, is_run_manifest, read_results, samples_file
from .shard import SHARD, parse_shard, read_shard
from .summary import results_content

_SHOWN = 5
_NO_SHARD = "no shard of a run; name folders of `math-eval run --shard I/N`"


def merge(
    shards: Iterable[str | Path], output_dir: str | Path, *, overwrite: bool = False
) -> tuple[dict[str, Any], bool]:
    """Make a run folder of complete shards.

    Args:
        shards: Folders of all shards of one run.
        output_dir: The run folder.
        overwrite: Whether to replace a run made with other settings, and to make a finished one again.

    Returns:
        The content of results.json, and whether the run was already complete.

    Raises:
        DataError: A shard is missing, unfinished, given twice, corrupted, or made with other settings or in another
            environment than the first one; or an output that is a shard, or was made with other settings.
    """
    folders, out = [Path(shard) for shard in shards], Path(output_dir)
    runs.check_apart([out], folders)
    manifests = [_manifest(folder) for folder in folders]
    settings = _common_settings(folders, manifests)
    contents = [read_shard(folder) for folder in folders]
    manifest, done = out / runs.MANIFEST, out / RESULTS
    with locked(out):
        if runs.resolve_state(manifest, COMMAND, settings, done=done, overwrite=overwrite) == "finished":
            return read_results(out), True
        joined = {task: _joined(folders, contents, task) for task in settings["tasks"]}
        clear(out)
        _write_manifest(manifest, settings, manifests)
        for task, some in joined.items():
            write_records(samples_file(out, task), some)
        rows = [row for some in joined.values() for row in some]
        results = results_content(rows, list(settings["tasks"]), settings["ratios"], settings["max_tokens"])
        write_json(done, results)
    return results, False


def _manifest(folder: Path) -> Row:
    """The manifest of a folder of `math-eval run`."""
    if not is_run_manifest(runs.read_manifest(folder / runs.MANIFEST)):
        raise DataError(f"{folder}: {_NO_SHARD}")
    return checked_manifest(folder)


def _common_settings(folders: Sequence[Path], manifests: Sequence[Row]) -> Row:
    """The settings of the whole run; refuses shards that do not make it up."""
    named: dict[str, Path] = {}
    whole = [{name: value for name, value in each["settings"].items() if name != "shard"} for each in manifests]
    for folder, manifest, own in zip(folders, manifests, whole, strict=True):
        shard = manifest["settings"].get("shard")
        if not isinstance(shard, str):
            raise DataError(f"{folder}: {_NO_SHARD}")
        if shard in named:
            raise DataError(f"{folder}: is shard {shard}, and so is {named[shard]}; name one of them")
        named[shard] = folder
        before, now = ({"settings": each, "environment": made["environment"]} for each, made in
                       ((whole[0], manifests[0]), (own, manifest)))  # fmt: skip
        if changes := runs.differing(before, now):
            raise DataError(f"{folder}: made otherwise than {folders[0]} ({'; '.join(changes)}); make this shard again")
    total = parse_shard(next(iter(named))).total
    parts = [f"{number}/{total}" for number in range(1, total + 1)]
    if other := next((shard for shard in named if shard not in parts), None):
        raise DataError(f"{named[other]}: is shard {other}, and {folders[0]} is one of {total}; name shards of one run")
    if missing := [part for part in parts if part not in named]:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DataError(f"{', '.join(missing[:_SHOWN])}{more}: no folder of this shard; name those of all shards")
    return whole[0]


def _write_manifest(manifest: Path, settings: Row, manifests: Sequence[Row]) -> None:
    """Write the manifest of the whole run: that of the first shard, with the addresses of all servers."""
    own = ("command", "settings", "versions", "math_eval", "base_urls")
    facts = {name: value for name, value in manifests[0].items() if name not in own}
    addresses = dict.fromkeys(address for each in manifests for address in each.get("base_urls", ()))
    facts |= {"base_urls": list(addresses)} if addresses else {}
    runs.write_manifest(manifest, COMMAND, settings, math_eval=version("cot-math-eval"), **facts)


def _joined(folders: Sequence[Path], contents: Sequence[Row], task: str) -> list[Row]:
    """The samples of a task, each at its place in the whole run.

    Raises:
        DataError: A sample is missing, or two have the same place.
    """
    rows: dict[int, Row] = {}
    total = 0
    for folder, shard in zip(folders, contents, strict=True):
        path = samples_file(folder, task)
        places, total = shard["places"].get(task, []), shard["requests"].get(task, 0)
        found = list(read_records(path, "samples", "run_sample")) if places else []
        if len(found) != len(places) or not rows.keys().isdisjoint(places):
            raise DataError(f"{path}: not the samples that {folder / SHARD} names; make this shard again")
        for place, row in zip(places, found, strict=True):
            check_task(row, task, str(path))
            rows[place] = row
    if rows.keys() != set(range(total)):
        raise DataError(f"{task}: {len(rows)} samples of {total} in the shards; make the shards again")
    return [rows[place] for place in range(total)]
