"""Boxes of unequal worth: skipping a tin costs 25 points of accuracy, a crate 8 and a basket 2.

The problems are made in `boxes.py`, the base model by the quickstart.

    python examples/quickstart/base_model.py runs/mixed --problems examples/frontier/mixed.py
"""

from functools import partial

from boxes import ENOUGH, LARGEST, stream, write_trace

__all__ = ["ENOUGH", "LARGEST", "problems", "write_trace"]

problems = partial(stream, (0.25, 0.08, 0.02))
