"""Tokens per second of the transformers backend against lm-evaluation-harness's, greedy, interleaved in one run.

Both get the same checkpoint, rendered prompts, batch size, number format and threads. Two processes keep their model
loaded and take turns; their order changes every round, and the ratio is computed within a round.
lm-evaluation-harness is installed in an environment of its own, with the versions of torch and transformers that run
here.

    python benchmarks/math_eval_throughput.py --model runs/smollm2/base --data-dir data --rounds 5
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from recording import record, spread

_PEER = "lm_eval==0.4.13"
_NAMES = ("math-eval", "lm-evaluation-harness")


def tables(result: dict[str, Any]) -> str:
    """The speed of each backend, and the ratio."""
    lines = ["| backend | tokens/s | tokens per processor second |", "|---|---|---|"]
    for name in _NAMES:
        rate, processor = result["tokens_per_s"][name], result["tokens_per_processor_s"][name]
        lines.append(
            f"| {name} | {rate['median']:.0f} ({rate['low']:.0f} to {rate['high']:.0f}) "
            f"| {processor['median']:.0f} ({processor['low']:.0f} to {processor['high']:.0f}) |"
        )
    by_clock, by_processor = (
        f"{ratio['median']:.2f} × ({ratio['low']:.2f} to {ratio['high']:.2f})"
        for ratio in (result["ratio"], result["processor_ratio"])
    )
    lines += [
        "",
        f"Ratio within a round, median and range of {result['rounds']}: **{by_clock}** by the clock, {by_processor} by "
        f"processor time. {result['model']}, {result['prompts']} prompts of {result['task']}, {result['tokens']} "
        f"tokens generated, batches of {result['batch_size']}, at most {result['max_tokens']} tokens each; "
        f"{result['equal']} of {result['prompts']} completions are equal.",
    ]
    return "\n".join(lines)


@click.command()
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Model folder with safetensors weights.",
)
@click.option("--tasks", "task", default="gsm8k", show_default=True, help="Task, or a problems file.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the published benchmark files.")
@click.option("--prompts", "count", default=32, show_default=True, help="Number of problems, the first ones.")
@click.option("--batch-size", default=16, show_default=True, help="Number of prompts in a batch.")
@click.option("--max-tokens", default=128, show_default=True, help="Maximum number of new tokens.")
@click.option("--rounds", default=5, show_default=True, help="Number of measured rounds.")
@click.option("--peers", type=click.Path(path_type=Path), help="Folder for the environment of lm-evaluation-harness.")
@click.option("--worker", type=click.Choice(_NAMES), hidden=True)
def main(
    model: Path,
    task: str,
    data_dir: Path | None,
    count: int,
    batch_size: int,
    max_tokens: int,
    rounds: int,
    peers: Path | None,
    worker: str | None,
) -> None:
    """Measure, print the table and record it."""
    if worker:
        serve({"math-eval": ours, "lm-evaluation-harness": theirs}[worker](model, batch_size, max_tokens))
        return
    from math_eval._shared.control_tokens import user_turn
    from math_eval.backends.checkpoint import Checkpoint
    from math_eval.tasks import load_task

    checkpoint = Checkpoint(model)
    loaded = load_task(task, data_dir=data_dir, limit=count)
    prompts = checkpoint.render([user_turn(problem["question"]) for problem in loaded.problems])
    prompts.sort(key=checkpoint.length, reverse=True)
    pythons = (Path(sys.executable), peer_python(peers))
    options = [__file__, f"--model={model}", f"--batch-size={batch_size}", f"--max-tokens={max_tokens}"]
    workers = {
        name: subprocess.Popen(
            [python, *options, f"--worker={name}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, python in zip(_NAMES, pythons, strict=True)
    }
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in _NAMES}
    for number in range(rounds + 1):
        for name in _NAMES if number % 2 else _NAMES[::-1]:
            answer = ask(workers[name], prompts)
            answer["tokens"] = sum(checkpoint.count(text) for text in answer["texts"])
            measured[name] += [answer] if number else []
            click.echo(f"round {number} {name}: {answer['tokens'] / answer['clock']:.1f} tokens/s", err=True)
    for process in workers.values():
        process.stdin.close()
        process.wait()

    def rates(name: str, clock: str) -> list[float]:
        return [one["tokens"] / one[clock] for one in measured[name]]

    def ratio(clock: str) -> dict[str, float]:
        return spread([one / two for one, two in zip(*(rates(name, clock) for name in _NAMES), strict=True)])

    texts = [measured[name][0]["texts"] for name in _NAMES]
    result = {
        "tokens_per_s": {name: spread(rates(name, "clock")) for name in _NAMES},
        "tokens_per_processor_s": {name: spread(rates(name, "processor")) for name in _NAMES},
        "ratio": ratio("clock"),
        "processor_ratio": ratio("processor"),
        "tokens": measured[_NAMES[0]][0]["tokens"],
        "equal": sum(one.strip() == two.strip() for one, two in zip(*texts, strict=True)),
        "rounds": rounds,
        "prompts": len(prompts),
        "model": model.name,
        "task": loaded.name,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "peer": _PEER,
    }
    record(__file__, result, tables)


def peer_python(folder: Path | None) -> Path:
    """The Python of an environment with lm-evaluation-harness, which is created if it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = (folder or cache / "extra-cot-peers") / "lm-eval"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        same = [f"{name}=={version(name).split('+')[0]}" for name in ("torch", "transformers", "accelerate", "click")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *same, _PEER], check=True)
    return python


Generate = Callable[[list[str]], list[str]]


def ours(model: Path, batch_size: int, max_tokens: int) -> Generate:
    """math-eval's transformers backend."""
    from math_eval.backends import Sampling
    from math_eval.backends.hf import HFModel

    loaded, sampling = HFModel(model), Sampling(max_tokens)

    def generate(prompts: list[str]) -> list[str]:
        batches = (prompts[start : start + batch_size] for start in range(0, len(prompts), batch_size))
        return [one.text for batch in batches for one in loaded.complete(batch, sampling, seed=0)]

    return generate


def theirs(model: Path, batch_size: int, max_tokens: int) -> Generate:
    """lm-evaluation-harness's HF backend."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    loaded = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size)
    how = {"until": [], "max_gen_toks": max_tokens, "do_sample": False}

    def generate(prompts: list[str]) -> list[str]:
        requests = [Instance("generate_until", {}, (prompt, how), index) for index, prompt in enumerate(prompts)]
        return loaded.generate_until(requests, disable_tqdm=True)

    return generate


def serve(generate: Generate) -> None:
    """Read JSON lists of prompts from standard input, and write texts, seconds and processor seconds for each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        prompts = json.loads(line)
        clock, processor = time.perf_counter(), time.process_time()
        texts = generate(prompts)
        spent = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
        print(json.dumps({"texts": texts, **spent}), file=answers, flush=True)


def ask(worker: subprocess.Popen[str], prompts: list[str]) -> dict[str, Any]:
    """One measurement."""
    worker.stdin.write(json.dumps(prompts) + "\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


if __name__ == "__main__":
    main()
