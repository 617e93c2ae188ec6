"""What a training reads: windows, labels, held-out questions, and the measures of its epochs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    LongformerConfig,
)

from cot_compressor.errors import DataError
from cot_compressor.scorers.classifier import model_inputs
from cot_compressor.scorers.windows import WindowMaker
from cot_compressor.text.render import kept_units
from cot_compressor.text.segment import segment
from cot_compressor.training.dataset import IGNORED, class_weights, split_questions, token_labels
from cot_compressor.training.metrics import hits_at, macro_f1


def test_questions_are_held_out_whole_and_by_seed() -> None:
    questions = [f"q{at % 20}" for at in range(60)]
    assert len(split_questions(questions, 0)) == 2
    assert split_questions(questions, 0) == split_questions(questions[::-1], 0) != split_questions(questions, 1)
    with pytest.raises(DataError, match="at least 2"):
        split_questions(["q"] * 5, 0)


def test_macro_f1_by_hand() -> None:
    assert macro_f1([[6, 2], [1, 3]]) == pytest.approx((12 / 15 + 6 / 9) / 2)
    assert macro_f1([[8, 0], [4, 0]]) == pytest.approx((16 / 20) / 2)


def test_hits_at_a_ratio_by_hand() -> None:
    margins, labels = [0.1, 3.0, -1.0, 2.0, 2.0], [1, 1, 0, 0, 1]
    assert hits_at(0.2, margins, labels) == 1.0
    assert hits_at(0.4, margins, labels) == 0.5
    assert hits_at(0.6, margins, labels) == pytest.approx(2 / 3)
    assert hits_at(1, margins, labels) == 1.0


def test_class_weights_by_hand_ignore_unlabelled_tokens() -> None:
    share, weights = class_weights([(None, [IGNORED, 0, 0, 0, 1])])  # type: ignore[list-item]
    assert (share, weights) == (0.25, (4 / 6, 2.0))
    with pytest.raises(DataError, match="all keep"):
        class_weights([(None, [1, IGNORED])])  # type: ignore[list-item]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cot=st.lists(st.sampled_from(["Tom", "12 + 15 = 27", ".", "more", "1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"]), max_size=60),
    asked=st.integers(0, 40),
    length=st.integers(24, 60),
)
@pytest.mark.filterwarnings("ignore:a question of")
def test_windows_cover_every_token_within_their_length(word_tokenizer, cot: list[str], asked: int, length: int) -> None:
    text = " ".join(cot)
    units = segment(text)
    encoded = WindowMaker(word_tokenizer, length).encode("Tom " * asked, text, units)
    seen = {
        token for window in encoded.windows for token in range(window.cot_start, window.cot_start + window.cot_tokens)
    }
    assert seen == set(range(len(encoded.offsets)))
    assert all(len(window.ids) <= length for window in encoded.windows)
    for window in encoded.windows[:-1]:
        border = window.cot_start + window.cot_tokens
        inside = [span for span in encoded.unit_tokens if span[0] < border < span[1]]
        assert all(high - low > window.cot_tokens // 2 for low, high in inside)


def test_labels_follow_units_and_spare_the_question(word_tokenizer) -> None:
    cot = "Tom gets 12 + 15 = 27."
    units = segment(cot)
    encoded = WindowMaker(word_tokenizer, 64).encode("Tom ?", cot, units)
    (window,) = encoded.windows
    labels = token_labels(encoded, window, kept_units(units, [[12, 14]]))
    assert window.question_tokens == 4
    assert labels == [IGNORED] * 4 + [0, 0, 1, 1, 1, 1, 1, 0] + [IGNORED]


def test_a_long_question_is_cut_with_a_warning(word_tokenizer) -> None:
    with pytest.warns(UserWarning, match="a question of 50 tokens"):
        WindowMaker(word_tokenizer, 40).encode("Tom " * 50, "Tom", segment("Tom"))


def test_longformer_gets_global_attention_on_the_question(word_tokenizer) -> None:
    encoded = WindowMaker(word_tokenizer, 64).encode("Tom ?", "Tom gets 5 more", segment("Tom gets 5 more"))
    inputs = model_inputs(encoded.windows, word_tokenizer, LongformerConfig())
    assert inputs["global_attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0, 0]]
    assert "global_attention_mask" not in model_inputs(encoded.windows, word_tokenizer, BertConfig())
