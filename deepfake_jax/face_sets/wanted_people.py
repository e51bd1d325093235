"""Whose faces an extraction keeps, of the people that its search found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.faces.people import (
    People,
    PersonError,
    choose_persons,
    read_references,
)


@dataclass(frozen=True)
class Wanted:
    """Whose faces to keep: by a word or number, or by pictures of them.

    Attributes:
        person: "each", "main", "all" or a number; a path is among `like`, too.
        like: embeddings of faces that they are like.
        unlike: of faces that they are not.
    """

    person: str
    like: Float32[np.ndarray, "n 128"]
    unlike: Float32[np.ndarray, "m 128"]

    @property
    def as_one(self) -> bool:
        """Whether all of them go into one set."""
        return self.person == "all" or len(self.like) > 0


class NothingKept(ValueError):
    """A search whose faces nobody wanted: another choice is quick then."""


def read_wanted(config: ExtractConfig) -> Wanted:
    """What a config says of that.

    Raises:
        PersonError: a picture cannot be used.
    """
    pictures, person = [*config.reference], config.person
    if not (person in ("each", "main", "all") or person.isdecimal()):
        pictures.append(person)
    return Wanted(
        person,
        read_references(pictures, option="--person or --reference"),
        read_references(config.not_reference, option="--not-reference"),
    )


def count_kept(
    people: People, kept_of: Mapping[int, Sequence[int]], short: set[int]
) -> Counter[int]:
    """How many faces there are to store of each person who has any.

    Args:
        people: all that were found.
        kept_of: frames of each track whose faces passed the limits.
        short: tracks that are left out.
    """
    kept: Counter[int] = Counter()
    for track, frames in kept_of.items():
        if track not in short:
            kept.update(people.find_person(track, frame) for frame in frames)
    del kept[0]  # whose faces nobody can tell
    return +kept


def choose_wanted(people: People, wanted: Wanted, kept: Counter[int]) -> list[int]:
    """The persons asked for of whom there are faces to store.

    Raises:
        NothingKept: there is nobody such, or all of their faces were left out.
    """
    try:
        chosen = choose_persons(people, wanted.person, wanted.like, wanted.unlike)
    except PersonError as error:
        raise NothingKept(str(error)) from error
    stored = [person for person in chosen if kept[person]]
    if not stored:
        raise NothingKept(
            f"all faces of person {', '.join(map(str, chosen))} were left out, too "
            "small, blurred, turned or short; nothing was written. Lower a limit, or "
            f"choose among the others ({', '.join(map(str, sorted(kept)))})"
        )
    return stored
