"""A trained scorer: its scores, its folder, its windows over any encoder."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    BertForTokenClassification,
    LongformerConfig,
    ModernBertConfig,
    XLMRobertaConfig,
)

from cot_compressor import Compressor
from cot_compressor.compress import compress_file
from cot_compressor.errors import DataError
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.classifier import TokenClassifier
from cot_compressor.scorers.export import export_folder
from cot_compressor.scorers.load import load_scorer
from cot_compressor.text.segment import segment
from cot_compressor.training.settings import TrainSettings
from cot_compressor.training.train import train_file


def test_a_trained_scorer_prefers_equations(trained: Path, tokenizer_folder: Path, toy_traces: list[dict]) -> None:
    compressor = Compressor.from_pretrained(trained, tokenizer=tokenizer_folder)
    row = toy_traces[3]
    result = compressor.compress(row["cot"], question=row["question"], ratio=0.3)
    assert " = " in result.text
    assert "think" not in result.text


def test_scores_are_the_same_alone_and_in_a_batch(trained: Path, toy_traces: list[dict]) -> None:
    scorer = TokenClassifier.from_folder(trained)
    items = [ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in toy_traces[:9]]
    together = scorer.score(items)
    for item, scores in zip(items, together, strict=True):
        (alone,) = scorer.score([item])
        assert scores == pytest.approx(alone, abs=2e-4)
        assert len(scores) == len(item.units)


def test_loading_leaves_the_global_random_state_alone(trained: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    TokenClassifier.from_folder(trained)
    assert torch.rand(1) == expected


@pytest.mark.parametrize("content", ["[1]", '{"format": 1}', '{"format": 1, "max_length": "x"}', "{"])
@pytest.mark.parametrize("command", ["compress", "export"])
def test_damaged_settings_of_a_scorer_are_one_error_that_names_the_file(
    content: str, command: str, trained: Path, tmp_path: Path
) -> None:
    scorer = shutil.copytree(trained, tmp_path / "scorer")
    (scorer / "compressor.json").write_text(content)
    with pytest.raises(DataError, match=r"compressor\.json"):
        load_scorer(scorer) if command == "compress" else export_folder(scorer, tmp_path / "out")


def test_a_window_that_the_model_cannot_read_is_refused(trained: Path, tmp_path: Path) -> None:
    scorer = shutil.copytree(trained, tmp_path / "scorer")
    settings = json.loads((scorer / "compressor.json").read_text())
    (scorer / "compressor.json").write_text(json.dumps({**settings, "max_length": 10**9}))
    with pytest.raises(DataError, match=r"max_length is 1000000000, but the model reads \d+ tokens"):
        load_scorer(scorer)


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "pad_token_id": 0}
ENCODERS = {
    "bert": lambda size: BertConfig(vocab_size=size, max_position_embeddings=64, **TINY),
    "xlm-roberta": lambda size: XLMRobertaConfig(vocab_size=size, max_position_embeddings=65, **TINY),
    "modernbert": lambda size: ModernBertConfig(
        vocab_size=size,
        max_position_embeddings=64,
        local_attention=8,
        bos_token_id=2,
        cls_token_id=2,
        eos_token_id=3,
        sep_token_id=3,
        **TINY,
    ),
    "longformer": lambda size: LongformerConfig(
        vocab_size=size, max_position_embeddings=65, attention_window=8, sep_token_id=3, **TINY
    ),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_any_encoder_trains_and_scores_a_text_longer_than_its_window(
    kind: str, annotated: Path, word_tokenizer, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder"
    word_tokenizer.save_pretrained(encoder)
    config = ENCODERS[kind](len(word_tokenizer))
    torch.manual_seed(0)
    AutoModelForTokenClassification.from_config(config).save_pretrained(encoder)
    report = train_file(annotated, tmp_path / "model", TrainSettings(encoder=encoder, epochs=1, learning_rate=1e-3))
    assert report is not None
    assert (report.max_length, report.from_scratch) == (64, False)
    scorer = TokenClassifier.from_folder(tmp_path / "model")
    long = " ".join(f"Tom gets {at % 20} more: 5 + {at % 20} = 12." for at in range(40))
    items = [ScoringInput("How many eggs?", cot, segment(cot)) for cot in (long, "Tom gets 5 more.")]
    together = scorer.score(items)
    assert [len(scores) for scores in together] == [len(item.units) for item in items]
    assert len(set(together[0][-30:])) > 3, "one score for a sentence"
    assert together[1] == pytest.approx(scorer.score(items[1:])[0], abs=2e-4)
    asked = scorer.score([items[1]._replace(question="Check: 5 + 15 = 20, yes.")])
    assert asked[0] != together[1]


def test_a_text_longer_than_the_encoder_is_scored_to_its_end(word_tokenizer) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(word_tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
    )
    scorer = TokenClassifier(BertForTokenClassification(config), word_tokenizer, max_length=40, name="tiny")
    cot = " ".join(f"Tom gets {at % 20} more." for at in range(60))
    units = segment(cot)
    (scores,) = scorer.score([ScoringInput("How many?", cot, units)])
    assert len(scores) == len(units)
    assert len(set(scores[-40:])) > 5


def test_a_scorer_in_bfloat16_scores_alike_and_says_so(
    trained: Path, traces_file: Path, tokenizer_folder: Path, toy_traces: list[dict], tmp_path: Path
) -> None:
    items = [ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in toy_traces[:9]]
    exact, close = (TokenClassifier.from_folder(trained, dtype=dtype).score(items) for dtype in (None, "bfloat16"))
    assert exact != close
    for one, other in zip(exact, close, strict=True):
        assert other == pytest.approx(one, abs=0.3)
    for name, dtype in (("whole", None), ("half", "bfloat16")):
        out = tmp_path / f"{name}.jsonl"
        compress_file(traces_file, out, ratios=[0.4], scorer=trained, tokenizer=tokenizer_folder, dtype=dtype)
        manifest = json.loads(out.with_name(f"{name}.jsonl.manifest.json").read_text("utf-8"))
        assert manifest["settings"]["dtype"] == (dtype or "float32")
    with pytest.raises(DataError, match=r"made with other settings \(dtype was 'bfloat16', is 'float32'\)"):
        compress_file(traces_file, out, ratios=[0.4], scorer=trained, tokenizer=tokenizer_folder)


def test_a_dtype_that_means_nothing_is_refused(trained: Path) -> None:
    with pytest.raises(DataError, match="dtype must be float32 or bfloat16; got 'fp8'"):
        Compressor.from_pretrained(trained, dtype="fp8")
    with pytest.raises(DataError, match="is for a trained scorer"):
        Compressor.from_pretrained("rules", dtype="bfloat16")
