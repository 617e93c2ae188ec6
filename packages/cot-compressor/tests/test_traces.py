from cot_compressor import Compressor
from cot_compressor.evaluation.fidelity import Sample, measure_fidelity
from cot_compressor.text.segment import segment

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]


def test_real_traces_are_compressed_exactly_nested_and_whole(real_traces, byte_tokenizer) -> None:
    """A third of the traces; all of them take a minute."""
    compressor = Compressor.from_pretrained("rules", tokenizer=byte_tokenizer)
    rows = [row for row in real_traces if len(row["cot"]) < 9000][::3]
    assert len(rows) > 60
    filled: list[bool] = []
    for row in rows:
        units = segment(row["cot"])
        results = compressor.compress(row["cot"], question=row["question"], ratios=RATIOS)
        sample = Sample(row["question"], row["cot"], units, row["answer"])
        allowed = set(range(len(row["cot"])))
        for result in reversed(results):
            budget = int(result.ratio * result.original_tokens)
            assert result.tokens == compressor.counter.count(result.text) <= budget
            assert "\ufffd" not in result.text
            kept = {at for start, end in result.spans for at in range(start, end)}
            assert kept <= allowed
            for start, end, *_ in units if result.tokens < budget else ():
                if start in allowed and start not in kept:
                    assert compressor.counter.count(" " + row["cot"][start:end]) > budget - result.tokens
            allowed = kept
            filled.append(result.tokens == budget)
            values = measure_fidelity(sample, result.spans, result.text)
            assert values["unit_integrity"] in (1.0, None)
            assert values["torn_equations"] in (0.0, None)
    assert sum(filled) > 0.97 * len(filled)
