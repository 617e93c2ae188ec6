r"""How much a served checkpoint saves a client that does not know about ratios: tokens, seconds and price.

    pip install openai vllm
    vllm serve checkpoints/chrpo --port 8000
    python examples/serve_and_save.py problems.jsonl --url http://127.0.0.1:8000/v1 --model checkpoints/chrpo

By default, the checkpoint's chat template asks the model to choose its own ratio, so "as served" is a plain request.
"full thinking" is the same checkpoint with ratio 1. Each line of problems.jsonl has a `question`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from openai import OpenAI, OpenAIError

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
WAYS: dict[str, dict[str, Any]] = {
    "full thinking": {"chat_template_kwargs": {"ratio": 1.0}},
    "as served": {},
}


@click.command()
@click.argument("problems", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", required=True, help="Base URL of the server, with /v1.")
@click.option("--model", required=True, help="Name of the checkpoint at the server.")
@click.option("--limit", type=int, default=100, show_default=True, help="Number of problems to ask.")
@click.option("--max-tokens", type=int, default=4096, show_default=True, help="Largest number of new tokens.")
@click.option("--price", type=float, default=0.6, show_default=True, help="Dollars for a million completion tokens.")
def main(problems: Path, url: str, model: str, limit: int, max_tokens: int, price: float) -> None:
    """Ask the model at URL the first PROBLEMS in both ways, and print the cost of each way."""
    client = OpenAI(base_url=url, api_key="none")
    try:
        questions = [json.loads(line)["question"] for line in problems.read_text("utf-8").splitlines()[:limit]]
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{problems}: expected JSON Lines with a `question` each ({error!r})") from error
    if not questions:
        raise click.UsageError(f"{problems}: no problems")
    tokens, seconds = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0.0)
    with click.progressbar(questions, label="asking", file=click.get_text_stream("stderr")) as shown:
        for question in shown:
            for way, extra in WAYS.items():
                start = time.perf_counter()
                answer = client.chat.completions.create(
                    model=model,
                    messages=[{"role": "user", "content": f"{INSTRUCTION}\n{question}"}],
                    max_tokens=max_tokens,
                    temperature=0,
                    extra_body=extra,
                )
                seconds[way] += time.perf_counter() - start
                tokens[way] += answer.usage.completion_tokens if answer.usage else 0
    click.echo(f"{'':14}{'tokens':>9}{'seconds':>9}{'$ per 1000 problems':>21}")
    for way in WAYS:
        mean = tokens[way] / len(questions)
        click.echo(f"{way:14}{mean:9.1f}{seconds[way] / len(questions):9.3f}{mean * price / 1000:21.3f}")
    full, served = (tokens[way] for way in WAYS)
    click.echo(
        f"saved: {1 - served / max(full, 1):.1%} of the tokens, {len(questions)} problems, one request at a time"
    )


if __name__ == "__main__":
    try:
        main()
    except OpenAIError as error:
        sys.exit(f"error: {error}")
