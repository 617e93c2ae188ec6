r"""Benchmark any OpenAI-compatible endpoint on problems of your own, with intervals.

    pip install './packages/math-eval[openai]'
    OPENAI_API_KEY=… python examples/benchmark_endpoint.py problems.jsonl runs/mine \
        --model Qwen/Qwen3-1.7B --url http://127.0.0.1:8000/v1

problems.jsonl has one `{"id": …, "question": …, "answer": …}` in each line. After an interruption the same command
continues. The report is OUT/report.html; `math-eval compare OUT OTHER` compares two endpoints on the same problems.
"""

import json
import subprocess
import sys
from pathlib import Path

import click


@click.command()
@click.argument("problems", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", required=True, help="Name of the model at the endpoint.")
@click.option("--url", required=True, help="Address of the endpoint, including /v1.")
@click.option("--max-tokens", type=int, default=4096, show_default=True, help="Maximum number of new tokens.")
@click.option("--requests", type=int, default=16, show_default=True, help="Number of requests in flight at once.")
def main(problems: Path, out: Path, model: str, url: str, max_tokens: int, requests: int) -> None:
    """Sample the model at URL on PROBLEMS, grade, and report into OUT."""
    math_eval = Path(sys.executable).with_name("math-eval")
    flags = ["--model", f"openai:{model}", "--base-url", url, "--max-tokens", max_tokens, "--batch-size", requests]
    for command in (
        ["run", *flags, "--tasks", problems, "--output-dir", out],
        ["report", f"{model}={out}", "--output", out / "report.html"],
    ):
        if code := subprocess.run([math_eval, *map(str, command)], check=False).returncode:
            sys.exit(code)
    for result in json.loads((out / "results.json").read_text("utf-8"))["conditions"]:
        click.echo(
            f"{result['task']}: {result['accuracy']:.1%} correct (95 %: {result['accuracy_low']:.1%} to "
            f"{result['accuracy_high']:.1%}), {result['completion_tokens']:.0f} tokens per answer, "
            f"{result['truncated_rate']:.1%} cut off"
        )


if __name__ == "__main__":
    main()
