"""`python -m cot_compressor`, the form that `accelerate launch -m` and `torchrun -m` need."""

from .cli import cli

cli(prog_name="cot-compressor")
