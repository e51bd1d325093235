"""Identity figures: a copy of B scores 1, a copy of A 0, and what lies between."""

import numpy as np
import pytest

from deepfake_jax.evaluation.likeness import Likeness, measure_likeness
from deepfake_jax.faces.identity import mean_embedding


def draw_person(
    rng: np.random.Generator, middle: np.ndarray, n: int = 40
) -> np.ndarray:
    """Embeddings around a direction, cosine to it about 0.8."""
    drawn = middle + rng.normal(0, 0.75 / np.sqrt(128), (n, 128))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def people(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    middles = np.linalg.qr(rng.normal(size=(128, 2)))[0].T
    return draw_person(rng, middles[0]), draw_person(rng, middles[1])


def judge(swapped: np.ndarray, a: np.ndarray, b: np.ndarray) -> Likeness:
    source, target = mean_embedding(a), mean_embedding(b)
    return measure_likeness(swapped, a, b, source=source, target=target)


def test_copies_of_b_and_of_a(people: tuple[np.ndarray, np.ndarray]):
    a, b = people
    perfect, none = judge(b, a, b), judge(a, a, b)
    assert perfect.identity_transfer == pytest.approx(1)
    assert perfect.retrieval == 1 and perfect.cos_to_target > 0.7
    assert none.identity_transfer == pytest.approx(0)
    assert none.retrieval == 0 and none.cos_to_source > 0.7


def test_mixtures_lie_between_and_in_order(people: tuple[np.ndarray, np.ndarray]):
    a, b = people
    scores = []
    for share in (0.2, 0.5, 0.8):
        mixed = (1 - share) * a + share * b
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        scores.append(judge(mixed.astype(np.float32), a, b))
    transfer = [score.identity_transfer for score in scores]
    assert 0 < transfer[0] < transfer[1] < transfer[2] < 1.2
    assert scores[0].retrieval < 0.1 and scores[2].retrieval > 0.9


def test_third_person_is_nobody(
    rng: np.random.Generator, people: tuple[np.ndarray, np.ndarray]
):
    a, b = people
    stranger = draw_person(rng, rng.normal(size=128) / np.sqrt(128))
    found = judge(stranger, a, b)
    # Random directions in 128 dimensions: cosines of about 1/sqrt(128).
    assert abs(found.identity_transfer) < 0.4 and found.cos_to_target < 0.3


def test_nothing_to_transfer(people: tuple[np.ndarray, np.ndarray]):
    a, b = people
    with pytest.raises(ValueError, match="both sets of one person"):
        judge(a, a, a)
    with pytest.raises(ValueError, match="a face or more"):
        measure_likeness(a[:0], a, b[:30], source=a[0], target=b[0])
