"""The file of stored answers: a disk without room for a whole line, a link or another file in its place."""

import os
import resource
from pathlib import Path

import pytest

from cot_compressor.errors import DataError
from cot_compressor.training.answer_cache import Answer, AnswerCache


def test_an_answer_without_room_is_an_error_and_costs_no_later_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    requests = [{"model": "m", "messages": [number]} for number in range(3)]
    cache = AnswerCache(path)
    cache.add(requests[0], Answer("first", 1, 1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            cache.add(requests[1], Answer("cut off", 1, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(path)
    AnswerCache(path).add(requests[2], Answer("last", 1, 1))
    found = [AnswerCache(path).find(request) for request in requests]
    assert found == [Answer("first", 1, 1), None, Answer("last", 1, 1)]


def test_answers_are_written_to_no_link_pipe_or_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    (tmp_path / "hard").hardlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "dangling", "hard", "pipe", "folder"):
        with pytest.raises(DataError, match=f"{name}: is not a file of its own, and answers would be written"):
            AnswerCache(tmp_path / name)
    assert target.read_text() == "mine"
    assert not (tmp_path / "made").exists()


def test_a_deeply_nested_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("[" * 200_000 + "\n")
    cache = AnswerCache(path)
    cache.add({"model": "m"}, Answer("first", 1, 1))
    assert AnswerCache(path).find({"model": "m"}) == Answer("first", 1, 1)
