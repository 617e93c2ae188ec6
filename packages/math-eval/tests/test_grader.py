import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from math_eval import VERDICTS, Grader, grade
from math_eval.errors import DataError, MathEvalError
from math_eval.grading.pool import Pool

ALGEBRA = [
    (r"\sin(2x)", r"2\sin(x)\cos(x)", "correct"),
    (r"\sqrt{7+4\sqrt{3}}", r"2+\sqrt{3}", "correct"),
    ("sqrt(x+1)+1", r"1+\sqrt{1+x}", "correct"),
    (r"\log_2 8", "3", "correct"),
    ("1 < x < 2", "(1,2)", "incorrect"),
    ("[3,4)", "(3,4]", "incorrect"),
    (r"\sin(2x)", r"2\sin(x)", "incorrect"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", "incorrect"),
    ("5x", "5", "incorrect"),
    (r"\infty", r"\lim_{x \to 0} \frac{1}{x^2}", "correct"),
    (r"\cosh(x')", r"\cosh(x)", "incorrect"),
    ("1e5", r"\ln(e) \cdot 100000", "correct"),
    ("5 fifths", "5", "incorrect"),
]
NEEDS_A_WORKER = r"\lim_{{x \to 0}} \frac{{\sin({} x)}}{{x}}", "{}"
GOLDS = [
    ("27", "27.0"),
    ("25", "025"),
    ("She has 3 * 6 = 18 left.\n#### 18", "18"),
    ("1,234", "1234"),
    ("1234", "Half of 2468 is <<2468/2=1234>>1234.\n#### 1,234"),
    ("18.50", r"\$18.50"),
    ("18.50", "$18.5"),
    ("32348", r"\$32,\!348"),
    ("1,008,016", "1{,}008{,}016"),
    ("2516_{8}", "2516_8"),
    ("(C)", r"\text{(C)}"),
    (r"\text{C}", "C"),
    ("C", "(C)"),
    ("evelyn", r"\text{Evelyn}"),
    ("90", r"90^\circ"),
    ("5.4", r"5.4 \text{ cents}"),
    ("10", r"10\%"),
    (r"\dfrac{3}{4}", r"\frac34"),
    (r"[-2,7]", r"x \in [-2,7]"),
    (r"\frac{1}{2}", r"So $x$ is $\boxed{\frac{1}{2}}$."),
    ("1, 2", r"There are \boxed{1} papers and \boxed{2} bins."),
]
BOMBS = [
    "9^{9^{9^{9}}}",
    "10^{999999999}",
    "1.5e-999999999",
    "((((7!)!)!)!)",
    "99999999!",
    "9" * 100_000,
    "{" * 20_000,
    "(" * 500 + "1" + ")" * 500,
    "+".join(["x"] * 5000),
    r"\frac" * 3000,
]
CODE = [
    "__import__('os').system('touch {path}')",
    "open('{path}','w').write('x')",
    r"\text{{__import__('os').system('touch {path}')}}",
    "exec('import os; os.system(\"touch {path}\")')",
]


def _boxed(answer):
    return rf"<think>t</think> \boxed{{{answer}}}"


def _slow(n=1):
    """An item that exact arithmetic leaves to a worker."""
    answer, gold = (text.format(n) for text in NEEDS_A_WORKER)
    return _boxed(answer), gold


@pytest.mark.parametrize(("answer", "gold"), GOLDS)
def test_reference_answers_as_data_sets_write_them(answer, gold):
    with Grader(1) as fresh:
        assert fresh.grade(answer if "####" in answer else _boxed(answer), gold).verdict == "correct"
        assert fresh.grade(_boxed("7919"), gold).verdict == "incorrect"
        assert not fresh.worker_pids


@pytest.fixture(scope="module")
def grader():
    with Grader(2, deadline_s=4.0) as shared:
        yield shared


@pytest.mark.parametrize(("answer", "gold", "verdict"), ALGEBRA)
def test_math_verify_decides_algebra_and_exact_values_stay_exact(grader, answer, gold, verdict):
    assert grader.grade(_boxed(answer), gold).verdict == verdict


def test_verdicts_that_need_no_parser(grader):
    assert grader.grade("no idea", "5").verdict == "no_answer"
    assert grader.grade("<think> \\boxed{5}", "5").verdict == "no_answer"
    assert grader.grade(_boxed("5"), "  ").verdict == "gold_unparsable"
    assert grader.grade(_boxed("5"), "9" * 5000).verdict == "gold_unparsable"
    assert grader.grade("5" * 1_000_001, "5").verdict == "limit"
    assert grade(_boxed("5"), "5").verdict == "correct"


def test_a_gold_that_no_parser_reads_is_not_the_models_fault(grader):
    assert grader.grade(_boxed("x+1"), r"\begin{broken} \frac{").verdict == "gold_unparsable"


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:12])
def test_bombs_are_refused_before_any_parser(bomb):
    with Grader(1) as fresh:
        verdict = fresh.grade(rf"The answer is {bomb}", "x^2")
        assert verdict.verdict in ("limit", "no_answer")
        assert not fresh.worker_pids


def test_model_text_is_never_evaluated_as_code(grader, tmp_path):
    path = tmp_path / "pwned"
    for payload in CODE:
        for answer, gold in ((payload, "x+1"), ("x+1", payload)):
            verdict = grader.grade(_boxed(answer.format(path=path)), gold.format(path=path))
            assert verdict.verdict in VERDICTS
            assert verdict.verdict != "correct"
    assert not path.exists()


def test_surrogates_markup_and_control_characters_get_a_verdict(grader):
    for text in ("\ud800 x", "<script>alert(1)</script>", "\x00\x07", "x\u202e1"):
        assert grader.grade(_boxed(text), "x+1").verdict in ("incorrect", "no_answer")


