"""`ratio-sft build`: a file of compressed traces to a folder of rows, with their ladder and a data card.

The content of the rows is left to `mixture`, the content of the card to `card`.

    result = build("compressed.jsonl", "mix", MixSettings())
    result["counts"]["train"]                     # 840
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ratio_sft import html_page
from ratio_sft._shared.lock import locked
from ratio_sft._shared.records import Row, read_object, write_json, write_records
from ratio_sft._shared.row_files import content_digest, unread_columns
from ratio_sft._shared.runs import (
    MANIFEST,
    check_apart,
    check_no_links,
    digest,
    partial_path,
    publish,
    remove_leftovers,
    remove_partial,
    resolve_state,
    write_manifest,
)
from ratio_sft._shared.thinking_formats import given_format
from ratio_sft.settings import RECORDED_PACKAGES, MixSettings

from .card import card_page, data_card, stated_settings
from .decontaminate import TestQuestions
from .mixture import Mixture, mix
from .policy_rows import read_teacher
from .row_file import RowFile

CARD = "card.json"
CARD_PAGE = "card.html"
_COMMAND = "ratio-sft build"
_REJECTS = "mixture.jsonl"


def build(
    traces: str | Path,
    out: str | Path,
    settings: MixSettings,
    *,
    teacher: str | Path | None = None,
    exclude: Sequence[str | Path] = (),
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> Row:
    """Mix `traces` into the folder `out`. A finished folder of the same settings is left alone.

    Args:
        traces: Rows of the `compressed` contract: JSON Lines or Parquet, a file, a folder of shards, or an address on
            an object store.
        out: Folder to write; it appears when it is complete.
        settings: Settings of the mixture.
        teacher: File of the `rl_prompts` contract; its `teacher_ratio` becomes the target of policy rows.
        exclude: Files of the `problems` contract. A trace is rejected and counted if its question is one of them, or
            shares 13 words with one.
        overwrite: Replace a folder that this command made with other settings.
        notify: Function that gets a line about the work before it, the thinking format of the rows.

    Returns:
        The data card; `already_finished` is true in it if nothing was done.

    Raises:
        DataError: a file breaks its contract, no trace is usable, another program or other settings made `out`, or
            another process is writing it.
    """
    out = Path(out)
    check_apart([out], [traces, *exclude, *([teacher] if teacher else [])])
    ratios = read_teacher(teacher) if teacher else None
    tests = TestQuestions.read(exclude) if exclude else None
    made_from: Row = {
        **stated_settings(settings),
        "traces": content_digest(traces),
        "teacher": digest(teacher) if teacher else None,
        "exclude": [digest(path) for path in exclude],
    }
    if settings.traces is not None:
        made_from["traces_kept"] = settings.traces
    with locked(out):
        remove_leftovers(out)
        if resolve_state(out / MANIFEST, _COMMAND, made_from, done=out, overwrite=overwrite) == "finished":
            return {**read_object(out / CARD), "already_finished": True}
        if notify is not None:
            notify(f"thinking format: {replace(given_format(settings.thinking_format), opened=False)}")
            for line in unread_columns(traces):
                notify(line)
        mixture = mix(RowFile(traces, "compressed"), settings, teacher=ratios, tests=tests)
        card = {**data_card(mixture, settings), "decontamination": tests.report() if tests else None}
        partial = _open_partial(out, made_from, overwrite)
        _write(partial, mixture, card)
        publish(partial, out)
    return card


def _open_partial(out: Path, made_from: Row, overwrite: bool) -> Path:
    """An empty working folder with a manifest; the work of a killed build of the same settings is removed."""
    partial = partial_path(out)
    check_no_links(partial)
    resolve_state(partial / MANIFEST, _COMMAND, made_from, done=None, overwrite=overwrite)
    remove_partial(out)
    write_manifest(partial / MANIFEST, _COMMAND, made_from, packages=RECORDED_PACKAGES)
    return partial


def _write(folder: Path, mixture: Mixture, card: Row) -> None:
    write_records(folder / "train.jsonl", mixture.train)
    if mixture.heldout:
        write_records(folder / "heldout.jsonl", mixture.heldout)
    mixture.tokens.save(folder)
    mixture.tally.write_rejected(folder / _REJECTS)
    write_json(folder / CARD, card)
    html_page.write(folder / CARD_PAGE, "Data card", card_page(card))
