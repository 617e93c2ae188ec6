"""One thread for every test process, so that a run in one of its own gives the same numbers, to the last bit."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
