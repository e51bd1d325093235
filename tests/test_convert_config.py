"""Options of a conversion: names come from the tables, and every name is there."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from deepfake_jax.convert_config import BLENDS, COLORS, MASKS, ConvertConfig
from deepfake_jax.imaging.color import ColorMethod


def test_every_choice_is_there():
    for table in (MASKS, COLORS, BLENDS):
        for name, choice in table.items():
            assert callable(choice.load()) and choice.about, name
            if table is COLORS:
                assert isinstance(choice.load()(), ColorMethod)


@pytest.mark.parametrize("field, table", [("color", COLORS), ("blend", BLENDS)])
def test_names_are_those_of_the_table(field: str, table: dict):
    for name in table:
        assert getattr(replace(ConvertConfig(), **{field: name}), field) == name
    first = next(iter(table))
    with pytest.raises(ValidationError, match=f"no 'magic'; there are {first}"):
        replace(ConvertConfig(), **{field: "magic"})


@pytest.mark.parametrize("blend", ["multiband", "poisson-mixed"])
def test_what_was_removed_is_said_to_be(blend: str):
    with pytest.raises(ValidationError, match="removed: it was slower.*alpha, poisson"):
        ConvertConfig(blend=blend)


def test_masks_are_joined_but_the_classic_stays_alone():
    assert ConvertConfig(mask="hull+skin").mask == "hull+skin"
    with pytest.raises(ValidationError, match="no 'moon'; there are oval"):
        ConvertConfig(mask="hull+moon")
    with pytest.raises(ValidationError, match="give it alone"):
        ConvertConfig(mask="classic+hull")
