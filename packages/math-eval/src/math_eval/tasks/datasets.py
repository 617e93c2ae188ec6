r"""Published benchmarks such as GSM8K and MATH-500, from the Hugging Face hub or from a folder of files.

Revisions are pinned, so a name means the same problems at any time. Turning rows into problems is left to `readers` and
`letters`.

    problems, source = read("gsm8k", data_dir=None)
    source   # {'hub': 'openai/gsm8k', 'config': 'main', 'split': 'test', 'revision': '740312a…'}
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from math_eval._shared.records import Row, read_records, validate
from math_eval.errors import DataError

from . import letters, readers
from .hub import read_dataset


@dataclass(frozen=True)
class Benchmark:
    """The place and the format of a benchmark.

    Args:
        hub: Name of the dataset, `owner/dataset`.
        config: Configuration of the dataset; None for its only one.
        split: Name of the split with the problems.
        revision: The commit that is read.
        file: Name of the file in a folder of published files.
        size: Number of problems at that commit; a file may be another edition.
        reader: Function that makes a problem from a row and the row's number.
        part: Field of the rows, and text in it that the rows of this benchmark have; None if all rows belong to it.
        on_hub: Whether the hub has it; otherwise `hub` is a repository of GitHub with the file.
    """

    hub: str
    config: str | None
    split: str
    revision: str
    file: str
    size: int
    reader: readers.Reader
    part: tuple[str, str] | None = None
    on_hub: bool = True

    @property
    def origin(self) -> str:
        """Dataset, config and split on one line."""
        parts = ", ".join(filter(None, (self.config, self.split)))
        return f"{self.hub} ({parts})" if parts else self.hub


def read(name: str, data_dir: str | Path | None, limit: int | None = None) -> tuple[list[Row], Row]:
    """The first `limit` problems of a benchmark, and their origin.

    Raises:
        DataError: Neither the hub nor the file can be read, or a row is not one of this benchmark.
    """
    benchmark = BENCHMARKS[name]
    rows, where, source = _rows(name, benchmark, data_dir)
    if benchmark.part is not None:
        source["part"] = dict([benchmark.part])
    if benchmark.reader in _OF_LETTERS:
        source["option_seed"] = letters.OPTION_SEED
    found = (
        _problem(name, benchmark.reader, row, index, where)
        for index, row in enumerate(rows)
        if benchmark.part is None or benchmark.part[1] in str(row.get(benchmark.part[0]))
    )
    problems = list(islice(found, limit))
    if not problems:
        raise DataError(f"{where}: no row of {name}; {benchmark.file} has those of {benchmark.origin}")
    return problems, source


def _rows(name: str, benchmark: Benchmark, data_dir: str | Path | None) -> tuple[Iterable[Row], str, Row]:
    """Rows, their place for messages, and their source."""
    if data_dir is not None:
        path = Path(data_dir) / benchmark.file
        if not path.is_file():
            otherwise = f"; without --data-dir, {name} is fetched from the hub" if benchmark.on_hub else ""
            raise DataError(f"{path}: no such file; it has the rows of {benchmark.origin}{otherwise}")
        return read_records(path, "row"), str(path), {"file": benchmark.file}
    if not benchmark.on_hub:
        raise DataError(
            f"{name}: is not on the hub; put {benchmark.file} of {benchmark.hub} (commit {benchmark.revision[:12]}) "
            "into a folder and name the folder with --data-dir"
        )
    otherwise = f", or put {benchmark.file} into a folder and name the folder with --data-dir"
    rows, source = read_dataset(
        benchmark.hub, benchmark.config, benchmark.split, benchmark.revision, otherwise=otherwise
    )
    return rows, benchmark.hub, source


def _problem(name: str, reader: readers.Reader, row: Row, index: int, where: str) -> Row:
    where = f"{where}:{index + 1}"
    try:
        problem = reader(row, index)
    except (KeyError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a row of {name} ({error}); its fields are {', '.join(row)}") from error
    return validate(problem, "problems", where)


_OF_LETTERS = (letters.gpqa, letters.mmlu_pro, letters.zebralogic)
BENCHMARKS = {
    "gsm8k": Benchmark(
        "openai/gsm8k",
        "main",
        "test",
        "740312add88f781978c0658806c59bc2815b9866",
        "gsm8k_test.jsonl",
        1319,
        readers.gsm8k,
    ),
    "math500": Benchmark(
        "HuggingFaceH4/MATH-500",
        None,
        "test",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        "math500_test.jsonl",
        500,
        readers.math500,
    ),
    "amc23": Benchmark(
        "math-ai/amc23",
        None,
        "test",
        "80815d37005feb82cd7f8fbc6901d5d3eff43057",
        "amc23.jsonl",
        40,
        readers.contest("amc23"),
    ),
    "aime24": Benchmark(
        "HuggingFaceH4/aime_2024",
        None,
        "train",
        "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        "aime24.jsonl",
        30,
        readers.contest("aime24"),
    ),
    "aime25": Benchmark(
        "math-ai/aime25",
        None,
        "test",
        "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "aime25.jsonl",
        30,
        readers.contest("aime25"),
    ),
    "math": Benchmark(
        "DigitalLearningGmbH/MATH-lighteval",
        None,
        "test",
        "0530c78699ea5e8eb5530600900e1f328b48acad",
        "math_test.jsonl",
        5000,
        readers.math,
    ),
    "minerva_math": Benchmark(
        "math-ai/minervamath",
        None,
        "test",
        "ee46ddc498933b1977577953250ca5c66be64f96",
        "minerva_math.jsonl",
        272,
        readers.minerva,
    ),
    "olympiadbench": Benchmark(
        "math-ai/olympiadbench",
        None,
        "test",
        "4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84",
        "olympiadbench.jsonl",
        674,
        readers.olympiadbench,
    ),
    "svamp": Benchmark(
        "ChilleD/SVAMP",
        None,
        "test",
        "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef",
        "svamp_test.jsonl",
        300,
        readers.svamp,
    ),
    "aime26": Benchmark(
        "MathArena/aime_2026",
        None,
        "train",
        "d2de22f3c656b4f56cf8981212186377d1e23bc3",
        "aime26.jsonl",
        30,
        readers.contest("aime26"),
    ),
    "hmmt_feb25": Benchmark(
        "MathArena/hmmt_feb_2025",
        None,
        "train",
        "6fdc4277120810ff75aa22d2d5489b91f7a262a1",
        "hmmt_feb25.jsonl",
        30,
        readers.contest("hmmt_feb25"),
    ),
    "hmmt_feb26": Benchmark(
        "MathArena/hmmt_feb_2026",
        None,
        "train",
        "02fba4f74d8e68e73e66a02d540fd979c05c274c",
        "hmmt_feb26.jsonl",
        33,
        readers.contest("hmmt_feb26"),
    ),
    "brumo25": Benchmark(
        "MathArena/brumo_2025",
        None,
        "train",
        "6de9bc0987f5710c6376ee980e1483dbeb55cfda",
        "brumo25.jsonl",
        30,
        readers.contest("brumo25"),
    ),
    "amc22": Benchmark(
        "AI-MO/aimo-validation-amc",
        None,
        "train",
        "8ef249608d65c2de7763ca7525f438e540ba285e",
        "aimo_validation_amc.jsonl",
        43,
        readers.contest("amc22"),
        part=("url", "/2022_AMC"),
    ),
    "omni_math": Benchmark(
        "github.com/KbsdJames/omni-math-rule",
        None,
        "",
        "4793415ef37d31c9cdb4e5b82dbe172f76f8cf08",
        "omni_math_rule.jsonl",
        2821,
        readers.contest("omni_math"),
        on_hub=False,
    ),
    "gpqa_diamond": Benchmark(
        "Idavidrein/gpqa",
        "gpqa_diamond",
        "train",
        "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        "gpqa_diamond.jsonl",
        198,
        letters.gpqa,
    ),
    "mmlu_pro": Benchmark(
        "TIGER-Lab/MMLU-Pro",
        None,
        "test",
        "b189ec765aa7ed75c8acfea42df31fdae71f97be",
        "mmlu_pro.jsonl",
        12_032,
        letters.mmlu_pro,
    ),
    "zebralogic": Benchmark(
        "WildEval/ZebraLogic",
        "mc_mode",
        "test",
        "0a473f5a0054835754ed156d5a79c6ce27178bb1",
        "zebralogic.jsonl",
        3259,
        letters.zebralogic,
    ),
}
