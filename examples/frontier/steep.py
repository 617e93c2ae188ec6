"""Boxes that often hold coins: each box that is skipped costs 20 points of accuracy.

The problems are made in `boxes.py`, the base model by the quickstart.

    python examples/quickstart/base_model.py runs/steep --problems examples/frontier/steep.py
"""

from functools import partial

from boxes import ENOUGH, LARGEST, stream, write_trace

__all__ = ["ENOUGH", "LARGEST", "problems", "write_trace"]

problems = partial(stream, (0.2, 0.2, 0.2))
