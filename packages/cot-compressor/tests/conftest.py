"""Tiny real tokenizers, encoders and traces, all built here."""

import gzip
import json
import os
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, PreTrainedTokenizerFast

from cot_compressor.training.annotate import RulesAnnotator, annotate_file
from cot_compressor.training.settings import TrainSettings
from cot_compressor.training.train import train_file

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make_traces(count: int, *, seed: int = 0) -> list[dict]:
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        value = chance.randint(5, 20)
        name, thing = chance.choice(["Tom", "Ann", "Bob"]), chance.choice(["eggs", "pens", "cards"])
        question = f"{name} has {value} {thing}."
        cot = f"Okay, let me think about this. {name} starts with {value} {thing}."
        for _ in range(chance.randint(2, 4)):
            more = chance.randint(1, 15)
            total = value + more
            question += f" Then {name} gets {more} more."
            cot += f" Next {name} gets {more} more: {value} + {more} = {total}."
            cot += f" Check: {value} + {more} = {total}, yes."
            value = total
        cot += f" So the answer is {value}."
        rows.append(
            {
                "id": f"p{number}",
                "question": question + f" How many {thing}?",
                "answer": str(value),
                "cot": cot,
                "response": f"\\boxed{{{value}}}",
                "model": "toy",
                "correct": True,
                "sample": 0,
            }
        )
    return rows


def save_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """Words, digits and signs, one token each; whole numbers below 100 too."""
    pieces = [word for row in make_traces(200) for word in (row["question"] + " " + row["cot"]).split()]
    splitter = pre_tokenizers.Whitespace()
    known = sorted({part for piece in pieces for part, _ in splitter.pre_tokenize_str(piece)})
    vocabulary = {token: at for at, token in enumerate([*SPECIAL, *known])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = splitter
    return wrap(tokenizer)


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a few merges, so that counts depend on what stands beside a unit."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([row["cot"] for row in make_traces(100)], trainer)
    return wrap(tokenizer)


@pytest.fixture(scope="session")
def encoder_folder(word_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT's config and tokenizer, no weights."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    word_tokenizer.save_pretrained(folder)
    BertConfig(
        vocab_size=len(word_tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=160,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(word_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a target model, as far as counting goes."""
    folder = tmp_path_factory.mktemp("target") / "toy-target"
    word_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_traces() -> list[dict]:
    return make_traces(60)


@pytest.fixture
def traces_file(tmp_path: Path, toy_traces: list[dict]) -> Path:
    return save_rows(tmp_path / "traces.jsonl", toy_traces)


@pytest.fixture(scope="session")
def real_traces() -> list[dict]:
    """Published traces in the folder $DATA; without them the test is skipped."""
    found = Path(os.environ.get("DATA") or Path(__file__).parents[3] / "data") / "traces_math_train.jsonl.gz"
    if not found.is_file():
        pytest.skip(f"{found} is not here; set DATA to the folder of the published data files")
    with gzip.open(found, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="session")
def annotated(tmp_path_factory: pytest.TempPathFactory, toy_traces: list[dict]) -> Path:
    """The toy traces as `annotate` leaves them."""
    source = save_rows(tmp_path_factory.mktemp("annotated") / "traces.jsonl", toy_traces)
    annotate_file(source, source.with_name("annotated.jsonl"), RulesAnnotator(0.25))
    return source.with_name("annotated.jsonl")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, annotated: Path, encoder_folder: Path) -> Path:
    """A scorer that has learnt them, from random weights."""
    out = tmp_path_factory.mktemp("trained") / "model"
    train_file(annotated, out, TrainSettings(encoder=encoder_folder, epochs=12, batch_size=8, learning_rate=5e-3))
    return out
