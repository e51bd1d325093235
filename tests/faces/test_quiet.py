"""What a C library says on stderr: its chatter is dropped, all else stays."""

import os

import pytest

from deepfake_jax.faces.landmark_networks import STDERR, without_info_lines


def test_only_info_lines_are_dropped(capfd):
    with without_info_lines():
        os.write(STDERR, b"INFO: Created a delegate.\nERROR: no such thing\n")
        os.write(STDERR, b"INFORMED: of more\n")
    os.write(STDERR, b"INFO: afterwards\n")
    err = capfd.readouterr().err
    assert err == "ERROR: no such thing\nINFORMED: of more\nINFO: afterwards\n"


def test_an_error_inside_is_given_on_with_what_was_said(capfd):
    with pytest.raises(RuntimeError, match="broken"), without_info_lines():
        os.write(STDERR, b"why it broke\n")
        raise RuntimeError("broken")
    assert capfd.readouterr().err == "why it broke\n"
