"""A child process with limits: what it returns, and how each limit ends it."""

import os
import select
import signal
import time

import pytest

from math_eval._shared.bounded import in_child
from math_eval.errors import DataError


def test_the_result_comes_back_whole():
    assert in_child(lambda: ["ä" * 1_000_000, None, {"a": 1.5}], "here") == ["ä" * 1_000_000, None, {"a": 1.5}]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1 / 0, "there: ZeroDivisionError: division by zero"),
        (lambda: object(), "there: TypeError: Object of type object is not JSON serializable"),
        (lambda: "a" * 3 * 10**9, "there: needs more than 64 MiB of memory"),
        (lambda: "a" * 10**7, "there: gives more than 1000000 bytes"),
        (lambda: time.sleep(60), "there: takes longer than 3 seconds"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "there: the process that ran it was killed (SIGKILL)"),
        (
            lambda: signal.raise_signal(signal.SIGTRAP),
            "there: the process that ran it was killed (SIGTRAP); does it need more than 64 MiB of memory?",
        ),
        (lambda: exit(3), "there: SystemExit: 3"),
    ],
)
def test_each_limit_is_one_clear_error_and_leaves_no_process(function, message, monkeypatch):
    fork, children = os.fork, []
    monkeypatch.setattr(os, "fork", lambda: children.append(fork()) or children[-1])
    with pytest.raises(DataError) as refused:
        in_child(function, "there", seconds=3.0, memory_bytes=64 * 2**20, result_bytes=10**6)
    assert str(refused.value) == message
    assert len(children) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)


def test_an_error_of_this_toolkit_is_raised_as_it_is_and_the_child_prints_nothing(capfd):
    def refuse():
        os.write(1, b"out")
        os.write(2, b"err")
        raise DataError("a/config.json: mend it")

    with pytest.raises(DataError, match=r"^a/config\.json: mend it$"):
        in_child(refuse, "there")
    assert capfd.readouterr() == ("", "")


def test_a_child_ends_although_its_parent_was_killed():
    def endless():
        os.kill(os.getppid(), signal.SIGKILL)
        while True:
            time.sleep(1)

    reader, writer = os.pipe()
    if not (parent := os.fork()):
        try:
            in_child(endless, "there", seconds=0.5)
        finally:
            os._exit(1)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == -signal.SIGKILL
    closed, _, _ = select.select([reader], [], [], 60)
    os.close(reader)
    assert closed, "a process that has the other end of the pipe goes on"


def test_the_parents_state_stays_as_it_is():
    state = []
    in_child(lambda: state.append(1), "here")
    assert state == []
