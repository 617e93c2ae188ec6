# copied from packages/_shared/server_choice.py; edit it there
"""The servers of one model: a request goes to the one with the fewest requests in flight; one that fails is set aside.

A server is set aside for a pause that doubles with each failure in a row. Then a single request tries it, and its
answer brings the server back. If all servers are set aside, one of them is asked all the same. Sending requests,
deciding what a failure is, and waiting are left to the callers, which may be threads.

>>> servers = ServerChoice(["http://a/v1", "http://b/v1"])
>>> with servers.asking() as one, servers.asking() as two:
...     print(one.address, two.address)
http://a/v1 http://b/v1
>>> servers.failed(one)
True
>>> with servers.asking() as next_one:
...     print(next_one.address)
http://b/v1
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from ..errors import DataError
from .server_messages import check_address


class Endpoint:
    """One server.

    Args:
        address: Its address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.in_flight = self.trials = 0
        self.pause_s = self.until = 0.0

    def is_ready(self) -> bool:
        """False while it is set aside, or another request tries it."""
        return not self.pause_s or (time.monotonic() >= self.until and not self.trials)


class ServerChoice:
    """Chooses a server for each request.

    Args:
        addresses: Their addresses.
        first_pause_s: Seconds for which a server is set aside after its first failure.
        longest_pause_s: The most seconds for which it is set aside, unless it asks for more.

    Raises:
        DataError: An address is bad, or given twice.
    """

    def __init__(self, addresses: Sequence[str], *, first_pause_s: float = 0.5, longest_pause_s: float = 30.0) -> None:
        for at, address in enumerate(addresses):
            check_address(address)
            if address in addresses[:at]:
                raise DataError(f"base-url {address} is given twice; name it once")
        self.endpoints = [Endpoint(address) for address in addresses]
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._noticed: set[Endpoint] = set()
        self._lock = Lock()

    def is_any_ready(self, without: Collection[Endpoint] = ()) -> bool:
        """Whether there is a server that is not set aside.

        Args:
            without: Servers that do not count.
        """
        return any(each.is_ready() for each in self.endpoints if each not in without)

    @contextmanager
    def asking(self, wanted: Endpoint | None = None, without: Collection[Endpoint] = ()) -> Iterator[Endpoint]:
        """Choose the server for a request, which is in flight during the block.

        Args:
            wanted: The server to take, whatever its state; None chooses.
            without: Servers that are not taken unless there is no other.
        """
        with self._lock:
            allowed = [each for each in self.endpoints if each not in without] or self.endpoints
            ready = [each for each in allowed if each.is_ready()]
            chosen = wanted or min(ready or allowed, key=lambda each: each.in_flight)
            trial = chosen.pause_s > 0
            chosen.in_flight += 1
            chosen.trials += trial
        try:
            yield chosen
        finally:
            with self._lock:
                chosen.in_flight -= 1
                chosen.trials -= trial

    def answered(self, endpoint: Endpoint) -> None:
        """Bring a server back that has answered, unless it is still set aside for a later failure."""
        with self._lock:
            if time.monotonic() >= endpoint.until:
                endpoint.pause_s = 0.0

    def failed(self, endpoint: Endpoint, at_least_s: float = 0.0) -> bool:
        """Set a server aside; requests that fail while it is set aside do not prolong that.

        Args:
            endpoint: The server.
            at_least_s: Seconds that the server asks for.

        Returns:
            Whether this is its first failure and there are other servers: the time for a message.
        """
        with self._lock:
            now = time.monotonic()
            if now >= endpoint.until:
                endpoint.pause_s = min(2 * endpoint.pause_s or self._first_pause_s, self._longest_pause_s)
                endpoint.until = now + max(endpoint.pause_s, at_least_s)
            first = endpoint not in self._noticed and len(self.endpoints) > 1
            self._noticed.add(endpoint)
            return first
