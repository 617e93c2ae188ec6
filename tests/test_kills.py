"""The comparison of `benchmarks/toolkit_kills.py`: a test of kills is worth what it can notice."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = {"out.jsonl": [{"id": "a"}], "mix/card.json": [{"rows": 1}], "mix/model.safetensors": b"weights"}


@pytest.fixture
def pipeline(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("kill_pipeline")


@pytest.fixture
def place(tmp_path):
    """A folder as a command leaves it: an input, a log and three files."""
    (tmp_path / "input.jsonl").symlink_to(ROOT / "README.md")
    (tmp_path / "log").write_text("done")
    (tmp_path / "out.jsonl").write_text(json.dumps({"id": "a", "grade_ms": 3.5, "latency_s": 1}) + "\n")
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "card.json").write_text(json.dumps({"rows": 1, "time": "now"}))
    (tmp_path / "mix" / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_an_end_that_differs_only_in_times_is_equal(pipeline, place):
    assert pipeline.differing(place, EXPECTED) == []
    assert pipeline.partial(place, EXPECTED) == []


def test_what_is_lost_doubled_cut_or_left_over_differs(pipeline, place):
    (place / "mix" / "card.json").unlink()
    (place / "mix" / "model.safetensors").write_bytes(b"weigh")
    (place / "out.jsonl").write_text('{"id": "a"}\n{"id": "a"}\n')
    (place / ".out.jsonl.0.lock").touch()
    assert pipeline.differing(place, EXPECTED) == [
        ".out.jsonl.0.lock",
        "mix/card.json",
        "mix/model.safetensors",
        "out.jsonl",
    ]


def test_an_unfinished_file_is_partial_only_under_a_final_name(pipeline, place):
    (place / ".next.partial").mkdir()
    for path in (".next.partial/out.jsonl", "mix/samples_a.partial.jsonl", ".next.12ab.tmp"):
        (place / path).write_text('{"id')
    assert pipeline.partial(place, EXPECTED) == []
    (place / "out.jsonl").write_text('{"id')
    assert pipeline.partial(place, EXPECTED) == ["out.jsonl"]
