"""All texts of the page and its server: ``page/texts.json``, a language a file.

A text may name facts in braces, which are filled in here as they are on the page.
"""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "page"


class RequestError(ValueError):
    """A request that cannot be done; its text is one of the file's ``errors``.

    Attributes:
        code: which of them.
        field: the field of the form that it is about, or "".
        status: of the answer.
    """

    def __init__(self, code: str, *, field: str = "", status: int = 400, **facts: Any):
        self.code, self.field, self.status = code, field, status
        super().__init__(find_text("errors", code).format(**facts))


def load_texts() -> dict[str, Any]:
    """All texts, by section and name."""
    return json.loads((PAGE / "texts.json").read_text(encoding="utf-8"))


def find_text(section: str, name: str) -> str:
    """One text."""
    return load_texts()[section][name]
