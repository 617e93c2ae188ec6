"""The file of stored answers when the disk has no room for a whole line."""

import resource
from pathlib import Path

import pytest

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
