import itertools

import pytest

from cot_compressor.errors import DataError
from cot_compressor.llmlingua import PromptCompressor

COT = "Okay, let me think. Tom buys 15 more, so 12 + 15 = 27. Check: 12 + 15 = 27, yes. The sky is not green."


@pytest.fixture(scope="module")
def compressor() -> PromptCompressor:
    return PromptCompressor("rules")


def test_the_answer_has_the_keys_and_spellings_llmlingua_users_read(compressor: PromptCompressor) -> None:
    answer = compressor.compress_prompt([COT, COT], rate=0.4)
    assert answer["compressed_prompt"] == "\n\n".join(answer["compressed_prompt_list"])
    assert answer["origin_tokens"] == 2 * 34
    assert answer["compressed_tokens"] == 2 * 12
    assert (answer["ratio"], answer["rate"]) == ("2.8x", "35.3%")
    assert answer["saving"].startswith(", Saving $")
    assert "12 + 15 = 27" in answer["compressed_prompt"]


def test_target_token_counts_over_all_contexts(compressor: PromptCompressor) -> None:
    assert 18 <= compressor.compress_prompt([COT, COT], target_token=20)["compressed_tokens"] <= 20
    assert compressor.compress_prompt(COT, "", "", 0.5, 500)["compressed_prompt"] == COT


def test_force_tokens_and_digits_are_kept_inside_the_budget(compressor: PromptCompressor) -> None:
    assert "not" in compressor.compress_prompt(COT, rate=0.3, force_tokens=["not"])["compressed_prompt"].split()
    digits = compressor.compress_prompt(COT, rate=0.5, force_reserve_digit=True)
    assert digits["compressed_prompt"].count("12 + 15 = 27") == 2
    assert digits["compressed_tokens"] <= 0.5 * digits["origin_tokens"]


def test_blank_and_too_short_contexts_are_no_error(compressor: PromptCompressor) -> None:
    answer = compressor.compress_prompt(["", "12 + 15 = 27"], rate=0.1)
    assert answer["compressed_prompt_list"] == ["", "12 + 15 = 27"]
    assert compressor.compress_prompt("")["compressed_prompt"] == ""


def test_what_is_forced_in_a_long_chain_is_kept_at_any_rate(compressor: PromptCompressor) -> None:
    cot = "Speed = distance / time = 120 / 2 = 60 = 6 * 10 so he went at 60 km/h and was home by 5, as he had told."
    digits = compressor.compress_prompt(cot, rate=0.1, force_reserve_digit=True)
    assert digits["compressed_prompt"] == "Speed = distance / time = 120 / 2 = 60 = 6 * 10\n60 km/h 5"
    assert digits["compressed_tokens"] > 0.1 * digits["origin_tokens"]


def test_word_labels_cover_the_context(compressor: PromptCompressor) -> None:
    answer = compressor.compress_prompt("so 12 + 15 = 27 then", rate=0.9, return_word_label=True)
    assert answer["fn_labeled_original_prompt"].split("\t\t|\t\t") == ["so 1", "12 + 15 = 27 1", "then 0"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"instruction": "Be brief"}, "instruction has no effect"),
        ({"rank_method": "bm25"}, "rank_method='bm25' has no effect"),
        ({"rate": 20}, "Did you mean 0.2"),
        ({"unknown": 1}, "unknown=1 has no effect"),
        ({"force_tokens": "Wait"}, "must be a list of words and marks"),
        ({"force_tokens": [" "]}, "must be a list of words and marks"),
    ],
)
def test_what_would_do_nothing_is_refused(compressor: PromptCompressor, options: dict, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        compressor.compress_prompt(COT, **options)


def test_the_usual_force_tokens_keep_marks_behind_words_only(compressor: PromptCompressor) -> None:
    cot = " ".join(f"So, as we said, {a} + {a} = {2 * a}. Is that right? Yes, it is!\n" for a in range(20, 40))
    usual = ["\n", ".", "!", "?", ","]
    answer = compressor.compress_prompt(cot, rate=0.3, force_tokens=usual, drop_consecutive=True)
    text = answer["compressed_prompt"]
    assert answer["compressed_tokens"] <= 0.3 * answer["origin_tokens"]
    assert text.count(" = ") == 20, "marks push no equation out"
    assert text.count(".") > 10
    words = [line.split() for line in text.splitlines()]
    alone = sum(word in usual and before in usual for line in words for before, word in itertools.pairwise(["", *line]))
    assert alone == 0


def test_arguments_met_anyway_are_taken(compressor: PromptCompressor) -> None:
    assert compressor.compress_prompt(COT, drop_consecutive=False, chunk_end_tokens=[".", "\n"])["compressed_prompt"]


def test_the_old_constructor_says_what_to_drop_and_the_short_call_works(compressor: PromptCompressor) -> None:
    with pytest.raises(DataError, match="device_map='cpu' has no effect here; drop it"):
        PromptCompressor("rules", use_llmlingua2=True, device_map="cpu")
    assert compressor(COT, rate=0.4) == compressor.compress_prompt(COT, rate=0.4)
