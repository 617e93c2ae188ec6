"""The hybrid scorer: the rules' equations and closing statement first, then the order of a trained scorer."""

import json
from pathlib import Path

import pytest

from cot_compressor import Compressor
from cot_compressor.compress import compress_file
from cot_compressor.errors import DataError
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.load import load_scorer, scorer_fingerprint
from cot_compressor.scorers.rules import BEFORE_SENTENCES
from cot_compressor.text.segment import segment

PLAIN = "Tom likes Ann. Ann has pens. Bob gets more. Next think about cards. Bob starts with eggs."


@pytest.fixture(scope="module")
def hybrid(trained: Path, tokenizer_folder: Path) -> Compressor:
    return Compressor.from_pretrained(f"hybrid:{trained}", tokenizer=tokenizer_folder)


def test_what_the_rules_put_before_sentences_comes_first_and_the_rest_keeps_the_trained_scores(
    hybrid: Compressor, trained: Path, toy_traces: list[dict]
) -> None:
    items = [ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in toy_traces[:9]]
    columns = [scorer.score(items) for scorer in (load_scorer("rules"), load_scorer(trained), hybrid.scorer)]
    for rules, model, joined in zip(*columns, strict=True):
        first = [at for at, score in enumerate(rules) if score > BEFORE_SENTENCES]
        rest = [at for at in range(len(rules)) if at not in first]
        assert first
        assert sorted(first, key=lambda at: (-joined[at], at)) == sorted(first, key=lambda at: (-rules[at], at))
        assert min(joined[at] for at in first) > max(0.0, *model)
        assert [joined[at] for at in rest] == [model[at] for at in rest]


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


def test_without_equations_the_order_after_the_closing_sentence_is_the_trained_scorers(
    hybrid: Compressor, trained: Path
) -> None:
    units = segment(PLAIN)
    item = [ScoringInput("How many eggs?", PLAIN, units)]
    (joined,), (model,) = hybrid.scorer.score(item), load_scorer(trained).score(item)
    closing = [at for at, unit in enumerate(units) if unit.start >= PLAIN.index("Bob starts")]
    assert joined[: closing[0]] == model[: closing[0]]
    assert len(set(joined[: closing[0]])) > 1
    assert {joined[at] for at in closing} == {joined[closing[0]]}
    assert joined[closing[0]] > max(0.0, *model)


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
