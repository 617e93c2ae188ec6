import os
from pathlib import Path

import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.thinking_formats import FORMATS, save_format
from chrpo.errors import DataError
from chrpo.grader import grade, same_answer
from chrpo.rollout import RolloutReader, control_ids


@pytest.fixture(scope="module")
def reader(checkpoint):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokens = ControlTokens.load(checkpoint)
    inner = RolloutReader(tokenizer, tokens, [tokenizer.eos_token_id], grade)
    return lambda text, answer="7": inner.read(tokenizer.encode(text, add_special_tokens=False), answer)


GOOD = "<think> so so so </think> \\boxed{ 7 } [end]"


def test_an_honest_answer(reader):
    facts = reader(GOOD)
    assert (facts.format_ok, facts.correct, facts.truncated) == (True, True, False)
    assert facts.thinking_tokens == 3
    assert facts.completion_tokens == 9 + 1
    assert facts.integrity == 0


@pytest.mark.parametrize(
    ("text", "format_ok", "correct"),
    [
        ("<think> so </think> \\boxed{ 6 } [end]", True, False),
        ("<think> so </think> \\boxed{ 7 } so \\boxed{ 7 } [end]", True, True),
        ("<think> so </think> \\boxed{ 6 } so \\boxed{ 7 } [end]", False, True),
        ("<think> so </think> \\boxed{ 7 }", False, False),
        ("<think> so </think> so 7 [end]", False, False),
        ("<think> \\boxed{ 7 } [end]", False, False),
        ("<think> so </think> <COMP_20> \\boxed{ 7 } [end]", False, True),
        ("<think> so [pad] so </think> \\boxed{ 7 } [end]", False, True),
        ("<think> so </think> <think> so </think> \\boxed{ 7 } [end]", False, True),
        ("so <think> so </think> \\boxed{ 7 } [end]", False, True),
        ("so </think> \\boxed{ 7 } [end]", False, True),
        ("\\boxed{ 7 } [end]", False, True),
        ("<think> so </think> \\boxed{ 7 [end]", False, False),
        ("[end]", False, False),
    ],
)
def test_format_and_correctness_are_read_apart(reader, text, format_ok, correct):
    facts = reader(text)
    assert (facts.format_ok, facts.correct) == (format_ok, correct)


def test_an_unclosed_block_counts_to_the_end(reader):
    facts = reader("<think> so so so so [end]")
    assert (facts.thinking_tokens, facts.format_ok) == (4, False)


def test_tokens_behind_the_block_are_counted(reader):
    facts = reader("<think> so </think> so so so so so \\boxed{ 7 } [end]")
    assert (facts.thinking_tokens, facts.completion_tokens) == (1, 13)


def test_repetition_and_empty_thinking_lower_integrity(reader):
    assert reader(f"<think> {'so copy ' * 10} </think> \\boxed{{ 7 }} [end]").integrity == 0.5
    assert reader("<think> </think> \\boxed{ 7 } [end]").integrity == 0.5
    assert reader(f"<think> {'1 2 3 4 5 6 7 0 ' * 3} </think> \\boxed{{ 7 }} [end]").integrity == 0


def test_a_control_token_that_the_tokenizer_splits_is_refused(checkpoint):
    from transformers import AutoTokenizer

    with pytest.raises(DataError, match="is not one token"):
        control_ids(AutoTokenizer.from_pretrained(checkpoint), ControlTokens.ladder((0.3, 1.0)))


@pytest.mark.parametrize(
    ("candidate", "answer", "same"),
    [
        ("27", "27", True),
        ("27.0", "27", True),
        ("1/2", "0.5", True),
        (r"\frac{3}{4}", "0.75", True),
        (r"-\dfrac{3}{4}", "-0.75", True),
        ("1,000", "1000", True),
        ("1 000 000", "1000000", True),
        ("2 1/2", "10.5", False),
        ("3  4", "34", False),
        ("(1,234)", "(1234)", False),
        ("(1, 234)", "(1,234)", True),
        (r"\$ 12", "12", True),
        ("27", "28", False),
        ("1/0", "1", False),
        ("", "27", False),
        (r"\frac{\sqrt{4}}{2}", "1", True),
        (r"x+1", "1+x", True),
        (r"x+1", "x+2", False),
        ("9^{9^{9}}", "1", False),
        ("2^{99999999}", "1", False),
        ("100000!", "1", False),
        ("1" * 5000, "1", False),
    ],
)
def test_answers_compare_by_value(candidate, answer, same):
    assert same_answer(candidate, answer) is same


COSTLY = ["3^{(9999999)}", "3^{9{,}999{,}999}", r"3^{99\cdot 99\cdot 99}", "3^{(99)(99)(99)}", "7**(123)", "2^{5+4096}"]
COSTLY += ["3^{1+2^{64}}", r"3^{\frac{100000}{1}}", "3^[5000]", "2^{-(1000)}", "2^(99*99*99)", "5^+123"]


def test_an_answer_that_takes_long_to_compute_is_never_computed(monkeypatch):
    def refuse(candidate, answer):
        raise AssertionError(candidate)

    monkeypatch.setattr("chrpo.grader._verify", refuse)
    assert not any(same_answer(text, "81") for text in COSTLY)


