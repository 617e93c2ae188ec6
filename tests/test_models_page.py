"""docs/models.md states what is measured now, of every chat template that TRL ships and of the published models."""

from pathlib import Path

import pytest
import trl

from .models_page import Found, measure, page, templates

PAGE = Path(__file__).parents[1] / "docs/models.md"


def test_the_page_of_models_is_what_is_measured():
    if f"TRL {trl.__version__} " not in PAGE.read_text("utf-8"):
        pytest.skip(f"the page was made with another version of TRL than {trl.__version__}")
    assert page() == PAGE.read_text("utf-8"), "make it again: python -m tests.models_page > docs/models.md"


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("R1-Distill", "<｜Assistant｜><think>\n"),
        ("QwQ", "<|im_start|>assistant\n<think>\n"),
        ("Qwen3", "<|im_start|>assistant\n"),
        ("gpt-oss", "<|start|>assistant"),
        ("Magistral", "[/INST]"),
    ],
)
def test_a_prompt_with_a_ratio_ends_as_the_models_own(name, ending):
    found = measure(name, templates()[name])
    assert isinstance(found, Found)
    assert {text.rpartition("Add 1 and 2.")[2].endswith(ending) for _, text in found.prompts[:1]} == {True}
    assert dict(found.prompts)["ratio 0.4"].startswith("Add 1 and 2. <COMP_40>")
    assert found.first == "<COMP_40>"
