from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratio_sft import MixSettings, mix
from ratio_sft._shared.control_tokens import user_turn
from ratio_sft._shared.thinking import THINK
from ratio_sft.data.policy_rows import read_teacher
from ratio_sft.data.questions import question_key
from ratio_sft.data.rows import kind
from ratio_sft.errors import DataError


def without(row, ratio):
    return {**row, "compressions": [entry for entry in row["compressions"] if entry["ratio"] != ratio]}


def off(row, by):
    first, *others = row["compressions"]
    return {**row, "compressions": [{**first, "achieved_ratio": first["achieved_ratio"] + by}, *others]}


def test_a_golden_row(trace):
    row = mix([trace(4), trace(5)], MixSettings(heldout_share=0)).train[0]
    assert row["prompt"] == [
        {"role": "user", "content": user_turn("Tom has 4 apples and buys 1 more. How many? (4)", "<COMP_20>")}
    ]
    assert row["completion"] == [
        {"role": "assistant", "content": "<COMP_20>\n<think>\nso 4+1=5.so 4+1=5.\n</think>\n\n\\boxed{5}"}
    ]
    assert (row["id"], row["ratio"], row["mode"], row["thinking_tokens"]) == ("p4", 0.2, "fixed", 16)


def test_a_rung_of_zero_thinking_is_the_empty_block(trace):
    settings = MixSettings(ratios=(0, 0.2, 1), heldout_share=0, policy_share=0)
    mixture = mix([trace(4)], settings)
    row = mixture.train[0]
    assert row["prompt"][0]["content"].endswith(" <COMP_0>")
    assert row["completion"][0]["content"] == "<COMP_0>\n<think>\n\n</think>\n\n\\boxed{5}"
    assert (row["ratio"], row["thinking_tokens"], row["achieved_ratio"]) == (0, 0, 0)
    assert [each["ratio"] for each in mixture.train] == [0, 0.2, 1]
    assert mix([trace(4)], MixSettings(heldout_share=0)).tokens.ratios == {
        "<COMP_20>": 0.2, "<COMP_60>": 0.6, "<COMP_100>": 1.0
    }  # fmt: skip


def test_a_trace_gives_every_ratio_or_none(trace):
    rows = [
        trace(0),
        trace(1, correct=False),
        without(trace(2), 0.6),
        off(trace(3), 0.051),
        off(trace(4), 0.05),
        trace(5, response=" \n"),
        trace(6, response="</think> 3"),
        trace(7, question="<COMP_20> 1 + 1?"),
        trace(8, compressions=[{**entry, "text": "wait " * 12} for entry in trace(8)["compressions"]]),
        trace(9, compressions=[{**entry, "text": " \n"} for entry in trace(9)["compressions"]]),
        trace(10, compressions=[{**entry, "text": "1 " + "!" * 21} for entry in trace(10)["compressions"]]),
        trace(11, compressions=[{**entry, "tokens": 80 - entry["tokens"]} for entry in trace(11)["compressions"]]),
    ]
    mixture = mix(rows, MixSettings(heldout_share=0, policy_share=0))
    assert [(row["id"], row["ratio"]) for row in mixture.train] == [
        (name, ratio) for name in ("p0", "p4") for ratio in (0.2, 0.6, 1.0)
    ]
    assert mixture.tally.reasons == {
        "character_run": 1,
        "empty_response": 1,
        "empty_thinking": 1,
        "incorrect": 1,
        "missing_ratio": 1,
        "not_monotone": 1,
        "off_ratio": 1,
        "repeated_phrase": 1,
        "tag_in_text": 2,
    }
    assert mixture.tally.summary().startswith("12 read, 6 written, 10 rejected")


def test_a_smaller_ladder_needs_only_its_own_ratios(trace):
    rows = [without(trace(0), 0.6), trace(1)]
    assert len(mix(rows, MixSettings(ratios=(0.2, 1.0), heldout_share=0, policy_share=0)).train) == 4


@given(
    samples=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=40, unique=True),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 3),
)
def test_all_samples_of_a_question_are_on_one_side(trace, samples, share, seed):
    rows = [trace(number, sample=sample) for number, sample in samples]
    rows = [{**row, "question": row["question"].upper()} if row["sample"] % 2 else row for row in rows]
    questions = {question_key(row["question"]) for row in rows}
    if len(questions) < 2:
        with pytest.raises(DataError, match="cannot be split"):
            mix(rows, MixSettings(heldout_share=share, seed=seed))
        return
    mixture = mix(rows, MixSettings(heldout_share=share, seed=seed))
    train, heldout = ({row["id"] for row in side} for side in (mixture.train, mixture.heldout))
    assert train
    assert heldout
    assert train.isdisjoint(heldout)
    assert mixture.selection.questions == {"train": len(train), "heldout": len(heldout)}
    backwards = mix(rows[::-1], MixSettings(heldout_share=share, seed=seed))
    assert {row["id"] for row in backwards.heldout} == heldout


