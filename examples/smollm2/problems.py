r"""Problems of two generators of reasoning-gym, with the verbose worked solutions that the base model learns from.

`chain_sum` adds and subtracts numbers of one digit, `leg_counting` counts the legs of animals. How many steps a problem
needs differs in each. The thinking has each step, and often a second look at it, like real traces. The response has the
answer alone. The split `drill` has worked solutions without a question, eight in a row, as a textbook of arithmetic for
the base model. Needs the extra `reasoning-gym` of math-eval; `base_model.py` trains the model.

    python examples/smollm2/problems.py runs/smollm2/problems --seed 0
"""

import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

TASKS = {
    "chain_sum": {"min_terms": 3, "max_terms": 5, "min_digits": 1, "max_digits": 1},
    "leg_counting": {"min_animals": 2, "max_animals": 3, "max_instances": 6},
}
COUNTS = {"base": 240, "drill": 720, "sft": 200, "rl": 60, "dev": 40, "test": 100, "more": 200}
"""Split -> number of problems of each task; `more` has verbose solutions for the base model, too."""
DRILL_ROW = 8
"""Number of worked solutions in a row of `drill`."""

OPENINGS = (
    "Okay, so I need to work this out carefully. Let me read the question again and think about what it asks for.",
    "Alright, let me think about this step by step, because it is easy to make a mistake here.",
    "Hmm, let me see what is given here first, and then go through it one part at a time.",
    "Let me start by understanding what the question wants from me before I calculate anything.",
)
LEADS = ("First of all,", "Now the next part:", "Okay, going on,", "So,", "Then I think that", "After that,")
CHECKS = (
    "Wait, let me double-check that. {step} Yes, that seems to be right.",
    "Let me go over this once more to be sure. {step} Okay, that is the same as before.",
    "Hmm, is that correct? {step} I think so, it matches what I had.",
)
MOVES = (
    "That looks fine to me, so I can keep going with the rest of it.",
    "Okay, that makes sense, and I do not see any problem with it so far.",
    "Good, so that part is done and I can move on to the next one.",
)
ENDINGS = (
    "I have used everything that the question gives, so I can answer now.",
    "There is nothing left to do, and I am fairly confident about this.",
    "Everything seems to be consistent, so I will go with this.",
)
CHECK_SHARE, MOVE_SHARE = 0.45, 0.4


def steps(task: str, item: dict[str, Any]) -> list[str]:
    """The steps of a worked solution, each with one equation."""
    known = item["metadata"]
    if task == "chain_sum":
        first, *rest = re.findall(r"[+-]? ?\d+", known["expression"])
        value, found = int(first), []
        for term in rest:
            after = value + int(term.replace(" ", ""))
            found.append(f"{value} {term[0]} {term[1:].strip()} = {after}.")
            value = after
        return found
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    found, value = [], 0
    for number, (name, count) in enumerate(known["animals"].items()):
        legs = count * ANIMALS[name]
        found.append(f"{count} {name}: {count} * {ANIMALS[name]} = {legs}.")
        if number:
            found.append(f"{value} + {legs} = {value + legs}.")
        value += legs
    return found


def thinking(worked: list[str], answer: str, draw: random.Random) -> str:
    """What the base model learns to think: the steps, checks of some, and words that a reader could do without."""
    parts = [draw.choice(OPENINGS)]
    for number, step in enumerate(worked):
        parts.append(f"{LEADS[0] if number == 0 else draw.choice(LEADS[1:])} {step}")
        if draw.random() < CHECK_SHARE:
            parts.append(draw.choice(CHECKS).format(step=step))
        elif draw.random() < MOVE_SHARE:
            parts.append(draw.choice(MOVES))
    return " ".join([*parts, draw.choice(ENDINGS), f"So the answer is {answer}."])


def explained(worked: list[str], answer: str) -> str:
    """The solution that the compressor's labels come from: the steps alone, in sentences."""
    found = " ".join(f"In step {number} we find that {step}" for number, step in enumerate(worked, 1))
    start = f"The problem takes {len(worked)} steps, one after the other."
    return f"{start} {found} Nothing is left after them, so it is {answer}."


def problems(task: str, times: int, seed: int) -> Iterator[dict[str, Any]]:
    """Distinct problems of a task, at most twice as many as all splits need; `steps` counts the steps of each."""
    import reasoning_gym

    draw, seen = random.Random(f"{task} {seed}"), set[str]()
    size = 2 * times * sum(COUNTS.values())
    for item in reasoning_gym.create_dataset(task, size=size, seed=seed, **TASKS[task]):
        worked, answer = steps(task, item), item["answer"].removesuffix(".0")
        question = " ".join(item["question"].split())
        if worked and question not in seen and re.fullmatch(r"-?[\d.]+", answer):
            seen.add(question)
            yield {
                "id": f"{task}/{seed}/{len(seen)}",
                "question": question,
                "answer": answer,
                "level": task,
                "steps": len(worked),
                "thinking": thinking(worked, answer, draw),
                "response": rf"The answer is \boxed{{{answer}}}.",
                "worked": " ".join(worked),
                "solution": explained(worked, answer),
            }


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of the problems.")
@click.option("--times", type=click.IntRange(min=1), default=1, show_default=True, help="Multiply the counts by this.")
def main(out: Path, seed: int, times: int) -> None:
    """Write OUT/SPLIT.jsonl for each split; no question is in two of them."""
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = {split: [] for split in COUNTS}
    for task in TASKS:
        found = problems(task, times, seed)
        for split, count in COUNTS.items():
            drawn = [json.dumps(row) for row in islice(found, times * count)]
            if len(drawn) < times * count:
                raise click.ClickException(
                    f"{task}: too few distinct problems for --times {times}; choose a smaller one"
                )
            rows[split] += drawn
    for lines in rows.values():
        random.Random(seed).shuffle(lines)
    solutions = [json.loads(line)["worked"] for line in rows["drill"]]
    rows["drill"] = [
        json.dumps({"text": "\n".join(solutions[start : start + DRILL_ROW])})
        for start in range(0, len(solutions), DRILL_ROW)
    ]
    for split, lines in rows.items():
        (out / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
