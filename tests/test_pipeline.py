"""Work ahead: order, bounds, errors, and threads that end."""

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator

import pytest

from deepfake_jax.pipeline import in_chunks, map_ahead, run_ahead, windows


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> bool:
    """Polls, because threads take their time on a busy machine."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def count_threads() -> int:
    return sum(thread.name == "run_ahead" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = count_threads()
    yield
    assert wait_until(lambda: count_threads() == before)


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_items_come_in_order(ahead: int, n: int):
    assert list(run_ahead(range(n), ahead=ahead)) == list(range(n))


def test_none_is_an_item_like_others():
    assert list(run_ahead([None, 0, None, False])) == [None, 0, None, False]


def test_work_happens_in_a_thread_ahead_of_the_reader():
    threads, made = set(), []

    def items() -> Iterator[int]:
        for index in range(100):
            threads.add(threading.current_thread())
            made.append(index)
            yield index

    stream = run_ahead(items(), ahead=4)
    assert made == []  # nothing before it is asked for
    assert next(stream) == 0
    # Without a further request: four wait, one more is held until there is room.
    assert wait_until(lambda: len(made) >= 5)
    time.sleep(0.25)  # two tries of the waiting thread
    assert len(made) <= 6
    for index in range(1, 20):
        assert next(stream) == index
        assert len(made) <= index + 6
    stream.close()  # type: ignore[attr-defined]
    assert len(made) < 30
    assert threading.main_thread() not in threads and len(threads) == 1


def test_error_comes_after_the_items_before_it():
    def items() -> Iterator[int]:
        yield from range(5)
        raise KeyError("broken")

    given = []
    with pytest.raises(KeyError, match="broken"):
        for item in run_ahead(items(), ahead=2):
            given.append(item)
    assert given == list(range(5))


def test_closing_early_ends_the_thread():
    stream = run_ahead(itertools.count(), ahead=2)
    assert next(stream) == 0
    assert count_threads() == 1
    stream.close()  # type: ignore[attr-defined]
    assert count_threads() == 0


def test_leaving_the_loop_by_an_error_ends_the_thread():
    def read() -> None:
        for item in run_ahead(itertools.count(), ahead=2):
            if item == 3:
                raise RuntimeError("reader")

    with pytest.raises(RuntimeError, match="reader"):
        read()


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_while_the_thread_starts_leaves_none(
    monkeypatch: pytest.MonkeyPatch, late: bool
):
    reading = threading.Event()

    def count() -> Generator[int]:
        for number in itertools.count():
            reading.set()
            time.sleep(0.02)
            yield number

    class Interrupted(threading.Thread):
        """Its start is interrupted: once it reads, or before it came to that."""

        def start(self) -> None:
            if late:
                super().start()
                assert reading.wait(5)
            raise KeyboardInterrupt

    items = count()
    ahead = run_ahead(items, ahead=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(ahead)
    assert reading.is_set() == late
    assert not [t for t in threading.enumerate() if t.name == "run_ahead"]
    # Which raises "generator already executing" while somebody reads them.
    items.close()


def test_stages_chain():
    doubled = (2 * item for item in run_ahead(range(30), ahead=2))
    assert list(run_ahead(doubled, ahead=3)) == [2 * item for item in range(30)]


@pytest.mark.parametrize("ahead", [0, -1])
def test_unbounded_look_ahead_is_refused(ahead: int):
    with pytest.raises(ValueError, match=f"ahead.*{ahead}"):
        list(run_ahead([1, 2, 3], ahead=ahead))


@pytest.mark.parametrize("n", [0, 1, 6, 7, 8])
def test_chunks_keep_order_and_size(n: int):
    chunks = list(in_chunks(range(n), 3))
    assert [item for chunk in chunks for item in chunk] == list(range(n))
    assert all(len(chunk) == 3 for chunk in chunks[:-1])
    assert all(1 <= len(chunk) <= 3 for chunk in chunks)


@pytest.mark.parametrize("n", [0, 2, 3, 5])
def test_chunk_begun_is_given_before_an_error(n: int):
    def items() -> Iterator[int]:
        yield from range(n)
        raise OSError("gone")

    given: list[int] = []
    with pytest.raises(OSError, match="gone"):
        for chunk in in_chunks(items(), 3):
            assert chunk
            given += chunk
    assert given == list(range(n))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_mapped_function_runs_in_threads_and_answers_in_order(workers: int):
    def slow(number: int) -> int:
        time.sleep(0.02 * (number % 3))
        return number * number

    start = time.monotonic()
    results = list(map_ahead(slow, range(12), workers=workers))
    assert results == [n * n for n in range(12)]
    if workers > 1:  # 12 calls of 20 ms on average, one after another
        assert time.monotonic() - start < 0.2


def test_a_mapped_function_takes_only_a_few_in_advance():
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    stream = map_ahead(lambda number: number, items(), workers=2, ahead=3)
    assert next(stream) == 0 and len(taken) <= 5
    stream.close()
    assert len(taken) <= 5


def test_errors_of_mapped_functions_and_their_items_come_after_what_was_before():
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        return number

    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    for function, source, kind in (
        (fail_at_three, iter(range(9)), KeyError),
        (abs, items(), OSError),
    ):
        got = []
        with pytest.raises(kind):
            for result in map_ahead(function, source, workers=2):
                got.append(result)
        assert got == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 1"):
        list(map_ahead(abs, [1], workers=0))


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 20])
def test_every_item_is_seen_amid_its_neighbours(radius, count):
    seen = []
    for window, middle in windows(iter(range(count)), radius):
        item = window[middle]
        seen.append(item)
        low, high = max(0, item - radius), min(count, item + radius + 1)
        assert list(window)[middle - (item - low) : middle + high - item] == list(
            range(low, high)
        )
        assert len(window) <= 2 * radius + 1
    assert seen == list(range(count))


def test_a_window_over_a_stream_that_breaks_gives_all_that_came_before():
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for window, middle in windows(items(), 3):
            seen.append(window[middle])
    assert seen == [0, 1, 2, 3, 4]
