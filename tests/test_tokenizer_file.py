"""A stranger's tokenizer.json: read within limits, or refused in one line that names it."""

import base64
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from math_eval._shared import tokenizer_file
from math_eval._shared.checkpoint_loader import load_tokenizer
from math_eval._shared.tokenizer_file import check_rendered, read_tokenizer, tokenizing
from math_eval.errors import DataError

from .conftest import build_tokenizer


@pytest.fixture
def folder(tmp_path):
    build_tokenizer(["one two three"]).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def spelled(pattern, content):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def chain(kind, step, times):
    return {kind: {"type": "Sequence", tokenizer_file._CHAINS[kind]: [step] * times}}


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
TWICE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 2,
    "pair": [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"],
    "special_tokens": {},
}
TRIE = (1024).to_bytes(4, "little") + bytes(1024)
LETTERS = base64.b64encode(TRIE + b"k" * 5000 + b"\0").decode()


@pytest.mark.parametrize(
    "fields",
    [
        chain("normalizer", spelled("\u0915", "\u0915\u0915\u0915"), 30),
        chain("normalizer", {"type": "Replace", "pattern": {"Regex": "(?=q)"}, "content": "qqqq"}, 20),
        chain("normalizer", {"type": "ByteLevel"}, 40),
        chain("normalizer", {"type": "Prepend", "prepend": "x" * 100_000}, 1),
        chain("normalizer", {"type": "Precompiled", "precompiled_charsmap": LETTERS}, 1),
        chain("pre_tokenizer", BYTES, 40),
        chain("post_processor", TWICE, 40),
        chain("decoder", spelled("x", "xxxxxxxx"), 20),
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_tokenizer_whose_steps_multiply_text_is_refused_before_it_meets_any(folder, fields):
    edit(folder / "tokenizer.json", **fields)
    for load in (load_tokenizer, read_tokenizer):
        with pytest.raises(DataError, match=r"its steps can make \d+ characters of a (character|token)"):
            load(folder)


def test_a_token_or_word_without_measure_is_refused(folder):
    edit(folder / "tokenizer.json", added_tokens=[token(400, "v" * 20_000)])
    with pytest.raises(DataError, match="a token of 20000 characters; no tokenizer has one above 10000"):
        read_tokenizer(folder)
    model: dict = {"type": "WordPiece", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model["max_input_chars_per_word"] = 100
    edit(folder / "tokenizer.json", added_tokens=[], model={**model, "max_input_chars_per_word": 10**9})
    with pytest.raises(DataError, match="max_input_chars_per_word is 1000000000"):
        read_tokenizer(folder)
    edit(folder / "tokenizer.json", model=model, **chain("normalizer", {"type": "Lowercase"}, 101))
    with pytest.raises(DataError, match="normalizer has 101 steps"):
        read_tokenizer(folder)


def special(*counts):
    """Steps that each put so many special tokens before a text."""
    return [
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "X", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"],
            "special_tokens": {"X": {"id": "X", "ids": [1] * count, "tokens": ["one"] * count}},
        }
        for count in counts
    ]


@pytest.mark.parametrize(
    ("steps", "added"),
    [
        (special(101), 101),
        (special(*[2] * 51), 102),
        ([*special(60), TWICE], 120),
        (special(399_000), 399_000),
    ],
    ids=["one", "a chain", "repeated", "very many"],
)
def test_special_tokens_around_every_text_are_limited(folder, steps, added):
    edit(folder / "tokenizer.json", post_processor={"type": "Sequence", "processors": steps})
    for load in (load_tokenizer, read_tokenizer):
        with pytest.raises(
            DataError, match=f"adds {added} special tokens to every text; no tokenizer adds more than 1"
        ):
            load(folder)


def test_a_hundred_special_tokens_around_a_text_are_accepted(folder):
    edit(folder / "tokenizer.json", post_processor=special(100)[0])
    assert len(read_tokenizer(folder).encode("one").ids) == 101


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), max_size=5))
def test_a_template_may_add_100000_characters_to_one_prompt_and_5000_to_each(prompts):
    gains = [max(after - before, 0) for before, after in prompts]
    small = max(gains, default=0) <= 100_000 and sum(gains) <= 100_000 + 5_000 * len(prompts)
    texts, written = ["a" * after for _, after in prompts], [before for before, _ in prompts]
    if small:
        check_rendered(texts, written, "model: chat template")
    else:
        with pytest.raises(
            DataError, match=r"^model: chat template: adds \d+ characters to .*, more than \d+; mend it"
        ):
            check_rendered(texts, written, "model: chat template")


