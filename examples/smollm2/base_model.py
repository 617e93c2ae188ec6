"""Fine-tunes SmolLM2 on verbose worked solutions, so that it solves the problems by thinking at length.

A killed run continues from its last checkpoint. All later stages start from this model.

    cd runs/smollm2; python ../../examples/smollm2/base_model.py pretrained base --data problems/base.jsonl
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."


def encode(tokenizer: Any, row: dict[str, Any]) -> dict[str, list[int]]:
    """A row as token ids and labels; of a worked problem, only thinking and response count in the loss."""
    if "text" in row:
        ids = tokenizer(row["text"] + tokenizer.eos_token).input_ids
        return {"input_ids": ids, "labels": ids}
    message = {"role": "user", "content": f"{INSTRUCTION}\n{row['question']}"}
    start = tokenizer(tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)).input_ids
    rest = tokenizer(f"<think>\n{row['thinking']}\n</think>\n\n{row['response']}{tokenizer.eos_token}").input_ids
    return {"input_ids": start + rest, "labels": [-100] * len(start) + rest}


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), multiple=True, required=True, help="File of rows; repeatable.")
@click.option("--batch-size", default=8, show_default=True, help="Number of rows in a step.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the order of rows.")
def main(model: Path, out: Path, data: tuple[Path, ...], batch_size: int, seed: int) -> None:
    """Write the model folder OUT, which is MODEL after one epoch of SFT on the thinking and the texts in the data."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
    from transformers.trainer_utils import get_last_checkpoint

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    lines = [line for path in data for line in path.read_text("utf-8").splitlines()]
    rows = [encode(tokenizer, json.loads(line)) for line in lines]
    partial = out.with_name(f"{out.name}.partial")
    settings = TrainingArguments(
        output_dir=str(partial),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=3e-4,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.01,
        train_sampling_strategy="group_by_length",
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        save_steps=25,
        save_total_limit=1,
        logging_steps=5,
        report_to=[],
        seed=seed,
    )
    network = AutoModelForCausalLM.from_pretrained(model, dtype="float32", local_files_only=True)
    collator = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=64, label_pad_token_id=-100)
    trainer = Trainer(network, settings, collator, rows, processing_class=tokenizer)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(partial)) if partial.is_dir() else None)
    trainer.save_model(str(out))
    shutil.rmtree(partial)


if __name__ == "__main__":
    main()
