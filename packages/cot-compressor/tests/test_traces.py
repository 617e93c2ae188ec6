from cot_compressor import Compressor
from cot_compressor.evaluation.fidelity import Sample, measure_fidelity
from cot_compressor.text.parts import read_parts
from cot_compressor.text.render import merge_spans, render
from cot_compressor.text.segment import segment

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]
ESTIMATED = 2
"""Tokens by which the estimate that rules out a part may be off."""


def test_real_traces_are_compressed_exactly_nested_and_whole(real_traces, byte_tokenizer) -> None:
    """A sixth of the traces. No sentence, clause or formula that fits is left out; a mark or a word alone may be.

    Nor is a formula that the text repeats looked for: it stands alone once.
    """
    compressor = Compressor.from_pretrained("rules", tokenizer=byte_tokenizer)
    rows = [row for row in real_traces if len(row["cot"]) < 9000][::6]
    assert len(rows) > 30
    used: list[bool] = []
    for row in rows:
        units = segment(row["cot"])
        sentences, clauses, formulas, _ = read_parts(row["cot"], units)
        spelt = [row["cot"][units[part[0]].start : units[part[0]].end].replace(" ", "") for part in formulas]
        parts = [
            *sentences,
            *clauses,
            *(part for part, text in zip(formulas, spelt, strict=True) if spelt.count(text) == 1),
        ]
        results = compressor.compress(row["cot"], question=row["question"], ratios=RATIOS)
        sample = Sample(row["question"], row["cot"], units, row["answer"])
        allowed = set(range(len(row["cot"])))
        for result in reversed(results):
            budget = int(result.ratio * result.original_tokens)
            assert result.tokens == compressor.counter.count(result.text) <= budget
            assert "\ufffd" not in result.text
            kept = {at for start, end in result.spans for at in range(start, end)}
            assert kept <= allowed
            here = {at for at, unit in enumerate(units) if unit.start in kept}
            pool = {at for at, unit in enumerate(units) if unit.start in allowed}
            for part in parts if result.tokens < budget else ():
                if not here.issuperset(part) and pool.issuperset(part):
                    text = render(row["cot"], merge_spans(units, sorted(here.union(part))))
                    assert compressor.counter.count(text) > budget - ESTIMATED
            allowed = kept
            used.append(result.tokens >= 0.9 * budget)
            values = measure_fidelity(sample, result.spans, result.text)
            assert values["unit_integrity"] in (1.0, None)
            assert values["torn_equations"] in (0.0, None)
    assert sum(used) > 0.99 * len(used)
