"""Work ahead in a thread: stages that overlap, in order, with bounded memory."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


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
    stop = threading.Event()

    def offer(item: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
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
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


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
