"""`ratio-sft build`: a file of compressed traces to a folder of rows, with their ladder and a data card.

The content of the rows is left to `mixture`, work on a Ray cluster to `shard_mixing`, the content of the card to
`card`.

    result = build("compressed.jsonl", "mix", MixSettings())
    result["counts"]["train"]                     # 840
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ratio_sft import html_page
from ratio_sft._shared.lock import locked
from ratio_sft._shared.ray_shards import check_engine
from ratio_sft._shared.records import Row, read_object, write_json, write_records
from ratio_sft._shared.row_files import content_digest, shards, unread_columns
from ratio_sft._shared.runs import (
    MANIFEST,
    check_apart,
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
from ratio_sft.settings import RECORDED_PACKAGES, MixSettings

from .card import Histogram, card_page, data_card, stated_settings
from .decontaminate import TestQuestions
from .mixture import Mixture, mix
from .policy_rows import read_teacher
from .row_file import RowFile
from .rows import row_format
from .shard_mixing import COMMAND, ShardMixing

CARD = "card.json"
CARD_PAGE = "card.html"
_REJECTS = "mixture.jsonl"


def build(
    traces: str | Path,
    out: str | Path,
    settings: MixSettings,
    *,
    teacher: str | Path | None = None,
    exclude: Sequence[str | Path] = (),
    overwrite: bool = False,
    engine: str = "local",
    workers: int | None = None,
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
        engine: "local" for one process; "ray" for the workers of a Ray cluster, which all see `out` and `traces` and
            write one file for each shard of `traces`.
        workers: Number of workers of Ray; None takes one for each processor.
        notify: Function that gets lines about the work.

    Returns:
        The data card; `already_finished` is true in it if nothing was done.

    Raises:
        DataError: a file breaks its contract, no trace is usable, another program or other settings made `out`, or
            another process is writing it.
    """
    check_engine(engine, workers)
    out, is_spread, notify = Path(out), engine == "ray", notify or (lambda line: None)
    check_apart([out], [traces, *exclude, *([teacher] if teacher else [])])
    ratios = read_teacher(teacher) if teacher else None
    tests = TestQuestions.read(exclude) if exclude else None
    made_from = _made_from(traces, settings, teacher, exclude, engine)
    with locked(out):
        remove_leftovers(out)
        if resolve_state(out / MANIFEST, COMMAND, made_from, done=out, overwrite=overwrite) == "finished":
            return {**read_object(out / CARD), "already_finished": True}
        notify(f"thinking format: {row_format(settings)}")
        for line in unread_columns(traces):
            notify(line)
        if is_spread:
            started = {**made_from, "traces": None}  # a shard may be mended before the build continues
            growing = _open_partial(out, made_from, started, overwrite=overwrite)
            mixing = ShardMixing(traces, growing, settings, ratios, tests, started)
            card, facts = mixing.run(workers=workers, notify=notify)
        else:
            mixture = mix(RowFile(traces, "compressed"), settings, teacher=ratios, tests=tests)
            growing = _open_partial(out, made_from, None, overwrite=overwrite)
            card, facts = _write(growing, mixture, settings, tests), {}
        _finish(growing, out, card, made_from, facts)
    return card


def _made_from(
    traces: str | Path, settings: MixSettings, teacher: str | Path | None, exclude: Sequence[str | Path], engine: str
) -> Row:
    """Everything that changes the mixture, with digests in place of paths."""
    kept: Row = {"traces_kept": settings.traces} if settings.traces is not None else {}
    if engine == "ray":
        kept |= {"engine": engine, "shards": [shard.file.name for shard in shards(traces)]}
    return {
        **stated_settings(settings),
        "traces": content_digest(traces),
        "teacher": digest(teacher) if teacher else None,
        "exclude": [digest(path) for path in exclude],
        **kept,
    }


def _finish(growing: Path, out: Path, card: Row, made_from: Row, facts: Row) -> None:
    """Write the card and the final manifest, and give the folder its name."""
    write_json(growing / CARD, card)
    html_page.write(growing / CARD_PAGE, "Data card", card_page(card))
    write_manifest(growing / MANIFEST, COMMAND, made_from, RECORDED_PACKAGES, **facts)
    publish(growing, out)


def _open_partial(out: Path, made_from: Row, started: Row | None, *, overwrite: bool) -> Path:
    """The working folder, with a manifest.

    Args:
        out: The folder to write.
        made_from: Settings of the finished folder.
        started: Settings of an unfinished one, without the traces; its content is kept if a killed build of these
            settings left it. None keeps nothing.
        overwrite: See `build`.
    """
    partial = partial_path(out)
    check_no_links(partial)
    manifest = partial / MANIFEST
    expected = started or made_from
    if started and manifest.is_file():
        found = read_manifest(manifest)["settings"]
        expected = found if not differing({**found, "traces": None}, started) else started
    state = resolve_state(manifest, COMMAND, expected, done=None, overwrite=overwrite)
    if not started or state == "new":
        remove_partial(out)
    write_manifest(manifest, COMMAND, started or made_from, RECORDED_PACKAGES)
    return partial


def _write(folder: Path, mixture: Mixture, settings: MixSettings, tests: TestQuestions | None) -> Row:
    """Write rows, ladder and rejects; returns the card."""
    write_records(folder / "train.jsonl", mixture.train)
    if mixture.heldout:
        write_records(folder / "heldout.jsonl", mixture.heldout)
    mixture.tokens.save(folder)
    mixture.tally.write_rejected(folder / _REJECTS)
    histogram = Histogram()
    histogram.add(mixture.train)
    return data_card(
        mixture.selection,
        settings,
        tokenizer=mixture.tokenizer,
        tally=mixture.tally,
        histogram=histogram,
        tests=tests,
    )
