"""Two commands at once, and the locks of dead ones."""

import shutil
import signal
import time

from faults.crash_points import finish
from faults.jobs import find_jobs
from faults.pairs import list_pairs, prepare_pair, run_together
from faults.random_ends import copy_to
from faults.seeds import SCALE, explain, make_random, scale
from faults.tries import start


def test_pairs_of_commands(inputs, tmp_path, tally):
    rng = make_random("pairs")
    pairs = list(list_pairs())
    for first, second in pairs if SCALE > 1 else rng.sample(pairs, 2):
        work = tmp_path / f"{first.name} {second.name}"
        work.mkdir()
        pair = prepare_pair(first, second, inputs, work)
        for _ in range(scale(0.2)):
            problem = run_together(pair, rng, work)
            told = f"{first.name} and {second.name} at once: {problem}"
            tally.add(problem and told)
        shutil.rmtree(work)
    assert not tally.lost, explain(tally.lost)


def test_the_second_is_refused_with_the_name_of_the_first(undisturbed, tmp_path):
    whole = undisturbed(find_jobs("extract")[0])
    folder = copy_to(whole, tmp_path)
    one = start(whole.job.words, folder)
    lock = folder / ".faces.lock"
    while one.is_alive and not (lock.exists() and lock.read_text()):
        time.sleep(0.005)
    one.signal(signal.SIGSTOP)  # so that it is there still
    second = start(whole.job.words, folder).wait()
    assert second.status == 1 and "another process (" in second.text
    one.signal(signal.SIGCONT)
    assert one.wait().status == 0
    assert finish(whole, folder) == ""
    # The lock of a process that died is no obstacle.
    shutil.rmtree(folder / "faces")
    dead = start(whole.job.words, folder)
    while dead.is_alive and not (lock.exists() and lock.read_text()):
        time.sleep(0.005)
    dead.signal(signal.SIGKILL)
    dead.wait()
    assert finish(whole, folder) == ""
