import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
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
from cot_compressor.scorers.card import TrainReport, model_card
from cot_compressor.scorers.classifier import TokenClassifier, model_inputs
from cot_compressor.scorers.export import export_folder
from cot_compressor.scorers.load import load_scorer
from cot_compressor.scorers.windows import WindowMaker
from cot_compressor.text.render import kept_units
from cot_compressor.text.segment import segment
from cot_compressor.training.dataset import IGNORED, class_weights, split_questions, token_labels
from cot_compressor.training.metrics import hits_at, macro_f1
from cot_compressor.training.settings import TrainSettings
from cot_compressor.training.train import train_file


def test_training_from_a_config_learns_and_says_so(trained: Path) -> None:
    saved = json.loads((trained / "compressor.json").read_text("utf-8"))
    assert saved["format"] == 1
    assert saved["labels"] == {"0": "drop", "1": "keep"}
    report = TrainReport(**saved["training"])
    assert report.from_scratch
    assert max(report.macro_f1) > 0.8
    assert list(report.ranking) == ["0.1", "0.2", "0.4", "0.6", "0.8"]
    assert min(report.ranking.values()) > 0.8
    assert "at 0.1, " in report.summary()
    assert report.train_rows + report.held_out_rows == 60
    assert saved["training"]["class_weights"][1] > saved["training"]["class_weights"][0]
    assert {path.name for path in trained.iterdir()} >= {"model.safetensors", "tokenizer.json", "manifest.json"}
    assert not list(trained.glob("*.bin"))


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


