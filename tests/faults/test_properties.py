"""Own parsers and writers: what is written is read back equal, the rest is refused."""

import json
import math
from pathlib import Path

import pytest
from faults.seeds import SEED, scale
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from deepfake_jax.face_sets.face_queries import QueryError, parse_query
from deepfake_jax.face_sets.face_set import (
    FaceRecord,
    FaceSetError,
    make_header,
    read_record,
    write_record,
)
from deepfake_jax.json_files import (
    encode_line,
    format_json,
    parse_checked,
    read_checked,
    write_checked,
)
from deepfake_jax.media.sources import parse_time
from deepfake_jax.media.truncation import check_whole
from deepfake_jax.runs.metrics_file import read_metrics, truncate_metrics

_many = settings(
    max_examples=scale(25),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
_floats = st.floats(allow_nan=False, allow_infinity=False)


def _is_finite(value) -> bool:
    return json.dumps(value).find("Infinity") < 0


@seed(SEED)
@_many
@given(st.dictionaries(st.text(), _plain))
def test_lines_come_back(values):
    values.pop("check", None)
    line = encode_line(values).encode()
    assert line.count(b"\n") == 1
    found = parse_checked(line)
    assert found is not None
    found.pop("check")
    if _is_finite(values):
        assert found == values
    for wrong in (line[:-1], line[: len(line) // 2], line[1:], b"", b"[]\n"):
        assert parse_checked(wrong) is None


@seed(SEED)
@_many
@given(
    st.dictionaries(st.text(), _plain, min_size=1), st.integers(0), st.integers(0, 7)
)
def test_a_changed_bit_is_seen(values, place, bit):
    line = bytearray(encode_line({**values, "check": None}).encode())
    line[place % (len(line) - 1)] ^= 1 << bit
    found = parse_checked(bytes(line))
    # Of JSON some spellings are the same: 1e5 and 1E5, or an escape.
    assert found is None or encode_line(found) == encode_line(values)


@seed(SEED)
@_many
@given(_plain)
def test_json_is_read_by_any_reader(value):
    text = format_json(value)
    text.encode("utf-8")
    found = json.loads(text, parse_constant=pytest.fail)
    assert not _is_finite(value) or found == value


@seed(SEED)
@_many
@given(st.dictionaries(st.text(), _plain), st.binary(max_size=40))
def test_checked_files_come_back(tmp_path, values, noise):
    values.pop("check", None)
    path = tmp_path / "a.json"
    if _is_finite(values):
        write_checked(path, values)
        assert read_checked(path) == values
    path.write_bytes(noise)
    try:
        assert isinstance(read_checked(path), dict)
    except ValueError:
        pass


_records = st.builds(
    FaceRecord,
    file=st.sampled_from(["a.png", "ä\u2028.png", "\udcff.png"]),
    source=st.text(),
    frame=st.integers(0, 10**9),
    time=_floats,
    box=st.tuples(*[_floats] * 4),
    score=_floats,
    landmarks=st.lists(st.tuples(_floats, _floats), max_size=5).map(tuple),
    frame_to_face=st.tuples(*[st.tuples(*[_floats] * 3)] * 2),
    size=_floats,
    person=st.integers(0, 99),
    filled=st.booleans(),
    dropped=st.text(max_size=3),
)


@seed(SEED)
@_many
@given(st.lists(_records, max_size=4))
def test_records_of_faces_come_back(tmp_path, records):
    write_record(tmp_path, make_header([{"name": "a"}], "1"), records)
    header, found = read_record(tmp_path)
    assert found == records and header["sources"] == [{"name": "a"}]


@seed(SEED)
@_many
@given(st.binary(max_size=300))
@example(b'{"format": "deepfake-jax faces", "version": 3}\n{"file": 3}\n')
def test_records_that_are_none_are_refused(tmp_path, data):
    (tmp_path / "faces.jsonl").write_bytes(data)
    with pytest.raises(FaceSetError):
        read_record(tmp_path)


@seed(SEED)
@_many
@given(st.lists(st.binary(max_size=60)))
def test_metrics_of_any_bytes_are_read(tmp_path, lines):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines))
    truncate_metrics(path, 10)
    good = {"step": 3, "loss_a": 0.5, "loss_b": None}
    with path.open("a") as file:
        file.write(encode_line(good))
    assert read_metrics(path)[-1] == good


@seed(SEED)
@_many
@given(st.text() | st.from_regex(r"[0-9:.]{0,12}", fullmatch=True))
def test_times_are_seconds_or_refused(text):
    try:
        seconds = parse_time(text, option="--start")
    except ValueError as error:
        assert "--start" in str(error)
        return
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@seed(SEED)
@_many
@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_times_of_clocks(hours, minutes, seconds):
    text = f"{hours}:{minutes:02d}:{seconds:02d}"
    assert parse_time(text, option="") == 3600 * hours + 60 * minutes + seconds


@seed(SEED)
@_many
@given(st.text() | st.from_regex(r"(yaw|file)[<>=!]{1,2}[-a-z0-9.]{0,6}( and | or )?"))
def test_queries_choose_or_are_refused(text):
    record = FaceRecord("f", "s", 1, 0.0, (0.0,) * 4, 1.0, (), (), 9.0)
    try:
        query = parse_query(text)
    except QueryError:
        return
    assert isinstance(query(record), bool)


_HEADS = (
    b"\x1a\x45\xdf\xa3",
    b"\0\0\0\x18ftypisom",
    b"RIFF\xff\xff\xff\xffAVI LIST",
    b"GIF89a",
    b"\x47" + bytes(187),
)


@seed(SEED)
@_many
@given(st.sampled_from(_HEADS), st.binary(max_size=400))
@example(_HEADS[0], b"\x01" + b"\xff" * 6 + b"\xfe")  # longer than any file
@example(_HEADS[0], b"\x80\x18\x53\x80\x67\x89\xec\x01" + b"\xff" * 6 + b"\xfe")
def test_sizes_of_containers_are_read_to_an_end(tmp_path: Path, head, rest):
    path = tmp_path / "a"
    path.write_bytes(head + rest)
    assert isinstance(check_whole(path), str)
