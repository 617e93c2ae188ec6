"""Fine-tuning on a built mixture: the command `train`."""
