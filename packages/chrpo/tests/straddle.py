"""Train on recorded rollouts and record what every rollout earned.

Run by one process, or by two:

    torchrun --nproc_per_node 2 straddle.py CHECKPOINT PROMPTS RECORDED OUT ROWS_PER_PASS OBJECTIVE
"""

import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.records import read_records
from chrpo.trl import CHRPOConfig, CHRPOTrainer


class Replay(CHRPOTrainer):
    """Generates what was recorded, by place among the rollouts of all processes, since sampling differs by process."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen = []

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        first = self.accelerator.process_index * len(prompt_ids)
        every = self.recorded[self.state.global_step]
        return every[first : first + len(prompt_ids)], None

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


def main(checkpoint, prompts, recorded, out, rows_per_pass, objective):
    torch.set_num_threads(1)
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else None
    args = CHRPOConfig(
        output_dir=str(Path(out).with_suffix(".run")),
        objective=objective,
        max_steps=2,
        num_generations=6,
        per_device_train_batch_size=int(rows_per_pass),
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
        prompts=list(read_records(prompts, "rl_prompts")),
        control_tokens=ControlTokens.load(checkpoint),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.recorded = json.loads(Path(recorded).read_text("utf-8"))
    trainer.train()
    if trainer.accelerator.is_main_process:
        logs = [line for line in trainer.state.log_history if "loss" in line]
        result = {
            "processes": world or trainer.accelerator.num_processes,
            "steps": trainer.seen,
            "loss": [line["loss"] for line in logs],
            "grad_norm": [line["grad_norm"] for line in logs],
        }
        Path(out).write_text(json.dumps(result), "utf-8")
    # Python's exit joins gloo's threads without letting go of the lock that one of them may still be waiting for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
