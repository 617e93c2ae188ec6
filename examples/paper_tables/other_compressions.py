"""The same traces, compressed to the same token counts by simpler methods: random words, the head, rare words.

`rare-words` is a substitute for LLMLingua-2, whose weights this example does not download. It keeps numbers first, then
rare words before frequent ones, and signs and stop words last. Like LLMLingua-2, it cuts through formulas.

    python examples/paper_tables/other_compressions.py compressed.jsonl head.jsonl --method head --tokenizer base
"""

import json
from pathlib import Path

import click

from cot_compressor import Compressor, select_baseline


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--method", required=True, type=click.Choice(["random", "head", "rare-words"]), help="Method.")
@click.option("--tokenizer", required=True, type=click.Path(path_type=Path), help="Folder of the tokenizer.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the method `random`.")
def main(source: Path, out: Path, method: str, tokenizer: Path, seed: int) -> None:
    """Write a compressed file in which every text has as many tokens as in SOURCE, rounded down to whole words."""
    counter = Compressor.from_pretrained("rules", tokenizer=tokenizer).counter
    with source.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as written:
        for line in lines:
            row = json.loads(line)
            for entry in row["compressions"]:
                choice = select_baseline(method, row["cot"], entry["tokens"], counter, seed=seed)
                entry.update(
                    text=choice.text,
                    spans=[list(span) for span in choice.spans],
                    tokens=choice.tokens,
                    achieved_ratio=choice.tokens / entry["original_tokens"],
                )
            written.write(f"{json.dumps(row)}\n")


if __name__ == "__main__":
    main()