def test_a_job_past_its_deadline_is_killed_and_the_next_one_is_unaffected():
    slow = r"\int_0^1 \int_0^1 \frac{\sin(x^3 y^2 + x y^5)}{1 + x^{17} y^{13}} dx dy"
    with Pool(1, 1.0, 2 * 2**30) as pool:
        assert pool.ask("x+1", "1+x")[0] == "correct"
        (worker,) = pool.worker_pids
        assert pool.ask(slow, slow.replace("17", "19"))[0] == "timeout"
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        assert pool.ask("x+1", "1+x")[0] == "correct"


def test_a_worker_that_dies_is_replaced_and_the_job_answered():
    with Pool(1, 5.0, 2 * 2**30) as pool:
        assert pool.ask("x+1", "1+x")[0] == "correct"
        (worker,) = pool.worker_pids
        os.kill(worker, signal.SIGKILL)
        assert pool.ask("x+2", "2+x")[0] == "correct"
        assert pool.worker_pids != [worker]


def test_closing_leaves_no_worker_behind():
    with Grader(2) as fresh:
        fresh.grade_many([_slow(1), _slow(2)])
        workers = fresh.worker_pids
    assert workers
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_grader_that_nobody_closes_leaves_no_worker_behind():
    fresh = Grader(1)
    fresh.grade(*_slow())
    (worker,) = fresh.worker_pids
    del fresh
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_limit_of_open_files_is_an_error_that_says_what_to_do():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Grader(1) as fresh:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            with pytest.raises(MathEvalError, match=r"Too many open files.*close graders, or raise the limit"):
                fresh.grade(*_slow())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert fresh.grade(*_slow()).verdict == "correct"


def test_it_works_from_threads_and_from_asyncio(grader):
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(grader.grade(*_slow()).verdict)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def several():
        calls = [asyncio.to_thread(grader.grade, *_slow(n)) for n in range(1, 5)]
        return [verdict.verdict for verdict in await asyncio.gather(*calls)]

    assert verdicts + asyncio.run(several()) == ["correct"] * 8


_FORK = r"""
import json, threading, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from math_eval import Grader, grade

GOLD, CORRECT, INCORRECT = "2", r"\boxed{\int_0^2 x dx}", r"\boxed{\int_0^3 x dx}"
SLOW = r"\int_0^1 \int_0^1 \frac{\sin(x^3 y^2 + x y^5)}{1 + x^{17} y^{13}} dx dy"
quiet, busy = Grader(1), Grader(1, deadline_s=2.0)

def verdicts(times):
    graders = (quiet.grade, busy.grade, grade)
    return [one(text, GOLD).verdict for text in [CORRECT, INCORRECT] * times for one in graders]

before, workers = verdicts(1), quiet.worker_pids
slow = threading.Thread(target=busy.grade, args=(rf"\boxed{{{SLOW}}}", SLOW.replace("17", "19")))
slow.start()
while busy.worker_pids:  # until the only worker has the slow job, so that the thread holds its slot
    time.sleep(0.001)
with ProcessPoolExecutor(2, mp_context=get_context("fork")) as processes:
    forked = list(processes.map(verdicts, [25, 25]))
slow.join()
print(json.dumps([before, *forked, verdicts(1)]), quiet.worker_pids == workers)
quiet.close()
busy.close()
"""


def test_forked_processes_grade_apart_and_leave_the_parents_workers_alone():
    """Also one that is forked while a thread of the parent grades, and so holds a lock."""
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, check=True, timeout=300)
    found, _, same_workers = done.stdout.rpartition(" ")
    pair = ["correct"] * 3 + ["incorrect"] * 3
    assert json.loads(found) == [pair, pair * 25, pair * 25, pair]
    assert same_workers == "True\n"


def test_a_completion_may_be_the_gold_itself():
    with Grader(1) as fresh:
        assert fresh.grade("odd $n$", "odd $n$").verdict == "correct"
        assert fresh.grade("odd $n$", "odd $n$", prompt="q <think>").verdict == "no_answer"
        assert not fresh.worker_pids


def test_the_reference_extraction_takes_the_first_box_up_to_its_first_brace():
    nested = r"<think>\boxed{1}</think> so \boxed{\frac{1}{2}}"
    with Grader(1, extraction="reference") as fresh:
        assert fresh.grade(nested, "1").extracted == "1"
        assert fresh.grade(_boxed(r"\frac{1}{2}"), r"\frac{1}{2}").extracted == r"\frac{1"
        assert fresh.grade("The answer is 5.", "5").verdict == "no_answer"
        assert fresh.description["extraction"] == "reference"
    with pytest.raises(DataError, match="standard, reference; got 'first'"):
        Grader(extraction="first")


def test_grade_many_keeps_the_order(grader):
    items = [(_boxed(str(n % 3)), "1") for n in range(9)]
    assert [verdict.correct for verdict in grader.grade_many(items)] == [n % 3 == 1 for n in range(9)]


def test_plain_numbers_start_no_worker():
    with Grader(1) as fresh:
        assert fresh.grade(_boxed("0.5"), r"\frac{1}{2}").verdict == "correct"
        assert not fresh.worker_pids


def test_grading_and_help_import_neither_torch_nor_sympy():
    code = (
        "import sys, math_eval, math_eval.cli\n"
        "math_eval.grade('5', '5')\n"
        "from click.testing import CliRunner\n"
        "for words in (['--help'], ['run', '--help'], ['export', 'traces', '--help'], ['report', '--help']):\n"
        "    assert CliRunner().invoke(math_eval.cli.cli, words).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'sympy', 'numpy', 'math_verify'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
