r"""CHRPO in a plain PyTorch loop, without any trainer library.

    pip install chrpo transformers math-verify
    python examples/chrpo_in_pytorch.py checkpoints/sft prompts.jsonl checkpoints/chrpo --steps 100

CHECKPOINT follows ratio tokens (`ratio-sft train` makes one), PROMPTS is what `chrpo prepare` wrote. Yours are the
rollouts, the log-probabilities and the optimiser; `chrpo` reads the facts off the tokens, judges them, moves the price.
"""

from pathlib import Path

import click
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.records import read_records
from chrpo.core import token_loss
from chrpo.driver import Driver, Rollout
from chrpo.grader import grade
from chrpo.rollout import RolloutReader


def log_probs(model: torch.nn.Module, ids: torch.Tensor, start: int) -> torch.Tensor:
    """Of each token from `start` on, [tokens]."""
    return model(ids).logits[0, start - 1 : -1].log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("prompts", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--steps", default=100, show_default=True)
@click.option("--each", default=8, show_default=True, help="Prompts in a step.")
@click.option("--learning-rate", default=1e-6, show_default=True)
@click.option("--max-tokens", default=4096, show_default=True)
def main(checkpoint: Path, prompts: Path, out: Path, steps: int, each: int, learning_rate: float, max_tokens: int):
    """Train CHECKPOINT on PROMPTS and save it to OUT."""
    try:
        tokens, rows = ControlTokens.load(checkpoint), list(read_records(prompts, "rl_prompts"))
        driver = Driver(rows, tokens, group_size=2 * len(tokens.ratios))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    ladder = tokenizer.convert_tokens_to_ids(list(tokens.ratios))
    reader = RolloutReader(tokenizer, tokens, [tokenizer.eos_token_id], grade)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    sampling = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": max_tokens - 1}
    for step in range(1, steps + 1):
        rollouts, answers = [], []
        for row in torch.randperm(len(rows))[:each].tolist():
            chat, asked = rows[row]["prompt"], int(driver.prompts.asked[row])  # -1: by the model, so all are tried
            prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
            for rung in 2 * list(range(len(ladder))) if asked < 0 else 2 * len(ladder) * [asked]:
                forced = torch.tensor([[*prompt, ladder[rung]]], device=model.device)
                with torch.no_grad():
                    ids = model.generate(forced, attention_mask=torch.ones_like(forced), **sampling)
                    chosen = log_probs(model, ids[:, : forced.shape[1]], len(prompt))[0].item()
                facts = reader.read(ids[0, len(prompt) + 1 :].tolist(), rows[row]["answer"])
                rollouts.append(Rollout(row, rung, facts, chosen))
                answers.append((ids, len(prompt)))
        judged = driver.judge(rollouts, [str(rollout.row) for rollout in rollouts])
        total = sum(rollout.facts.completion_tokens for rollout in rollouts)
        for (ids, start), control, response in zip(answers, judged.control, judged.response, strict=True):
            taken = log_probs(model, ids, start)
            advantages = taken.new_tensor([control, *[response] * (len(taken) - 1)])
            token_loss(taken, advantages, tokens=total).backward()
        optimizer.step()
        optimizer.zero_grad()
        click.echo(f"step {step}: {judged.metrics['accuracy']:.3f} right, {total / len(rollouts):.1f} tokens a rollout")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    tokens.save(out)


if __name__ == "__main__":
    main()
