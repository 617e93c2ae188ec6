"""Plans of stopped thinking, against engines that only repeat what a model would write: every letter is one token."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval._shared.thinking import THINK
from math_eval._shared.thinking_formats import FORMATS
from math_eval.backends import Completion, Sampling
from math_eval.backends.stopping import Answer, Ask, finish_together, plan, request_seed
from math_eval.errors import DataError
from math_eval.thinking_modes import SENTENCES, parse_mode


class _Letters:
    """A tokenizer whose tokens are letters; `missing` are letters that it cannot write."""

    path = Path("letters")

    def __init__(self, missing=""):
        self.missing = missing

    def writes(self, text):
        return "?" not in self.decode(self.ids(text))

    def encode(self, text):
        return tuple(self.ids(text))

    def ids(self, text):
        return [ord("?") if letter in self.missing else ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def completion(self, ids, ended):
        return Completion(self.decode(ids), len(ids) + ended, "stop" if ended else "length")


LETTERS = _Letters()
PROMPT = "Add 1 and 2."


def _complete(mode, free, *, prompt=PROMPT, max_tokens=1000, answer="3", trials=None, thinking=THINK, model=LETTERS):
    """The completion of a model that writes `free`, but `answer` after a text that is not its own, and the requests.

    Args:
        trials: Trial answers and the probability of each of their letters, by the number of letters written before.
    """
    asks = []

    def extend(batch, _):
        asks.extend(batch)
        return [one(ask) for ask in batch]

    def one(ask: Ask):
        written = LETTERS.decode(ask.ids[len(prompt) :])
        if ask.trial:
            text, probability = trials[len(written.split("\n\nThe final")[0])]
            return Answer(LETTERS.ids(text), False, [math.log(probability)] * len(text))
        own = free.startswith(written)
        rest = (
            free[len(written) :] if own else answer[len(written) - written.index(thinking.close + "\n\n") :] or answer
        )
        return Answer(LETTERS.ids(rest[: ask.limit]), len(rest) < ask.limit)

    sampling = Sampling(max_tokens, stop=parse_mode(mode).stop(thinking))
    (found,) = finish_together([plan(model, prompt, sampling)], extend)
    return found, asks


CLOSING = "\n\nI have to stop thinking here and give the answer now.\n</think>\n\n"


def test_thinking_stops_after_the_budget_and_the_answer_follows_the_closing_text():
    found, asks = _complete("budget=4", "<think>1 + 2 = 3</think>It is 3.")
    assert found.text == f"<think>1 + {CLOSING}3"
    assert found.closing_text == CLOSING
    assert (found.tokens, found.finish_reason) == (len("<think>1 + ") + len(CLOSING) + len("3") + 1, "stop")
    # Four letters of the tag, then its other three and one of the thinking, then what is left of the budget.
    assert [ask.limit for ask in asks] == [4, 4, 3, 1000 - len(f"<think>1 + {CLOSING}")]


def test_thinking_that_a_prompt_opens_is_counted_from_its_first_token():
    found, asks = _complete("budget=4", "1 + 2 = 3</think>It is 3.", prompt=f"{PROMPT}<think>")
    assert found.text == f"1 + {CLOSING}3"
    assert [ask.limit for ask in asks] == [4, 1000 - len(f"1 + {CLOSING}")]


def test_a_completion_that_keeps_to_the_budget_is_that_of_a_free_run():
    free = "<think>1 + 2 = 3</think>It is 3."
    found, _ = _complete("budget=9", f"{free[:7]}1 + 2 = 3</think>It is 3.")
    assert (found.text, found.closing_text) == (f"<think>1 + 2 = 3{CLOSING}3", CLOSING), "nine letters are the budget"
    found, _ = _complete("budget=30", free)
    assert found == Completion(free, len(free) + 1, "stop")


def test_an_answer_without_thinking_needs_no_closing():
    found, asks = _complete("budget=4", "It is 3.")
    assert found == Completion("It is 3.", 9, "stop")
    assert [ask.limit for ask in asks] == [4, 4, 4]


def test_the_token_limit_cuts_before_a_closing_text_that_does_not_fit():
    before = f"{'x' * 60}<think>"
    found, _ = _complete("budget=4", f"{before}1 + 2", max_tokens=len(before) + 4 + len(CLOSING))
    assert found == Completion(f"{before}1 + ", len(before) + 4, "length")


@pytest.mark.parametrize("name", FORMATS)
@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_thinking_is_the_beginning_of_the_free_one_in_every_format(name, budget, thought, answered, opened):
    thinking = FORMATS[name]
    own, free_answer = "abcdefghij" * 3, "klmnopqrst" * 3
    free = f"{'' if opened else thinking.open}{own[:thought]}{thinking.between}{thinking.close}{free_answer[:answered]}"
    prompt = f"{PROMPT}{thinking.open if opened else ''}"
    sampling = Sampling(10_000, stop=parse_mode(f"budget={budget}").stop(thinking))

    def extend(asks, _):
        (ask,) = asks
        written = LETTERS.decode(ask.ids[len(prompt) :])
        rest = free[len(written) :] if free.startswith(written) else ""
        return [Answer(LETTERS.ids(rest[: ask.limit]), len(rest) < ask.limit)]

    (found,) = finish_together([plan(LETTERS, prompt, sampling)], extend)
    parts = thinking.after(prompt).parts(found.text)
    assert parts.closing
    if thought < budget:
        assert (found.text, found.closing_text) == (free, None)
    else:
        sentence = "\n\nI have to stop thinking here and give the answer now.\n"
        assert (parts.text, parts.answer.strip()) == (own[:budget] + sentence, "")
        assert found.text == parts.before + parts.opening + own[:budget] + found.closing_text


def test_a_sure_trial_answer_ends_the_thinking_and_its_tokens_are_counted_apart():
    free = "<think>1 + 2 = 3. Wait, is it? Yes.</think>It is 3."
    trials = {len("<think>") + 8: ("5}, no", 0.9), len("<think>") + 16: ("3} I am", 0.99)}
    found, asks = _complete("exit=0.95:8", free, trials=trials)
    assert found.text == f"<think>{free[7:23]}{CLOSING}3"
    assert (found.closing_text, found.trial_tokens) == (CLOSING, len("5}, no") + len("3} I am"))
    trial = next(ask for ask in asks if ask.trial)
    assert LETTERS.decode(trial.ids) == f"{PROMPT}<think>{free[7:15]}\n\nThe final answer is \\boxed{{"
    assert trial.limit == 32


@pytest.mark.parametrize("trial", ["3", "}", "3 or {4}", ""])
def test_a_trial_without_an_answer_in_its_box_never_ends_the_thinking(trial):
    free = "<think>1 + 2 = 3</think>It is 3."
    found, _ = _complete("exit=0.1:8", free, trials={15: (trial, 0.99)})
    assert (found.text, found.closing_text, found.trial_tokens) == (free, None, len(trial))


def test_the_confidence_of_a_trial_is_the_geometric_mean_over_its_answer():
    """Letters 1, 2 and } have the probabilities 0.9, 0.4 and 0.01: the mean over "12" is 0.6, and } does not count."""
    free, prompt = "1 + 2 = 3</think>It is 3.", f"{PROMPT}<think>"
    for threshold, stops in (("0.599", True), ("0.601", False)):
        sampling = Sampling(1000, stop=parse_mode(f"exit={threshold}:4").stop(THINK))
        asks = plan(LETTERS, prompt, sampling)
        assert next(asks).limit == 4
        assert asks.send(Answer(LETTERS.ids("1 + "), False)).trial
        after = asks.send(Answer(LETTERS.ids("12}"), False, [math.log(0.9), math.log(0.4), math.log(0.01)]))
        assert LETTERS.decode(after.ids).endswith("</think>\n\n") == stops
        assert after.limit == (1000 - 4 - len(CLOSING) if stops else 4)
    assert free.startswith("1 + ")


def test_near_the_token_limit_no_trial_is_made_and_no_closing_begun():
    free = f"<think>{'x' * 500}"
    found, asks = _complete("exit=0.5:8", free, max_tokens=60)
    assert (found.text, found.tokens, found.finish_reason) == (free[:60], 60, "length")
    assert (found.trial_tokens, any(ask.trial for ask in asks)) == (0, False)


def test_a_budget_without_room_for_an_answer_is_refused():
    with pytest.raises(DataError, match=rf"4 thinking tokens, {len(CLOSING)} that close them .* --max-tokens 20"):
        _complete("budget=4", "<think>1", max_tokens=20)


def test_a_tokenizer_that_cannot_write_the_closing_tag_is_refused():
    with pytest.raises(DataError, match="cannot write </think>"):
        _complete("budget=4", "<think>1", model=_Letters(missing="/"))


def test_a_sentence_that_the_tokenizer_cannot_write_is_left_out():
    found, _ = _complete("budget=4", "<think>1 + 2 = 3</think>It is 3.", model=_Letters(missing="v"))
    assert (found.text, found.closing_text) == ("<think>1 + \n</think>\n\n3", "\n</think>\n\n")


def test_plans_of_a_batch_are_independent_and_keep_their_order():
    texts = ["<think>1 + 2 = 3</think>It is 3.", "It is 7.", "<think>1</think>2"]
    sampling = Sampling(1000, stop=parse_mode("budget=4").stop(THINK))
    seen = []

    def extend(asks, number):
        seen.append((number, len(asks)))
        made = []
        for ask in asks:
            which, written = int(chr(ask.ids[0])), LETTERS.decode(ask.ids[1:])
            rest = texts[which][len(written) :] if texts[which].startswith(written) else ""
            made.append(Answer(LETTERS.ids(rest[: ask.limit]), len(rest) < ask.limit))
        return made

    found = finish_together([plan(LETTERS, str(which), sampling) for which in range(3)], extend)
    assert [one.text for one in found] == [f"<think>1 + {CLOSING}", "It is 7.", "<think>1</think>2"]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 2), (4, 1), (5, 1)]


def test_the_first_request_has_the_seed_of_the_completion_and_later_ones_their_own():
    seeds = [request_seed(7, number) for number in range(50)]
    assert seeds[0] == 7
    assert len({*seeds, *(request_seed(8, number) for number in range(50))}) == 100


def test_modes_are_spelt_in_full_and_record_every_text_they_use():
    assert parse_mode("none").content == {"name": "none"}
    assert parse_mode("concise").content == {"name": "concise=brief", "sentence": "Be concise."}
    assert parse_mode("concise=draft").content["sentence"] == SENTENCES["draft"]
    closing = "I have to stop thinking here and give the answer now."
    assert parse_mode("budget=64").content == {"name": "budget=64", "pause": 64, "closing": closing}
    assert parse_mode("exit").content == {
        "name": "exit=0.95:128", "pause": 128, "closing": closing, "confidence": 0.95,
        "trial": "The final answer is",
    }  # fmt: skip
    assert [parse_mode(name).limit for name in ("none", "budget=64", "concise", "exit")] == [0, 64, None, None]
    assert parse_mode("concise").instruction("Reason.") == "Reason. Be concise."
    assert parse_mode("concise").instruction("") == "Be concise."


@given(
    st.one_of(
        st.sampled_from(["none", "concise", "exit", *(f"concise={name}" for name in SENTENCES)]),
        st.integers(1, 10**9 - 1).map(lambda tokens: f"budget={tokens}"),
        st.tuples(st.integers(1, 99), st.integers(1, 10**6)).map(lambda each: f"exit=0.{each[0]:02}:{each[1]}"),
    )
)
def test_the_name_of_a_mode_names_the_same_mode(text):
    assert parse_mode(parse_mode(text).name) == parse_mode(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget", "got 'budget'"), ("budget=-1", "got 'budget=-1'"), ("budget=0", "write --thinking none"),
        ("concise=rude", r"concise=brief\|draft\|answer"), ("exit=2", "got 'exit=2'"), ("exit=0:8", "above 0"),
        ("exit=0.9:0", "at least 1"), ("", "thinking must be none"), ("None", "got 'None'"),
    ],
)  # fmt: skip
def test_a_mode_that_there_is_not_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_mode(text)
