"""A run's card and the consent that was recorded with it."""

from dataclasses import replace
from pathlib import Path

from footage import write_face_set

from deepfake_jax.face_sets.face_set import load_faces
from deepfake_jax.files import hash_file
from deepfake_jax.runs.consent import read_consent, record_consent, sum_up_consent
from deepfake_jax.runs.run_card import hash_sets, read_card, write_card
from deepfake_jax.train_config import load_preset


def test_consent_keeps_words_in_the_run_and_gives_only_a_hash_away(tmp_path: Path):
    sets = {"a": "12" * 32, "b": "34" * 32}
    record_consent(tmp_path, "Anna and Bert agreed in writing", sets)
    record_consent(tmp_path, "Anna and Bert agreed in writing", sets)
    (entry,) = read_consent(tmp_path)
    assert entry["text"] == "Anna and Bert agreed in writing"
    assert entry["sets"] == sets and entry["time"].startswith("20")
    ((summed),) = sum_up_consent(tmp_path)
    assert set(summed) == {"time", "sha256"} and len(summed["sha256"]) == 64
    record_consent(tmp_path, "Bert has withdrawn", sets)
    assert [e["text"][:4] for e in read_consent(tmp_path)] == ["Anna", "Bert"]
    assert sum_up_consent(tmp_path)[0] == summed
    (tmp_path / "consent.json").write_text("{broken")
    assert read_consent(tmp_path) == []


def test_card_says_what_a_run_learned_from(tmp_path: Path):
    folders = {side: tmp_path / f"faces_{side}" for side in ("a", "b")}
    for folder in folders.values():
        write_face_set(folder, 6)
    sets = {side: load_faces(folder, min_faces=1) for side, folder in folders.items()}
    config = load_preset("lite")
    write_card(tmp_path, sets, config)  # type: ignore[arg-type]
    card = read_card(tmp_path)
    (session,) = card["trained"]
    record = hash_file(folders["a"] / "faces.jsonl")
    assert session["sets"]["a"] == {"faces": 6, "sha256": record}
    assert hash_sets(sets)["a"] == record  # type: ignore[arg-type]
    assert card["network"]["name"] == config.model.name
    # The same again is no new session; other faces are.
    write_card(tmp_path, sets, config)  # type: ignore[arg-type]
    assert len(read_card(tmp_path)["trained"]) == 1
    fewer = {"a": replace(sets["a"], records=sets["a"].records[:3]), "b": sets["b"]}
    write_card(tmp_path, fewer, config)  # type: ignore[arg-type]
    assert [s["sets"]["a"]["faces"] for s in read_card(tmp_path)["trained"]] == [6, 3]
    assert str(tmp_path) not in (tmp_path / "card.json").read_text()
