"""`python -m chrpo`, which `accelerate launch -m chrpo` needs."""

from .cli import cli

cli()
