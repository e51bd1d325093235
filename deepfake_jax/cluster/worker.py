"""A process that does the steps it is told, until its input ends.

Lines of JSON come in by standard input and go out by standard output: the step, and how
it ended. `python -m deepfake_jax.cluster.worker JOB`, where JOB is a job's file.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_jax.cluster.film_plan import Film
from deepfake_jax.cluster.films import FilmSteps
from deepfake_jax.cluster.job import Outcome, Step
from deepfake_jax.cluster.job_file import read_job
from deepfake_jax.cluster.looks import Look
from deepfake_jax.json_files import format_json


def do_step(
    steps: FilmSteps,
    films: Sequence[Film | Look],
    step: Step,
    *,
    patient: bool = False,
) -> Outcome:
    """Does a step; what it raises becomes the outcome's error.

    Args:
        steps: who does it.
        films: of the job.
        step: it.
        patient: whether a scan waits for another process that does it, too.
    """
    film = films[step.film]
    try:
        if isinstance(film, Look):
            return Outcome(step, film.search())
        if step.kind == "scan":
            return Outcome(step, len(steps.scan(film, patient=patient).parts))
        if step.kind == "convert":
            return Outcome(step, steps.convert(film, step.number))
        return Outcome(step, steps.join(film))
    except Exception as error:
        return Outcome(step, error=str(error) or type(error).__name__)


def serve(job: Path) -> None:
    """Answers steps; only answers go to standard output, whoever prints."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(format="deepfake-jax: %(message)s", level=logging.WARNING)
    films, steps = read_job(job), FilmSteps()
    if films and isinstance(films[0], Film):
        steps.prepare(films[0])
    for line in sys.stdin:
        values: dict[str, Any] = json.loads(line)
        outcome = do_step(steps, films, Step(**values))
        answer = {"result": outcome.result, "error": outcome.error}
        answers.write(format_json(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
