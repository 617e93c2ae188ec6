"""The hybrid scorer: the tiers of the rules, and in the tier of sentences a trained scorer's judgement."""

import json
import math
from pathlib import Path

import pytest

from cot_compressor import Compressor
from cot_compressor.compress import compress_file
from cot_compressor.errors import DataError
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.hybrid import HybridScorer
from cot_compressor.scorers.load import load_scorer, scorer_fingerprint
from cot_compressor.text.segment import segment

PLAIN = "Tom likes Ann. Ann has pens. Bob gets more. Next think about cards. Bob starts with eggs."


@pytest.fixture(scope="module")
def hybrid(trained: Path, tokenizer_folder: Path) -> Compressor:
    return Compressor.from_pretrained(f"hybrid:{trained}", tokenizer=tokenizer_folder)


def test_the_tiers_are_those_of_the_rules(hybrid: Compressor, toy_traces: list[dict]) -> None:
    items = [ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in toy_traces[:9]]
    for rules, joined in zip(load_scorer("rules").score(items), hybrid.scorer.score(items), strict=True):
        assert [max(-4, math.ceil(score)) for score in joined] == [max(-4, math.ceil(score)) for score in rules]
        before = [at for at, score in enumerate(rules) if score > -4]
        assert before
        assert [joined[at] for at in before] == [rules[at] for at in before]


def test_a_computation_keeps_the_chain_that_the_rules_keep(
    hybrid: Compressor, tokenizer_folder: Path, toy_traces: list[dict]
) -> None:
    rules = Compressor.from_pretrained("rules", tokenizer=tokenizer_folder)
    for row in toy_traces[:20]:
        kept = []
        for compressor in (rules, hybrid):
            result = compressor.compress(row["cot"], question=row["question"], ratio=0.3)
            kept.append({one for one in result.text.replace(":", ".").replace(",", ".").split(".") if "=" in one})
        assert kept[0]
        assert {one.split("=")[1].strip() for one in kept[0]} <= {one.split("=")[1].strip() for one in kept[1]}


@pytest.mark.parametrize("size", [9.0, 1e300])
def test_a_sentence_that_the_trained_scorer_would_keep_comes_earlier(size: float) -> None:
    units = segment(PLAIN)
    item = ScoringInput("How many eggs?", PLAIN, units)
    favoured = PLAIN.index("Next think")

    class Trained:
        name, tokenizer, dtype = "trained", None, "float32"

        def score(self, items: list[ScoringInput]) -> list[list[float]]:
            step = next(unit.step for unit in units if unit.start == favoured)
            return [[size if unit.step == step else -size for unit in each.units] for each in items]

    (rules,), (joined,) = load_scorer("rules").score([item]), HybridScorer(Trained()).score([item])  # type: ignore[arg-type]
    (at,) = (at for at, unit in enumerate(units) if unit.start == favoured)
    others = [place for place, unit in enumerate(units) if unit.end <= favoured]
    assert rules[at] < max(rules[other] for other in others)
    assert joined[at] > max(joined[other] for other in others)


def test_a_repetition_comes_late_however_sure_the_trained_scorer_is(hybrid: Compressor) -> None:
    text = "Bob has pens and cards. Bob has pens and cards. Ann gets eggs. Bob starts with eggs."
    units = segment(text)
    (scores,) = hybrid.scorer.score([ScoringInput("How many eggs?", text, units)])
    second = text.index("Bob", 5)
    repeated = next(at for at, unit in enumerate(units) if unit.start == second)
    assert scores[repeated] == min(scores)


def test_budgets_are_exact_and_nested(hybrid: Compressor, toy_traces: list[dict]) -> None:
    for row in toy_traces[:20]:
        results = hybrid.compress(row["cot"], question=row["question"], ratios=[0.2, 0.4, 0.7])
        kept = [{at for low, high in result.spans for at in range(low, high)} for result in results]
        for result in results:
            assert hybrid.counter.count(result.text) == result.tokens <= int(result.ratio * result.original_tokens)
        assert kept[0] <= kept[1] <= kept[2]


def test_a_file_is_compressed_with_the_hybrid_and_not_mistaken_for_that_of_the_trained_scorer(
    trained: Path, traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    tally = compress_file(traces_file, out, ratios=[0.4], scorer=f"hybrid:{trained}", tokenizer=tokenizer_folder)
    assert tally is not None
    assert json.loads(out.read_text("utf-8").splitlines()[0])["compressions"]
    assert scorer_fingerprint(f"hybrid:{trained}") not in {scorer_fingerprint(trained), scorer_fingerprint("rules")}
    with pytest.raises(DataError, match="made with other settings"):
        compress_file(traces_file, out, ratios=[0.4], scorer=trained, tokenizer=tokenizer_folder)


@pytest.mark.parametrize("name", ["hybrid:", "hybrid:rules"])
def test_a_hybrid_without_a_trained_scorer_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"scorer {name}: a hybrid needs a trained scorer; give hybrid:FOLDER"):
        Compressor.from_pretrained(name)
    with pytest.raises(DataError, match="a hybrid needs a trained scorer"):
        scorer_fingerprint(name)