def policy_rows(mixture):
    return [row for row in mixture.train if row["mode"] == "policy"]


def test_policy_rows_make_up_their_share(trace):
    rows = [trace(number) for number in range(40)]
    mixture = mix(rows, MixSettings(heldout_share=0))
    policy = policy_rows(mixture)
    assert len(policy) == 20
    assert len(policy) / len(mixture.train) == pytest.approx(1 / 7)
    assert mixture.selection.policy_targets == "uninformed"
    assert {row["ratio"] for row in policy} == {0.2, 0.6, 1.0}
    for row in policy:
        assert row["prompt"][0]["content"].endswith(" <COMP_POLICY>")
        assert row["completion"][0]["content"].startswith(f"<COMP_{round(100 * row['ratio'])}>\n<think>\n")
    assert policy == policy_rows(mix(rows, MixSettings(heldout_share=0)))
    assert policy != policy_rows(mix(rows, MixSettings(heldout_share=0, seed=1)))


def test_policy_rows_follow_the_teacher_and_are_repeated_evenly(trace):
    rows = [trace(number) for number in range(6)]
    teacher = {"p0": 0.2, "p1": 0.6, "p2": None, "p3": 0.5, "p9": 1.0}
    mixture = mix(rows, MixSettings(heldout_share=0, policy_share=0.25), teacher=teacher)
    policy = policy_rows(mixture)
    assert sorted((row["id"], row["ratio"]) for row in policy) == [("p0", 0.2)] * 3 + [("p1", 0.6)] * 3
    assert len(set(mixture.train.policy)) == 2
    assert mixture.selection.policy_targets == "teacher"
    assert mixture.tally.reasons == {"no_teacher_ratio": 1, "teacher_ratio_not_in_ladder": 1}


def test_quotas_set_the_shares_of_the_policy_targets(trace):
    rows = [trace(number) for number in range(40)]
    quotas = ((0.2, 0.25), (0.6, 0.75), (1.0, 0))
    settings = MixSettings(heldout_share=0, policy_quotas=quotas)
    drawn = policy_rows(mix(rows, settings))
    assert Counter(row["ratio"] for row in drawn) == {0.2: 5, 0.6: 15}
    measured = {f"p{number}": 0.2 if number < 4 else 0.6 if number < 24 else 1.0 for number in range(40)}
    taught = policy_rows(mix(rows, settings, teacher=measured))
    assert Counter(row["ratio"] for row in taught) == {0.2: 5, 0.6: 15}
    assert all(measured[row["id"]] == row["ratio"] for row in taught)
    with pytest.raises(DataError, match=r"asks for ratio 0\.2, which is no question's target"):
        mix(rows, settings, teacher=dict.fromkeys(measured, 0.6))
    with pytest.raises(DataError, match=r"no control token for ratio 0\.4"):
        mix(rows, MixSettings(policy_quotas=((0.4, 1.0),)))


def test_a_teacher_of_other_problems_is_refused(trace):
    with pytest.raises(DataError, match="no question of the traces has a teacher ratio"):
        mix([trace(0), trace(1)], MixSettings(heldout_share=0), teacher={"other": 0.2})


def test_a_teacher_that_contradicts_itself_is_refused(tmp_path, write_lines):
    row = {"id": "a", "answer": "2", "teacher_ratio": 0.2, "reference_tokens": 15, "reference_accuracy": 1.0}
    row |= {"mode": "policy", "prompt": [{"role": "user", "content": "x <COMP_POLICY>"}]}
    path = write_lines(tmp_path / "teacher.jsonl", [row, row])
    assert read_teacher(path) == {"a": 0.2}
    write_lines(path, [row, row, {**row, "teacher_ratio": None}])
    with pytest.raises(DataError, match=r"teacher\.jsonl:3: problem 'a' has teacher ratios 0\.2 and None"):
        read_teacher(path)


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([(0, {}), (0, {})], {}, "id 'p0', sample 0, model 'tiny' appears twice"),
        ([(0, {}), (1, {"id": "p0", "sample": 1})], {}, "id 'p0' belongs to two questions; give each question its own"),
        ([(0, {}), (1, {})], {"ratios": (0.2, 0.3)}, r"no trace has ratio 0\.3"),
        ([(0, {"correct": False})], {}, r"no trace is usable: 1 read, 0 written, 1 rejected \(incorrect 1\)"),
        ([(0, {})], {}, "one question cannot be split"),
        ([], {}, "no traces"),
    ],
)
def test_unusable_input_is_refused(trace, rows, settings, message):
    with pytest.raises(DataError, match=message):
        mix([trace(number, **fields) for number, fields in rows], MixSettings(**settings))


