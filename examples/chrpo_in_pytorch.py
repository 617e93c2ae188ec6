r"""CHRPO in a plain PyTorch loop, without a trainer library.

    pip install 'chrpo[torch]' transformers
    python examples/chrpo_in_pytorch.py checkpoints/sft prompts.jsonl checkpoints/chrpo --max-steps 100

CHECKPOINT follows ratio tokens (`ratio-sft train` makes one); `chrpo prepare` writes PROMPTS. This script generates the
rollouts and computes log-probabilities, loss and update; `chrpo` reads the rollouts, computes the advantages of their
tokens, and moves the price of accuracy.
"""

from pathlib import Path

import click
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, Rollout, RolloutReader, grade, read_prompts
from chrpo.core import token_loss


def log_probs(model: torch.nn.Module, ids: torch.Tensor, start: int) -> torch.Tensor:
    """Log-probability of each token from `start` on, [tokens]."""
    return model(ids).logits[0, start - 1 : -1].log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("prompts", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--max-steps", "--steps", "steps", default=100, show_default=True, help="Number of steps.")
@click.option("--each", default=8, show_default=True, help="Number of prompts per step.")
@click.option("--learning-rate", default=1e-6, show_default=True, help="Learning rate of AdamW.")
@click.option("--max-tokens", default=4096, show_default=True, help="Largest number of tokens of a completion.")
def main(checkpoint: Path, prompts: Path, out: Path, steps: int, each: int, learning_rate: float, max_tokens: int):
    """Train CHECKPOINT on PROMPTS and save it to OUT."""
    try:
        tokens, rows = ControlTokens.load(checkpoint), read_prompts(prompts)
        every = CHRPOSettings(ladder_share=1)  # this loop forces all ratios and draws none
        controller = CHRPOController(rows, tokens, group_size=2 * len(tokens.ratios), settings=every)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, use_safetensors=True, trust_remote_code=False)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    ladder = tokenizer.convert_tokens_to_ids(list(tokens.ratios))
    reader = RolloutReader(tokenizer, tokens, [tokenizer.eos_token_id], grade)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    sampling = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": max_tokens - 1}
    for number in range(1, steps + 1):
        rollouts, answers = [], []
        for row in torch.randperm(len(rows))[:each].tolist():
            chat, requested = rows[row]["prompt"], int(controller.prompts.requested[row])
            prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
            # Where the model chooses (-1), every ratio is rolled out twice.
            for index in 2 * list(range(len(ladder))) if requested < 0 else 2 * len(ladder) * [requested]:
                forced = torch.tensor([[*prompt, ladder[index]]], device=model.device)
                with torch.no_grad():
                    ids = model.generate(forced, attention_mask=torch.ones_like(forced), **sampling)
                    log_prob = log_probs(model, ids[:, : forced.shape[1]], len(prompt))[0].item()
                stats = reader.read(ids[0, len(prompt) + 1 :].tolist(), rows[row]["answer"])
                rollouts.append(Rollout(row=row, ratio_index=index, stats=stats, log_prob=log_prob))
                answers.append((ids, len(prompt)))
        step = controller.step(rollouts, prompts=[str(rollout.row) for rollout in rollouts])
        for (ids, start), control, response in zip(answers, step.control, step.response, strict=True):
            taken = log_probs(model, ids, start)
            advantages = taken.new_tensor([control, *[response] * (len(taken) - 1)])
            token_loss(taken, advantages, tokens=step.tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
        accuracy, length = step.metrics["accuracy"], step.tokens / len(rollouts)
        click.echo(f"step {number}: accuracy {accuracy:.3f}, {length:.1f} tokens per rollout")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    tokens.save(out)


if __name__ == "__main__":
    main()