@pytest.mark.parametrize(
    ("candidate", "answer"),
    [(r"2^{3}\cdot 125", "1000"), ("2^{3}(125)", "1000"), ("x^{2}-1000", "-1000+x^2"), ("3^{(n-1)/2}", "3^{(-1+n)/2}")],
)
def test_digits_beside_an_exponent_are_computed(candidate, answer):
    pytest.importorskip("math_verify")
    assert same_answer(candidate, answer)


def test_an_answer_that_takes_long_is_incorrect_and_is_printed_nowhere(capfd):
    pytest.importorskip("math_verify")
    assert not same_answer("\\text{\x1b[31m}\\binom{99999999}{49999999}", "5")
    assert same_answer("y+1", "1+y")
    assert capfd.readouterr() == ("", "")


def test_the_process_that_compares_answers_has_a_limit_of_memory_and_is_replaced_if_it_ends(monkeypatch):
    pytest.importorskip("math_verify")
    from chrpo import grader

    worker = grader.Worker()
    assert worker.same("x+1", "1+x")
    limits = Path(f"/proc/{worker.process.pid}/limits")
    if limits.exists():
        [limit] = [
            line.split()[3] for line in limits.read_text("utf-8").splitlines() if line.startswith("Max address space")
        ]
        assert int(limit) < 2**32
    worker.process.kill()
    assert worker.same("x+2", "2+x")
    monkeypatch.setattr(grader, "MOST_SECONDS", 0.2)
    assert not worker.same(r"\binom{99999999}{49999999}", "5")
    monkeypatch.undo()
    assert worker.same("x+3", "3+x")


def test_a_forked_process_compares_answers_in_a_process_of_its_own():
    pytest.importorskip("math_verify")
    from chrpo import grader

    assert same_answer("x+4", "4+x")
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        verdict = same_answer("x+5", "5+x")
        os.write(write, f"{verdict} {grader._WORKER.process.pid}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    verdict, pid = os.read(read, 100).decode().split()
    assert verdict == "True"
    assert int(pid) != grader._WORKER.process.pid


def test_ordinary_answers_never_load_sympy():
    import subprocess
    import sys

    code = (
        "import sys; from chrpo.grader import grade;"
        r"assert grade('<think>1</think>\\boxed{27}', '27'); assert not grade(r'\\boxed{3/4}', '0.5');"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_answer_is_looked_for_after_the_thinking_block_only():
    assert not grade(r"<think>\boxed{7}</think>It is seven.", "7")
    assert not grade(r"<think>\boxed{7}", "7")


def test_a_rollout_of_tokens_without_measure_is_refused_before_its_tags_are_looked_for(checkpoint):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(["v" * 10_000])
    long = len(tokenizer) - 1
    reader = RolloutReader(tokenizer, ControlTokens.load(checkpoint), [tokenizer.eos_token_id])
    assert reader.read([long] * 100, "1").truncated
    with pytest.raises(DataError, match=r"a completion of 103 tokens has 1030\d+ characters, more than 1020600"):
        reader.read([long] * 103, "1")


# --- thinking formats -------------------------------------------------------------------------------------------------


def with_format(checkpoint, template=None, tags=("<think>", "</think>"), folder=None):
    """A reader of the checkpoint under another chat template, with more tags in the vocabulary."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(list(tags))
    tokenizer.chat_template = template or tokenizer.chat_template
    tokenizer.name_or_path = str(folder or checkpoint)
    inner = RolloutReader(tokenizer, ControlTokens.load(checkpoint), [tokenizer.eos_token_id], grade)
    return lambda text: inner.read(tokenizer.encode(text, add_special_tokens=False), "7")


OPENING = (
    "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant] <think> {% endif %}"
)


@pytest.mark.parametrize(
    ("text", "format_ok", "thinking_tokens"),
    [
        ("so so </think> \\boxed{ 7 } [end]", True, 2),
        ("</think> \\boxed{ 7 } [end]", True, 0),
        ("<think> so so </think> \\boxed{ 7 } [end]", False, 2),
        ("so so \\boxed{ 7 } [end]", False, 5),
        ("so </think> so </think> \\boxed{ 7 } [end]", False, 3),
        ("so </think> <think> \\boxed{ 7 } [end]", False, 6),
    ],
)
def test_a_rollout_begins_inside_a_block_that_the_template_opens(checkpoint, text, format_ok, thinking_tokens):
    facts = with_format(checkpoint, OPENING)(text)
    assert (facts.format_ok, facts.thinking_tokens) == (format_ok, thinking_tokens)


@pytest.mark.parametrize("name", FORMATS)
def test_rollouts_are_read_in_the_format_beside_the_checkpoint(checkpoint, tmp_path, name):
    each = FORMATS[name]
    closing = each.between + each.close
    save_format(each, tmp_path)
    read = with_format(checkpoint, tags=(each.open, closing), folder=tmp_path)
    facts = read(" ".join([each.open, "so so", closing, "\\boxed{ 7 } [end]"]))
    assert (facts.format_ok, facts.correct, facts.thinking_tokens) == (True, True, 2)
    assert not read(" ".join([each.open, "so so \\boxed{ 7 } [end]"])).format_ok
    if name != "think":
        assert not read(GOOD).format_ok