def test_traces_counted_by_several_tokenizers_are_refused(trace):
    other = trace(1, compressions=[{**entry, "tokenizer": "other"} for entry in trace(1)["compressions"]])
    with pytest.raises(DataError, match=r"several tokenizers \('tiny' in trace 1, 'other' in trace 2\)"):
        mix([trace(0), other], MixSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratios": (20.0,)}, r"ratio must be in \[0, 1\]; got 20\. Write 20 % as 0\.2"),
        ({"ratios": (0.2, 0.201)}, r"ratios 0\.2 and 0\.201 share the token <COMP_20>"),
        ({"tolerance": -0.1}, r"tolerance must be in \[0, 1\]; got -0\.1"),
        ({"policy_share": 1.0}, r"policy_share must be in \[0, 1\); got 1"),
        ({"heldout_share": -0.5}, r"heldout_share must be in \[0, 1\); got -0\.5"),
        ({"plain_share": 1.5}, r"plain_share must be in \[0, 1\]; got 1\.5"),
        ({"traces": 0}, "traces must be at least 1; got 0"),
        ({"policy_quotas": ((0.2, 0.5),)}, r"shares of policy_quotas must be 0 or more and add up to 1; got 0\.5"),
        ({"policy_quotas": ((0.2, 1.5), (0.6, -0.5))}, "shares of policy_quotas must be 0 or more and add up to 1"),
        ({"policy_quotas": ((0.2, 0.5), (0.2, 0.5))}, "policy_quotas names a ratio twice"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        MixSettings(**settings)


def test_a_bucket_takes_the_nearest_achieved_ratio_and_of_two_the_shorter(trace):
    """The traces of an inexact compressor: .3 for the requested .2, .19 for .5, .21 for .4."""
    row = trace(0)
    low, middle, high = row["compressions"]
    missed = [
        {**low, "achieved_ratio": 0.3, "tokens": 24, "text": "missed"},
        {**low, "ratio": 0.5, "achieved_ratio": 0.19, "tokens": 15, "text": "shorter"},
        {**low, "ratio": 0.4, "achieved_ratio": 0.21, "tokens": 17, "text": "longer"},
    ]
    rows = [{**row, "compressions": [*missed, middle, high]}, trace(1)]
    mixture = mix(rows, MixSettings(ratios=(0.2, 0.6, 1.0), heldout_share=0, policy_share=0))
    assert "\nshorter\n" in mixture.train[0]["completion"][0]["content"]
    assert (mixture.train[0]["ratio"], mixture.train[0]["achieved_ratio"]) == (0.2, 0.19)


def test_a_share_of_full_length_rows_has_no_token(trace):
    rows = [trace(number) for number in range(10)]
    mixture = mix(rows, MixSettings(heldout_share=0, policy_share=0, plain_share=0.5))
    plain = [row for row in mixture.train if kind(row, THINK) == "plain"]
    assert len(plain) == 5
    assert len(mixture.train) == 30
    for row in plain:
        assert (row["ratio"], row["mode"]) == (1.0, "fixed")
        assert row["prompt"][0]["content"].endswith("?" + f" ({row['id'][1:]})")
        assert row["completion"][0]["content"].startswith("<think>\nso ")
    with pytest.raises(DataError, match="add ratio 1 to the ladder"):
        mix(rows, MixSettings(ratios=(0.2,), plain_share=0.5))


def test_kept_traces_are_spread_evenly_over_their_lengths(trace):
    def lasting(number, tokens):
        entries = [{**entry, "original_tokens": tokens} for entry in trace(number)["compressions"]]
        return trace(number, compressions=entries)

    rows = [lasting(n, 100) for n in range(50)] + [lasting(50 + n, 500 + n) for n in range(5)]
    mixture = mix(rows, MixSettings(heldout_share=0, policy_share=0, traces=8))
    kept = {row["id"] for row in mixture.train}
    assert len(kept) == 8
    assert len(kept & {f"p{n}" for n in range(50, 55)}) == 4
    assert mixture.tally.reasons == {"surplus_of_its_length": 47}
    assert mix(rows, MixSettings(heldout_share=0, policy_share=0, traces=99)).tally.reasons == {}
