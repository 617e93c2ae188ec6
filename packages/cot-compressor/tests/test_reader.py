"""The reader, its labels and its metric, with a tiny causal language model of random weights."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from cot_compressor import annotate_file, evaluate_file, segment
from cot_compressor._shared.records import read_records
from cot_compressor.budget.counting import count_words
from cot_compressor.cli import cli
from cot_compressor.errors import DataError, RejectedRow
from cot_compressor.reader import Reader
from cot_compressor.training.annotate_reader import ReaderAnnotator

QUESTION = "Tom has 12 eggs. How many eggs?"
COT = "Okay, let me think about this. Tom starts with 12 eggs. Next Tom gets 5 more: 12 + 5 = 17. So the answer is 17."
RESPONSE = "Tom starts with 12 eggs. Next Tom gets 5 more eggs, so Tom has 12 + 5 = 17 eggs. " * 3


@pytest.fixture(scope="session")
def reader_folder(word_tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "llama"
    torch.manual_seed(6)  # with these weights, the thinking makes the response more likely
    config = LlamaConfig(
        vocab_size=len(word_tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=300,
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    word_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reader(reader_folder: Path) -> Reader:
    return Reader.from_folder(reader_folder)


def alone(reader: Reader, text: str, response: str) -> float:
    """The log-likelihood of a response after one text, token by token."""
    first, second = (reader.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, response))
    logits = reader.model(torch.tensor([first + second])).logits[0].log_softmax(-1)
    return sum(float(logits.detach()[len(first) - 1 + at, token]) for at, token in enumerate(second))


@pytest.mark.parametrize("tokens", [1, 80, 10_000])
def test_a_batch_gives_the_likelihoods_of_single_texts(
    reader: Reader, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cot_compressor.reader._BATCH_TOKENS", {"cpu": tokens})
    thoughts = [COT, "", "Tom gets 5 more.", "12 + 5 = 17"]
    texts = ["\n\n".join([QUESTION, thought] if thought else [QUESTION]) for thought in thoughts]
    expected = [alone(reader, text, "So the answer is 17.") for text in texts]
    found = reader.log_likelihoods(QUESTION, thoughts, " So the answer is 17.\n")
    assert found == pytest.approx(expected, abs=1e-3)
    assert len(set(found)) == 4


def test_a_model_with_learnt_positions_reads_padded_texts_alike(word_tokenizer) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(word_tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=80)
    reader = Reader(GPT2LMHeadModel(config), word_tokenizer)
    thoughts = ["Tom gets 5 more. Next Tom gets 5 more.", "So 17."]
    single = [reader.log_likelihoods(QUESTION, [thought], "17 eggs")[0] for thought in thoughts]
    assert reader.log_likelihoods(QUESTION, thoughts, "17 eggs") == pytest.approx(single, abs=1e-3)
    with pytest.raises(RejectedRow, match=r"long_for_reader: \d+ tokens; the model reads 80"):
        reader.log_likelihoods(QUESTION, ["Tom " * 90], "17 eggs")
    assert reader.gains(QUESTION, "Tom " * 90, ["So 17."], "17 eggs") == [None]


def test_the_whole_thinking_gains_all_and_none_gains_nothing(reader: Reader) -> None:
    gains = reader.gains(QUESTION, COT, [COT, "", "12 + 5 = 17"], RESPONSE)
    turned = reader.gains(QUESTION, "", [COT, ""], RESPONSE)
    assert gains[:2] == pytest.approx([1.0, 0.0], abs=1e-3)
    assert gains[2] not in {None, 0.0, 1.0}
    assert turned == [None, None]


def test_the_sentences_with_the_largest_drop_per_token_are_kept(reader_folder: Path, reader: Reader) -> None:
    spans = ReaderAnnotator(reader_folder, 0.5).keep(QUESTION, COT, "", RESPONSE)
    units = segment(COT)
    sentences = [[unit for unit in units if unit.step == step] for step in range(units[-1].step + 1)]
    borders = [(sentence[0].start, sentence[-1].end) for sentence in sentences]
    (whole,) = reader.log_likelihoods(QUESTION, [COT], RESPONSE)
    budget, expected = count_words(COT) // 2, []
    rated = []
    for start, end in borders:
        without = " ".join(part for part in (COT[:start].strip(), COT[end:].strip()) if part)
        (value,) = reader.log_likelihoods(QUESTION, [without], RESPONSE)
        cost = count_words(COT[start:end])
        rated.append(((whole - value) / (cost + 3) ** 0.7, cost, start))
    for rate, cost, start in sorted(rated, reverse=True):
        if rate > 0 and cost <= budget:
            budget -= cost
            expected.append(start)
    assert expected
    assert {start for start, _ in borders if any(low <= start < high for low, high in spans)} == set(expected)
    assert {start for start, _ in spans} <= {start for start, _ in borders}


def test_the_sentence_with_the_answer_comes_first(reader_folder: Path) -> None:
    spans = ReaderAnnotator(reader_folder, 0.25).keep(QUESTION, COT, "17", RESPONSE)
    assert COT[spans[-1][0] : spans[-1][1]].endswith("So the answer is 17.")


def test_a_long_trace_is_read_in_groups_of_neighbours(reader_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cot_compressor.training.annotate_reader._MOST_SENTENCES", 2)
    spans = ReaderAnnotator(reader_folder, 0.7).keep(QUESTION, COT, "17", RESPONSE)
    assert COT[spans[-1][0] : spans[-1][1]].endswith("Next Tom gets 5 more: 12 + 5 = 17. So the answer is 17.")


@pytest.mark.parametrize(("cot", "response", "reason"), [(" ", RESPONSE, "empty_cot"), (COT, "17", "short_response")])
def test_a_trace_that_cannot_be_read_is_rejected(reader_folder: Path, cot: str, response: str, reason: str) -> None:
    with pytest.raises(RejectedRow, match=reason):
        ReaderAnnotator(reader_folder).keep(QUESTION, cot, "", response)


def test_the_commands_annotate_and_evaluate_with_a_reader(
    reader_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    row = {"id": "a", "question": QUESTION, "answer": "17", "cot": COT, "response": RESPONSE, "model": "toy"}
    rows = [{**row, "correct": True, "sample": 0}, {**row, "id": "b", "response": "17", "correct": True, "sample": 1}]
    source = tmp_path / "traces.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    options = ["--annotator", "reader", "--model", str(reader_folder), "--keep-share", "0.5"]
    done = CliRunner().invoke(cli, ["annotate", str(source), str(tmp_path / "marked.jsonl"), *options])
    assert done.exit_code == 0, done.output
    assert "short_response 1" in done.output
    (marked,) = read_records(tmp_path / "marked.jsonl", "annotated")
    assert marked["annotator"]["name"] == "reader"
    assert set(marked["annotator"]["settings"]) == {"keep_share", "model", "dtype"}
    options = ["--ratio", "0.5", "--tokenizer", str(tokenizer_folder), "--reader", str(reader_folder)]
    done = CliRunner().invoke(cli, ["evaluate", str(source), str(tmp_path / "report"), *options])
    assert done.exit_code == 0, done.output
    first, second = read_records(tmp_path / "report" / "metrics.jsonl", "fidelity")
    assert all(entry["metrics"]["reader_gain"] is not None for entry in first["measured"])
    assert second["measured"]
    with pytest.raises(DataError, match="other settings"):
        evaluate_file(source, tmp_path / "report", ratios=[0.5], scorer="rules", tokenizer=tokenizer_folder)


def test_a_reader_that_is_none_is_refused(tmp_path: Path, reader_folder: Path, traces_file: Path) -> None:
    done = CliRunner().invoke(cli, ["annotate", str(traces_file), str(tmp_path / "out"), "--annotator", "reader"])
    assert done.exit_code == 2
    with pytest.raises(DataError, match="no such folder"):
        ReaderAnnotator(tmp_path / "none")
    with pytest.raises(DataError, match=r"keep share must be in \(0, 1\); got 1"):
        ReaderAnnotator(reader_folder, 1.0)
    assert annotate_file(traces_file, tmp_path / "marked.jsonl", ReaderAnnotator(reader_folder)) is not None
