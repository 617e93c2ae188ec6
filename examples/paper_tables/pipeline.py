"""The stages of one seed as titles and commands: those that all rows share, then the stages of each row.

All rows start from one base model and its traces; each has its own compression and SFT. The problems are the
quickstart's, or those of a task of `examples/frontier`. `paper_tables` runs the commands; `collect` reads what they
measured. RL is left to `objectives`.

    for title, command in pipeline(Path("runs/paper_tables/seed0"), 0): ...
"""

import sys
from itertools import takewhile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "frontier"))
sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from quickstart import LADDER, SFT_SETTINGS, TOLERANCE
from quickstart import SOURCES as QUICKSTART_SOURCES
from quickstart import pipeline as quickstart_pipeline
from rows import SOURCES as TASK_SOURCES
from rows import TASKS, shared_stages

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "quickstart"
FREE = "free"
"""The task that is the quickstart's."""
COMPRESSIONS = ("rules", "learnt", "random", "head", "rare-words", "tokenskip")
WAYS = ("none", "budget=16", "budget=32", "budget=64")
"""Ways to think less without training: values of `math-eval run --thinking`. The tiny model reads no instructions."""


def sources(task: str = FREE) -> list[Path]:
    """Files that the stages run or import."""
    own = ["other_compressions.py", "tokenskip_mixture.py"]
    if task != FREE:
        return [*TASK_SOURCES, TASKS[task], *(HERE / name for name in own)]
    return [*QUICKSTART_SOURCES, *(HERE / name for name in ["longer_problems.py", *own])]


def pipeline(run: Path, seed: int, task: str = FREE) -> list[tuple[str, str]]:
    """The stages in order, as (title, command).

    Only the quickstart's own problems have longer ones, and go on to a model that chooses its ratio.
    """
    files = [f"{run}/problems/{name}.jsonl" for name in (["test", "longer"] if task == FREE else ["test"])]
    tests = f"--tasks {','.join(files)} --max-tokens 400 --batch-size 250"

    def evaluate(name: str, model: str, ratios: str) -> tuple[str, str]:
        command = f"math-eval run --model {run}/{model} {tests} {ratios} --seed {seed} --output-dir '{run}/rows/{name}'"
        return f"Evaluate {name}", command

    if task == FREE:
        stages = [
            ("The quickstart", f"{QUICKSTART}/quickstart.py {run} --seed {seed}"),
            (
                "Make problems that are longer than any training problem",
                f"{HERE}/longer_problems.py {run}/problems/longer.jsonl --seed {seed}",
            ),
            evaluate("sft-policy", "sft", "--ratio policy"),
        ]
    else:
        shared = shared_stages(run, task, seed)
        stages = list(takewhile(lambda stage: not stage[0].startswith("Sample that model"), shared))
    stages += [
        evaluate("base", "base", ""),
        *(evaluate(f"base, {way}", "base", f"--thinking {way}") for way in WAYS),
        evaluate("sft", "ratios", LADDER),
    ]
    for name in COMPRESSIONS:
        stages += [*_compression(run, name, seed), evaluate(name, f"sft-{name}", LADDER)]
    return stages


def measured_commands(run: Path, task: str = FREE) -> list[str]:
    """Every command of a seed that changes a figure, the quickstart's among them."""
    stages = [*(quickstart_pipeline(run, 0) if task == FREE else []), *pipeline(run, 0, task)]
    return [command for _, command in stages if not command.startswith("math-eval report")]


def _build(run: Path, name: str, compressed: Path, seed: int) -> tuple[str, str]:
    command = f"ratio-sft build {compressed} {run}/mix/{name} --policy-share 0 --tolerance {TOLERANCE} --seed {seed}"
    return f"Mix the ratios: {name}", command


def _sft(run: Path, name: str, mix: Path, seed: int) -> tuple[str, str]:
    return (
        f"SFT: {name}",
        f"ratio-sft train {mix} {run}/{name} --model {run}/base {SFT_SETTINGS} --seed {seed}",
    )


def _compression(run: Path, name: str, seed: int) -> list[tuple[str, str]]:
    """SFT on another compression of the same traces, of the same lengths; TokenSkip draws one ratio per trace."""
    if name == "tokenskip":
        command = f"{HERE}/tokenskip_mixture.py {run}/compressed-rare-words.jsonl {run}/mix/tokenskip --seed {seed}"
        return [
            ("Draw one ratio for each trace: tokenskip", command),
            _sft(run, "sft-tokenskip", run / "mix/tokenskip", seed),
        ]
    compressed = run / f"compressed-{name}.jsonl"
    scorer = {"rules": "rules", "learnt": f"{run}/compressor"}.get(name)
    command = (
        f"cot-compressor compress {run}/traces.jsonl {compressed} {LADDER} --scorer {scorer}"
        if scorer
        else f"{HERE}/other_compressions.py {run}/compressed-rules.jsonl {compressed} --method {name} --seed {seed}"
    )
    return [
        (f"Compress another way: {name}", f"{command} --tokenizer {run}/base"),
        _build(run, name, compressed, seed),
        _sft(run, f"sft-{name}", run / f"mix/{name}", seed),
    ]
