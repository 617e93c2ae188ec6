"""What is run for one seed: the stages that all rows share, then each row's own, as titles and commands.

Rows with the same start share it: one base model, one SFT with our compressor, one set of RL prompts. Running the
commands is left to `paper_tables`, reading what they measured to `collect`.

    for title, command in pipeline(Path("runs/paper_tables/seed0"), 0): ...
"""

from pathlib import Path

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "quickstart"
SOURCES = (
    *(QUICKSTART / name for name in ("base_model.py", "muon.py", "problems.py")),
    *(HERE / name for name in ("longer.py", "one_ratio.py", "other_compressions.py", "untaught.py")),
)

# One ratio below the default ladder: a wordy trace holds its equations in less than a fifth of its tokens.
RATIOS = (0.15, 0.2, 0.4, 0.6, 0.8, 1.0)
COMPRESSIONS = ("random", "head", "rare-words", "tokenskip")
RL = {
    "chrpo": "",
    "grpo": "--objective grpo",
    "l1": "--objective l1",
    "degrpo": "--objective degrpo",
    "shortest_correct": "--objective shortest_correct",
    "chrpo-no-constraint": "--without constraint",
    "chrpo-no-control": "--without control",
    "chrpo-no-mode": "--without mode",
    "chrpo-no-stratified": "--without stratified",
}
"""Options of `chrpo train` for the rows that start from the same SFT checkpoint."""

_LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)


def pipeline(run: Path, seed: int) -> list[tuple[str, str]]:
    """The stages in order, as (title, command)."""
    tests = f"--tasks {run}/problems/test.jsonl,{run}/problems/longer.jsonl --max-tokens 400 --batch-size 250"

    def evaluate(name: str, model: str, ratios: str) -> tuple[str, str]:
        command = f"math-eval run --model {run}/{model} {tests} {ratios} --seed {seed} --output-dir {run}/eval/{name}"
        return f"Evaluate {name}", command

    stages = _shared(run, seed)
    stages += [
        evaluate("base", "base", ""),
        evaluate("sft", "ratios", _LADDER),
        evaluate("sft-policy", "sft", "--ratio policy"),
    ]
    for name in COMPRESSIONS:
        stages += [*_compression(run, name, seed), evaluate(name, f"sft-{name}", _LADDER)]
    for name, options in RL.items():
        stages += [_rl(run, name, "sft", options, seed), evaluate(name, name, "--ratio policy")]
    stages += [
        (
            "Give the base model control tokens that it was never taught",
            f"{HERE}/untaught.py {run}/base {run}/untaught " + " ".join(map(str, RATIOS)),
        ),
        _rl(run, "chrpo-no-sft", "untaught", "", seed),
        evaluate("chrpo-no-sft", "chrpo-no-sft", "--ratio policy"),
    ]
    return stages


def _shared(run: Path, seed: int) -> list[tuple[str, str]]:
    sft, rl = (f"{run}/problems/{split}.jsonl" for split in ("sft", "rl"))
    limits = f"--max-tokens 240 --batch-size 250 --seed {seed}"
    prepare = f"--checkpoint {run}/ratios --threshold 0.3 --seed {seed}"
    return [
        ("Make problems and the base model", f"{QUICKSTART}/base_model.py {run} --seed {seed}"),
        ("Make problems longer than any in training", f"{HERE}/longer.py {run}/problems/longer.jsonl --seed {seed}"),
        (
            "Let the base model solve the training problems",
            f"math-eval run --model {run}/base --tasks {sft} {limits} --output-dir {run}/samples/base",
        ),
        ("Keep what it got right", f"math-eval export traces {run}/samples/base {run}/traces.jsonl"),
        (
            "Compress, formulas whole",
            f"cot-compressor compress {run}/traces.jsonl {run}/compressed.jsonl {_LADDER} --scorer rules "
            f"--tokenizer {run}/base",
        ),
        _build(run, "ratios", run / "compressed.jsonl", seed),
        _sft(run, "ratios", run / "mix/ratios", seed),
        (
            "Sample that model at every ratio",
            f"math-eval run --model {run}/ratios --tasks {sft},{rl} --limit 300 {_LADDER} --samples 4 "
            f"--temperature 0.5 {limits} --output-dir {run}/samples/ratios",
        ),
        (
            "Find the smallest ratio that is enough",
            f"chrpo prepare {run}/samples/ratios/samples_sft.jsonl {run}/teacher.jsonl {prepare}",
        ),
        (
            "Mix in problems whose ratio is the model's to choose",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix/policy --teacher {run}/teacher.jsonl "
            f"--policy-share 0.4 --seed {seed}",
        ),
        (
            "SFT: a first idea of how much each problem needs",
            f"ratio-sft train {run}/mix/policy {run}/sft --model {run}/ratios --max-steps 250 --learning-rate 1e-3 "
            f"--batch-size 16 --weight-decay 0.01 --seed {seed}",
        ),
        (
            "Take other problems for reinforcement learning",
            f"chrpo prepare {run}/samples/ratios/samples_rl.jsonl {run}/rl_prompts.jsonl {prepare}",
        ),
    ]


def _build(run: Path, name: str, compressed: Path, seed: int) -> tuple[str, str]:
    command = f"ratio-sft build {compressed} {run}/mix/{name} --policy-share 0 --seed {seed}"
    return f"Mix the ratios: {name}", command


def _sft(run: Path, name: str, mix: Path, seed: int) -> tuple[str, str]:
    return (
        f"SFT: {name}",
        f"ratio-sft train {mix} {run}/{name} --model {run}/base --max-steps 1200 --learning-rate 2e-3 "
        f"--batch-size 16 --weight-decay 0.01 --seed {seed}",
    )


def _compression(run: Path, name: str, seed: int) -> list[tuple[str, str]]:
    """SFT on another compression of the same traces to the same lengths; TokenSkip draws one ratio for each trace."""
    if name == "tokenskip":
        command = f"{HERE}/one_ratio.py {run}/mix/rare-words {run}/mix/tokenskip --seed {seed}"
        return [("Draw one ratio a trace: tokenskip", command), _sft(run, "sft-tokenskip", run / "mix/tokenskip", seed)]
    compressed = run / f"compressed-{name}.jsonl"
    return [
        (
            f"Compress another way: {name}",
            f"{HERE}/other_compressions.py {run}/compressed.jsonl {compressed} --method {name} --tokenizer {run}/base "
            f"--seed {seed}",
        ),
        _build(run, name, compressed, seed),
        _sft(run, f"sft-{name}", run / f"mix/{name}", seed),
    ]


def _rl(run: Path, name: str, model: str, options: str, seed: int) -> tuple[str, str]:
    return (
        f"RL: {name}",
        f"chrpo train {run}/rl_prompts.jsonl {run}/{name} --model {run}/{model} {options} --steps 30 "
        f"--prompts-per-step 16 --rollouts 12 --learning-rate 1e-4 --temperature 0.5 --max-tokens 200 --save-steps 10 "
        f"--seed {seed}",
    )
