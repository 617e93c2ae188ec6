import pytest

from cot_compressor import DataError
from cot_compressor.llmlingua import PromptCompressor

COT = "Okay, let me think. Tom buys 15 more, so 12 + 15 = 27. Check: 12 + 15 = 27, yes. The sky is not green."


@pytest.fixture(scope="module")
def compressor() -> PromptCompressor:
    return PromptCompressor("rules")


def test_the_answer_has_the_keys_and_spellings_llmlingua_users_read(compressor: PromptCompressor) -> None:
    answer = compressor.compress_prompt([COT, COT], rate=0.4)
    assert answer["compressed_prompt"] == "\n\n".join(answer["compressed_prompt_list"])
    assert answer["origin_tokens"] == 2 * 34
    assert answer["compressed_tokens"] == 2 * 13
    assert (answer["ratio"], answer["rate"]) == ("2.6x", "38.2%")
    assert answer["saving"].startswith(", Saving $")
    assert "12 + 15 = 27" in answer["compressed_prompt"]


def test_target_token_counts_over_all_contexts(compressor: PromptCompressor) -> None:
    assert compressor.compress_prompt([COT, COT], target_token=20)["compressed_tokens"] == 20
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


def test_word_labels_cover_the_context(compressor: PromptCompressor) -> None:
    answer = compressor.compress_prompt("so 12 + 15 = 27 then", rate=0.9, return_word_label=True)
    assert answer["fn_labeled_original_prompt"].split("\t\t|\t\t") == ["so 1", "12 + 15 = 27 1", "then 0"]


@pytest.mark.parametrize(
    "options",
    [{"instruction": "Be brief"}, {"rank_method": "bm25"}, {"drop_consecutive": True}, {"rate": 20}, {"unknown": 1}],
)
def test_what_would_do_nothing_is_refused(compressor: PromptCompressor, options: dict) -> None:
    with pytest.raises(DataError):
        compressor.compress_prompt(COT, **options)


def test_arguments_met_anyway_are_taken(compressor: PromptCompressor) -> None:
    assert compressor.compress_prompt(COT, drop_consecutive=False, chunk_end_tokens=[".", "\n"])["compressed_prompt"]


def test_the_old_constructor_says_what_to_drop_and_the_short_call_works(compressor: PromptCompressor) -> None:
    with pytest.raises(DataError, match="device_map='cpu' has no effect here; drop it"):
        PromptCompressor("rules", use_llmlingua2=True, device_map="cpu")
    assert compressor(COT, rate=0.4) == compressor.compress_prompt(COT, rate=0.4)