def test_prompts_that_each_gain_little_are_limited_together():
    check_rendered(["a" * 5_000] * 100, [0] * 100, "m")
    check_rendered(["a" * 100_001], [1], "m")
    with pytest.raises(DataError, match="m: adds 700000 characters to 100 prompts, more than 600000; mend it"):
        check_rendered(["a" * 7_000] * 100, [0] * 100, "m")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_prompt_is_refused(text):
    with pytest.raises(DataError, match=r"^m: chat template: renders an empty prompt; mend it$"):
        check_rendered(["a", text], [1, 1], "m: chat template")


def token(number, content):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **flags}


STEPS = st.one_of(
    st.builds(normalizers.Replace, st.sampled_from(["a", "ab", "É", "ﷺ"]), st.sampled_from(["", "a", "bÉ", "ﷺﷺa"])),
    st.builds(
        normalizers.Replace, st.sampled_from([Regex("."), Regex("(?=a)"), Regex("b+")]), st.sampled_from(["", "ﷺ"])
    ),
    st.builds(normalizers.Prepend, st.sampled_from(["a", "ab"])),
    st.sampled_from(
        [getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "ByteLevel", "Nmt")]
    ),
    st.builds(normalizers.BertNormalizer, strip_accents=st.booleans()),
)


@given(st.lists(STEPS, min_size=1, max_size=3), st.text("aAbÉİﷺ中 \u0344\U0001d15e", min_size=1, max_size=6))
@settings(deadline=None)
def test_no_step_makes_more_of_a_character_than_is_assumed(steps, text):
    whole = normalizers.Sequence(steps)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = whole
    assumed = tokenizer_file.growth(tokenizer, "normalizer")
    try:
        made = whole.normalize_str(text)
    except BaseException as error:
        # A few chains end in a fault of the library, which `tokenizing` makes an error.
        assume(type(error).__name__ != "PanicException")
        raise
    assert len(made) <= assumed * len(text)


REAL = {
    "like ALBERT's": {
        "normalizer": normalizers.Sequence(
            [
                *(normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents()),
                *(normalizers.Lowercase(), normalizers.Precompiled(TRIE + "صلى الله عليه وسلم\0".encode())),
                normalizers.Replace(Regex(" {2,}"), " "),
            ]
        ),
        "pre_tokenizer": pre_tokenizers.Metaspace(),
    },
    "like CLIP's": {
        "normalizer": normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        ),
        "pre_tokenizer": pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(r"\p{L}+"), "removed", invert=True), pre_tokenizers.ByteLevel()]
        ),
    },
    "like Llama's": {
        "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        "decoder": decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1)]
        ),
    },
    "like BERT's": {
        "normalizer": normalizers.BertNormalizer(),
        "pre_tokenizer": pre_tokenizers.BertPreTokenizer(),
        "post_processor": processors.TemplateProcessing(
            single="a $A b", pair="a $A b $B:1 b:1", special_tokens=[("a", 0), ("b", 1)]
        ),
        "decoder": decoders.WordPiece(),
    },
}


@pytest.mark.parametrize("parts", REAL.values(), ids=REAL.keys())
def test_the_steps_of_real_tokenizers_are_accepted(folder, parts):
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.save(str(folder / "tokenizer.json"))
    read_tokenizer(folder)


def test_padding_and_truncation_of_a_tokenizer_file_are_not_obeyed(folder):
    plain = load_tokenizer(folder)("one two three")["input_ids"]
    padding = {"direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
    cut = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    edit(folder / "tokenizer.json", padding={**padding, "strategy": {"Fixed": 2 * 10**9}}, truncation=cut)
    assert load_tokenizer(folder)("one two three")["input_ids"] == plain
    assert load_tokenizer(folder).backend_tokenizer.encode("one two three").ids == plain
    assert read_tokenizer(folder).encode("one two three").ids == plain


def test_a_tokenizer_that_fails_in_use_is_one_error_that_names_its_folder(folder):
    edit(folder / "tokenizer.json", normalizer={"type": "Replace", "pattern": {"Regex": "(z+z+)+y"}, "content": "z"})
    tokenizer = read_tokenizer(folder)
    with (
        pytest.raises(DataError, match=r"model: the tokenizer fails \(.+\); mend its tokenizer\.json"),
        tokenizing(folder),
    ):
        tokenizer.encode("z" * 200)
