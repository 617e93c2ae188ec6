r"""Benchmark any OpenAI-compatible endpoint on problems of your own, with intervals.

    pip install 'math-eval[openai]'
    OPENAI_API_KEY=… python examples/benchmark_endpoint.py problems.jsonl runs/mine \
        --model Qwen/Qwen3-1.7B --url http://127.0.0.1:8000/v1

problems.jsonl has one `{"id": …, "question": …, "answer": …}` a line. Stopped half-way, the same command goes on. The
report is OUT/report.html; `math-eval compare OUT OTHER` compares two endpoints on the same problems.
"""

import json
import subprocess
import sys
from pathlib import Path

import click


@click.command()
@click.argument("problems", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", required=True, help="Name that the endpoint knows the model by.")
@click.option("--url", required=True, help="Base URL, up to and with /v1.")
@click.option("--max-tokens", type=int, default=4096, show_default=True)
@click.option("--requests", type=int, default=16, show_default=True, help="Requests in flight at once.")
def main(problems: Path, out: Path, model: str, url: str, max_tokens: int, requests: int) -> None:
    """Sample the model at URL on PROBLEMS, grade, and report into OUT."""
    math_eval = Path(sys.executable).with_name("math-eval")
    asked = ["--model", f"openai:{model}", "--base-url", url, "--max-tokens", max_tokens, "--batch-size", requests]
    for command in (
        ["run", *asked, "--tasks", problems, "--output-dir", out],
        ["report", f"{model}={out}", "--output", out / "report.html"],
    ):
        if code := subprocess.run([math_eval, *map(str, command)], check=False).returncode:
            sys.exit(code)
    for result in json.loads((out / "results.json").read_text("utf-8"))["conditions"]:
        click.echo(
            f"{result['task']}: {result['accuracy']:.1%} right (95 %: {result['accuracy_low']:.1%} to "
            f"{result['accuracy_high']:.1%}), {result['completion_tokens']:.0f} tokens an answer, "
            f"{result['truncated_rate']:.1%} cut off"
        )


if __name__ == "__main__":
    main()
