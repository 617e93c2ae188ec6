"""`python -m ratio_sft`, which `accelerate launch -m` and `torchrun -m` need."""

from .cli import cli

cli(prog_name="ratio-sft")
