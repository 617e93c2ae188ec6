"""Train on recorded rollouts with one process and with two, and record what every rollout earned.

    python straddle.py RECORDED OUT '{"name": ["checkpoint", "prompts.jsonl", "objective"], …}'

writes `OUT/name-1.json` and `OUT/name-2.json`, … The processes are forks of this one, which has loaded the
libraries, and find each other by the variables that torchrun sets.
"""

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import torch
import trl
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

from chrpo.prompts import control_tokens, read_prompts
from chrpo.trl import CHRPOConfig, CHRPOTrainer


class Replay(CHRPOTrainer):
    """Generates what was recorded, by place among the rollouts of all processes, since sampling differs by process."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen = []

    def _generate_single_turn(self, prompt_ids, *_, **__):
        first = self.accelerator.process_index * len(prompt_ids)
        every = self.recorded[self.state.global_step]
        return every[first : first + len(prompt_ids)], None, *[{}] * (trl.__version__.startswith("0."))

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        whole = [self.accelerator.gather(batch["advantages"][:, column].contiguous()).tolist() for column in (0, 1)]
        self.seen.append(
            {
                "reward": self.result.reward.tolist(),
                "control": self.result.control.tolist(),
                "response": self.result.response.tolist(),
                "token_advantages": whole,
                "tokens": batch["num_items_in_batch"].item(),
                "constraint": self.controller.constraint.state_dict(),
            }
        )
        return batch


def train(recorded, out, processes, checkpoint, prompts, objective):
    torch.set_num_threads(1)
    args = CHRPOConfig(
        output_dir=str(out.with_suffix(".run")),
        objective=objective,
        max_steps=2,
        num_generations=6,
        per_device_train_batch_size=18 // processes,
        max_completion_length=16,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        activation_checkpointing=False,
        gradient_accumulation_steps=1,
    )
    trainer = Replay(
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        args,
        prompts=read_prompts(prompts),
        control_tokens=control_tokens(checkpoint),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.recorded = json.loads(Path(recorded).read_text("utf-8"))
    trainer.train()
    if trainer.accelerator.is_main_process:
        logs = [line for line in trainer.state.log_history if "loss" in line]
        result = {
            "processes": trainer.accelerator.num_processes,
            "steps": trainer.seen,
            "loss": [line["loss"] for line in logs],
            "grad_norm": [line["grad_norm"] for line in logs],
        }
        out.write_text(json.dumps(result), "utf-8")


def fork(processes, function, *arguments):
    """Call the function in so many processes; if one fails, the others are killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    running = set()
    for rank in range(processes):
        if child := os.fork():
            running.add(child)
            continue
        if processes > 1:
            os.environ |= {**address, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        try:
            function(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        # Python's exit joins gloo's threads without letting go of the lock that one of them may still be waiting for.
        os._exit(0)
    while running:
        child, status = os.wait()
        running.remove(child)
        if status:
            for other in running:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"one of {processes} processes failed")


def main(recorded, out, runs):
    for name, run in json.loads(runs).items():
        for processes in (1, 2):
            fork(processes, train, recorded, Path(out) / f"{name}-{processes}.json", processes, *run)


if __name__ == "__main__":
    main(*sys.argv[1:])
