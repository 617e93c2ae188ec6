"""Fifty-five hostile completions, graded from a worker thread and from asyncio.

`INPUTS` maps a name to (completion, gold). None of them deserves `correct`; what each deserves besides is open.
"""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from math_eval import VERDICTS, Grader

DEADLINE_S = 2.0
_PAYLOAD = "__import__('os').system('touch {path}')"


def _box(answer):
    return rf"<think>t</think> \boxed{{{answer}}}"


def _determinant(size):
    rows = r" \\ ".join(" & ".join(f"x_{{{row}{column}}}" for column in range(size)) for row in range(size))
    return rf"\det\begin{{pmatrix}} {rows} \end{{pmatrix}}"


_INTEGRAL = r"\int_0^1 \int_0^1 \frac{\sin(x^3 y^2 + x y^5)}{1 + x^{17} y^{13}} dx dy"
_ANSWERS = {
    "tower of powers": ("9^{9^{9^{9}}}", "1"),
    "tower without braces": ("5^(5^(5^(5^5)))", "1"),
    "tower of a factorial": ("3^{100!}", "x"),
    "tower of stars": ("9**9**9**9", "x"),
    "huge exponent": ("10^{999999999}", "x"),
    "huge negative exponent": ("10^{-999999999}", "x"),
    "power of a huge power": ("(2^{9999})^{9999}", "x"),
    "product of powers": (r"7^{9999} \cdot 11^{9999} \cdot 13^{9999}", "x"),
    "power with a real exponent": ("2^{9999.999}", "x^2"),
    "huge factorial": ("99999999!", "x"),
    "factorial of a factorial": ("((7!)!)!", "x"),
    "allowed factorials": (r"10000! \cdot 9999! \cdot 9998!", "x"),
    "binomial": (r"\binom{999999999}{499999999}", "x"),
    "huge integer": ("9" * 100_000, "x"),
    "huge decimal": ("0." + "3" * 100_000, "1/3"),
    "million digits in the text": ("1" * 999_999, "x"),
    "long fraction": (rf"\frac{{{'7' * 250}}}{{{'3' * 250}}}", "2"),
    "nested braces": ("{" * 20_000 + "1" + "}" * 20_000, "x"),
    "nested brackets": ("(" * 500 + "1" + ")" * 500, "2"),
    "brackets at the limit": ("(" * 60 + "x" + ")" * 60, "y+1"),
    "nested roots": (r"\sqrt{" * 60 + "x" + "}" * 60, "x+1"),
    "nested fractions": (r"\frac{1}{1+" * 60 + "x" + "}" * 60, "x+1"),
    "fractions without arguments": (r"\frac" * 3000, "x"),
    "giant sum of letters": ("+".join(["x"] * 5000), "y"),
    "sum below the limit": ("+".join(f"x_{{{n}}}" for n in range(500)), "y"),
    "expanding product": ("".join(f"(x+{n})" for n in range(250)), "x+1"),
    "expanding power": ("(a+b+c+d+e)^{200}", "(a+b+c+d+f)^{200}"),
    "sum over a range": (r"\sum_{n=1}^{999999999} \frac{1}{n^2}", "1"),
    "product over a range": (r"\prod_{n=1}^{999999999} n", "1"),
    "integral": (_INTEGRAL, _INTEGRAL.replace("17", "19")),
    "limit": (r"\lim_{x \to 0} \frac{\sin(\sin(\sin(x))) - \tan(\tan(x))}{x^{99}}", "1"),
    "symbolic determinant": (_determinant(7), "1"),
    "nested trigonometry": (r"\sin(" * 50 + "x" + ")" * 50, r"\cos(x)"),
    "set of a thousand": (r"\{" + ",".join(map(str, range(1000))) + r"\}", r"\{1,2\}"),
    "roots to factor": (r"\sqrt{99999989}" * 12, r"\sqrt{99999971}" * 12),
    "sum of powers": ("-".join(["(a+b)^{31}"] * 15), "(a+b)^{30}"),
    "set of powers": (
        ",".join(f"(a+b)^{{{n}}}" for n in range(2, 18)),
        ",".join(f"(a+c)^{{{n}}}" for n in range(2, 18)),
    ),
    "quotients of powers": (r"\frac{(a+b+c)^{9}}{(a-b)^{31}}" * 5, r"\frac{(a+b+c)^{9}}{(a-c)^{31}}" * 5),
    "nested sets": (r"\{1," * 60 + "x" + r"\}" * 60, r"\{1," * 60 + "y" + r"\}" * 60),
    "code: os.system": (_PAYLOAD, "x+1"),
    "code: in text": (rf"\text{{{_PAYLOAD}}}", "x+1"),
    "code: open": ("open('{path}','w').write('x')", "x+1"),
    "code: exec": ("exec('import os; os.system(\"touch {path}\")')", "x+1"),
    "code: lambda": ("(lambda: open('{path}','w'))()", "x+1"),
    "code: dunder": ("().__class__.__bases__[0].__subclasses__()", "x+1"),
    "lone surrogates": ("\ud800\udfff 5x", "x+1"),
    "script": ("<script>alert(1)</script>", "x+1"),
    "control characters": ("\x00\x07\x1b[2J", "x+1"),
    "right-to-left override": ("x\u202e1", "x+1"),
    "strange digits": ("²٣৪", "x+1"),
}
_COMPLETIONS = {
    "ten megabytes": ("5 " * 5_000_000, "7"),
    "unclosed boxes": (r"\boxed{" * 20_000, "1"),
    "unclosed braces": (r"\boxed{" + "{" * 20_000, "1"),
    "many thinking blocks": ("<think></think>" * 60_000, "1"),
    "many delimiters": ("\\(" * 400_000 + "$ " * 50_000, "1"),
}
INPUTS = {name: (_box(answer), gold) for name, (answer, gold) in _ANSWERS.items()} | _COMPLETIONS
ORDINARY = [
    (_box(r"\sin(x)+1"), r"1+\sin(x)"), (_box(r"\log_2 8"), "3"), (_box("0.5"), r"\frac{1}{2}")
]  # fmt: skip


def _items(path):
    return [(completion.replace("{path}", str(path)), gold) for completion, gold in INPUTS.values()]


def _children():
    """Processes of this one, ended ones that nobody waited for included."""
    listed = (Path(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdigit())
    return {
        path.parent.name
        for path in listed
        if path.exists() and path.read_text("ascii", "replace").rpartition(")")[2].split()[1] == str(os.getpid())
    }


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the list of processes is read from /proc")
@pytest.mark.parametrize("way", ["thread", "asyncio"])
def test_hostile_inputs_get_a_verdict_and_leave_nothing_behind(way, tmp_path):
    items, before = _items(tmp_path / "pwned"), _children()
    assert len(items) == 55
    verdicts = []
    with Grader(2, deadline_s=DEADLINE_S) as grader:
        if way == "thread":
            thread = threading.Thread(target=lambda: verdicts.extend(grader.grade_many(items)))
            thread.start()
            thread.join()
        else:

            async def every():
                return await asyncio.gather(*(asyncio.to_thread(grader.grade, *item) for item in items))

            verdicts = asyncio.run(every())
        after = [verdict.verdict for verdict in grader.grade_many(ORDINARY)]
    named = {name: verdict.verdict for name, verdict in zip(INPUTS, verdicts, strict=True)}
    assert set(named.values()) <= set(VERDICTS)
    assert [name for name, verdict in named.items() if verdict == "correct"] == []
    assert after == ["correct"] * 3
    assert not (tmp_path / "pwned").exists()
    assert _children() == before
