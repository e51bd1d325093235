"""How long each part of some work takes, while the parts overlap in threads."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """Seconds spent in each named part; a part belongs to one thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, its time counted under a name."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(name, time.perf_counter() - start)

        return timed

    def follow(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items, the time to make each counted under a name."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.add(name, time.perf_counter() - start)
            yield item

    def shares(self) -> dict[str, float]:
        """Each part's share of the sum of all, in [0, 1]."""
        total = sum(self.seconds.values())
        if total <= 0:
            return {}
        return {name: round(s / total, 3) for name, s in self.seconds.items()}

    def add(self, name: str, seconds: float) -> None:
        """Counts time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