def test_code_of_an_encoder_without_weights_is_never_run_and_never_asked_about(
    annotated: Path, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    encoder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    (encoder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    code = {"AutoModelForTokenClassification": "evil.C"}
    (encoder / "config.json").write_text(json.dumps({"model_type": "siglip_text_model", "auto_map": code}))
    with pytest.raises(DataError, match="custom code"):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=encoder, epochs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_a_pretrained_encoder_is_continued(trained: Path, annotated: Path, tmp_path: Path) -> None:
    report = train_file(annotated, tmp_path / "again", TrainSettings(encoder=trained, epochs=1))
    assert report is not None
    assert not report.from_scratch
    assert report.learning_rate == 3e-5
    assert report.macro_f1[0] > 0.75


def test_the_model_card_says_data_metrics_licence_and_use(trained: Path, annotated: Path, tmp_path: Path) -> None:
    card = (trained / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: cot-compressor\npipeline_tag: token-classification\n---\n")
    assert 'Labels by `rules 0.1.0`, `{"keep_share": 0.25}`.' in card
    assert "| macro-F1 of keep and drop | 0." in card
    assert "from random weights" in card
    assert "Compressor.from_pretrained(" in card
    base = shutil.copytree(trained, tmp_path / "base")
    (base / "README.md").write_text("---\ntags: [math]\nlicense: apache-2.0\n---\n# Base\n", "utf-8")
    train_file(annotated, tmp_path / "on-base", TrainSettings(encoder=base, epochs=1))
    card = (tmp_path / "on-base" / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "- Base: `base`." in card


@pytest.mark.parametrize("licence", ["evil](javascript:alert(1))", "\x1b[31mred", "a" * 100, "mit\nlicense: evil <b>"])
def test_a_licence_that_is_no_identifier_is_not_copied_into_the_card(
    licence: str, trained: Path, tmp_path: Path
) -> None:
    report = TrainReport(**json.loads((trained / "compressor.json").read_text("utf-8"))["training"])
    (tmp_path / "README.md").write_text(f"---\nlicense: {licence}\n---\n", "utf-8")
    card = model_card(report, ['{"name": "a`b\\u001b", "version": "1", "settings": {}}'], tmp_path)
    assert "evil" not in card
    assert "\x1b" not in card
    assert "a" * 100 not in card
    assert "Labels by `a'b\\x1b 1`, `{}`." in card


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


def _train_command(annotated: Path, out: Path, encoder: Path) -> list[str]:
    program = "from cot_compressor.cli import cli; cli()"
    options = ["--encoder", str(encoder), "--epochs", "6", "--batch-size", "8", "--seed", "3"]
    return [sys.executable, "-c", program, "train", str(annotated), str(out), *options]


def test_a_killed_run_ends_with_the_same_weights(annotated: Path, encoder_folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    train_file(annotated, whole, TrainSettings(encoder=encoder_folder, epochs=6, batch_size=8, seed=3))
    killed = tmp_path / "killed"
    progress = tmp_path / ".killed.partial" / "progress.json"
    process = subprocess.Popen(
        _train_command(annotated, killed, encoder_folder), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not progress.is_file() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    done = len(json.loads(progress.read_text("utf-8"))["macro_f1"])
    assert 1 <= done < 6
    train_file(annotated, killed, TrainSettings(encoder=encoder_folder, epochs=6, batch_size=8, seed=3))
    first, second = load_file(whole / "model.safetensors"), load_file(killed / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (whole / "compressor.json").read_bytes() == (killed / "compressor.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def stopped(annotated: Path, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a training that ended after its last epoch, before its scorer appeared."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cot_compressor._shared.runs.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            train_file(annotated, out, TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8))
    return out.with_name(".out.partial")


@pytest.mark.parametrize("kind", ["epoch", "best"])
@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_a_training_whose_state_lost_a_file_is_refused(
    kind: str, fault: str, stopped: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(stopped, tmp_path / ".out.partial")
    [path] = work.glob(f"{kind}_*.safetensors")
    content = path.read_bytes()
    path.unlink()
    if fault == "cut":
        path.write_bytes(content[:1000])
    expected = f"{work}: {path.name} is {'missing' if fault == 'gone' else 'not as it was saved'}; remove {work}, and"
    settings = TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8)
    with pytest.raises(DataError, match=re.escape(expected)):
        train_file(annotated, tmp_path / "out", settings)
    path.write_bytes(content)
    assert train_file(annotated, tmp_path / "out", settings) is not None


@pytest.mark.parametrize(
    "content", ["[]", "{", "{}", '{"macro_f1": []}', '{"macro_f1": ["a"]}', '{"macro_f1": [0.5]}', "[" * 200_000]
)
def test_a_training_whose_progress_is_damaged_is_refused(
    content: str, stopped: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(stopped, tmp_path / ".out.partial") / "progress.json"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=re.escape(str(path))):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8))


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(
    trained: Path, annotated: Path, encoder_folder: Path
) -> None:
    same = TrainSettings(encoder=encoder_folder, epochs=12, batch_size=8, learning_rate=5e-3)
    assert train_file(annotated, trained, same) is None
    other = TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8, learning_rate=5e-3, seed=1)
    with pytest.raises(DataError, match=r"other settings \(epochs was 12, is 2; seed was 0, is 1\); .*--overwrite"):
        train_file(annotated, trained, other)


def test_an_unfinished_training_with_other_settings_is_refused(
    trained: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    partial = tmp_path / ".model.partial"
    partial.mkdir()
    shutil.copy(trained / "manifest.json", partial)
    settings = TrainSettings(encoder=encoder_folder, epochs=1, batch_size=8, learning_rate=5e-3)
    with pytest.raises(DataError, match=r"an unfinished run with other settings \(epochs was 12, is 1\)"):
        train_file(annotated, tmp_path / "model", settings)
    assert train_file(annotated, tmp_path / "model", settings, overwrite=True) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_only_what_train_wrote_is_replaced(
    overwrite: bool, trained: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    foreign, untrained = tmp_path / "thesis", shutil.copytree(trained, tmp_path / "untrained")
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("precious", "utf-8")
    (untrained / "compressor.json").unlink()
    settings = TrainSettings(encoder=encoder_folder, epochs=1)
    for out in (foreign, untrained, foreign / "chapter.tex"):
        with pytest.raises(DataError, match=r"not written by cot-compressor train .*; name another output"):
            train_file(annotated, out, settings, overwrite=overwrite)
    with pytest.raises(DataError, match=r"would replace .*, which is read"):
        train_file(annotated, trained, TrainSettings(encoder=trained, epochs=1), overwrite=overwrite)
    inside = shutil.copytree(trained, tmp_path / "inside")
    source = shutil.copy(annotated, inside)
    with pytest.raises(DataError, match=r"would replace .*annotated\.jsonl, which is read"):
        train_file(source, inside, settings, overwrite=overwrite)
    assert (foreign / "chapter.tex").read_text("utf-8") == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"thesis", "untrained", "inside"}


def test_an_empty_folder_and_a_model_trained_before_are_replaced(
    annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    for epochs in (1, 2):
        settings = TrainSettings(encoder=encoder_folder, epochs=epochs)
        report = train_file(annotated, out, settings, overwrite=True)
        assert report is not None
        assert report.epochs == epochs
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pickled_weights_are_refused(encoder_folder: Path, annotated: Path, trained: Path, tmp_path: Path) -> None:
    for name, source in (("encoder", encoder_folder), ("scorer", trained)):
        folder = tmp_path / name
        folder.mkdir()
        for path in source.iterdir():
            if path.suffix != ".safetensors":
                (folder / path.name).write_bytes(path.read_bytes())
        (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(DataError, match=r"only pickle weights \(pytorch_model\.bin\)"):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=tmp_path / "encoder"))
    with pytest.raises(DataError, match=r"only pickle weights \(pytorch_model\.bin\)"):
        TokenClassifier.from_folder(tmp_path / "scorer")


def test_folders_that_hold_no_model_are_one_clear_line(tmp_path: Path, annotated: Path, encoder_folder: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_scorer(tmp_path / "none")
    with pytest.raises(DataError, match=r"has no compressor\.json"):
        TokenClassifier.from_folder(encoder_folder)
    with pytest.raises(DataError, match="no such folder"):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=tmp_path / "none"))
    with pytest.raises(DataError, match=r"more than the encoder accepts \(160\)"):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=encoder_folder, max_length=512))
    assert not (tmp_path / "out").exists()


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
