"""Work ahead in a thread: stages that overlap, in order, with bounded memory."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END = object()
P = ParamSpec("P")


def run_ahead(items: Iterable[T], *, ahead: int = 8) -> Generator[T]:
    """Iterates over `items` in a thread of its own, at most `ahead` in advance.

    One item more may be under way. An exception in the thread is raised here, after the
    items before it. Closing the iterator ends the thread.

    Raises:
        ValueError: ahead is less than 1.
    """
    if ahead < 1:  # which a queue takes for no bound at all
        raise ValueError(f"ahead must be at least 1, got {ahead}")
    ready: queue.Queue[Any] = queue.Queue(ahead)
    stop, gate, begun = threading.Event(), threading.Lock(), threading.Event()

    def offer(item: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        with gate:
            if stop.is_set():
                return
            begun.set()
        try:
            for item in items:
                if not offer((item, None)):
                    return
            offer((_END, None))
        except BaseException as error:  # handed on to the reader
            offer((_END, error))
        finally:
            # A generator may have a thread of its own, which must end with this one.
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=work, name="run_ahead", daemon=True)
    try:
        thread.start()
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        # An interrupt may come while the thread is being started: it then never touches
        # the items, or has ended before anybody else closes them.
        with gate:
            stop.set()
        if begun.is_set():
            thread.join()


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int = 4
) -> Generator[R]:
    """Applies a function in threads; results come in order, `ahead` in advance.

    An exception of the function, or of `items`, is raised here after the results
    before it. Closing the iterator waits for the calls under way.

    Raises:
        ValueError: workers or ahead is less than 1.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers {workers} and ahead {ahead} must be at least 1")
    under_way: deque[Future[R]] = deque()
    failures: list[Exception] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="map_ahead") as pool:
        try:
            for item in _up_to_failure(items, failures):
                under_way.append(pool.submit(function, item))
                if len(under_way) > ahead:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
            if isinstance(items, Generator):
                items.close()
    for failure in failures:
        raise failure


def _up_to_failure(items: Iterable[T], failures: list[Exception]) -> Iterator[T]:
    """Items; what is raised after them is kept, to be raised in its turn."""
    stream = iter(items)
    while True:
        try:
            item = next(stream)
        except StopIteration:
            return
        except Exception as failure:
            failures.append(failure)
            return
        yield item


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Groups items into lists of `size`; the last may be shorter.

    If `items` raises, the group begun is given first and the error after it.
    """
    chunk: list[T] = []
    try:
        for item in items:
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def windows(items: Iterable[T], radius: int) -> Iterator[tuple[Sequence[T], int]]:
    """Each item amid the items around it, in order, looking `radius` ahead.

    If `items` raises, what was read is given first and the error after it.

    Yields:
        At most ``2 * radius + 1`` neighbouring items, and the place among them of the
        one whose turn it is: it has `radius` items after it, fewer at the end, and at
        least as many before it as were read. The window moves on with the next item.
    """
    window: deque[T] = deque(maxlen=2 * radius + 1)
    failures: list[Exception] = []
    waiting = 0
    for item in _up_to_failure(items, failures):
        window.append(item)
        waiting += 1
        if waiting > radius:
            yield window, len(window) - waiting
            waiting -= 1
    for left in range(waiting, 0, -1):
        yield window, len(window) - left
    for failure in failures:
        raise failure


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
