"""The model and its tokenizer: control tokens, chat template, checkpoints, LoRA."""
