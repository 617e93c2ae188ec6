"""A training, its report and card, and what it refuses to start from."""

import json
import shutil
from pathlib import Path

import pytest

from cot_compressor.errors import DataError
from cot_compressor.scorers.card import TrainReport, model_card
from cot_compressor.scorers.classifier import TokenClassifier
from cot_compressor.scorers.load import load_scorer
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
