"""Every Python block of README and the guide runs, page by page in one namespace.

The example that takes footage and trains runs on some of each, see `test_typed`.
"""

from pathlib import Path

import pytest
from guide import LIBRARY_EXAMPLE, Page, list_pages

PAGES = [page for page in list_pages() if page.blocks("python")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("sybil")
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser

    monkeypatch.chdir(tmp_path)
    document = Sybil([PythonCodeBlockParser()]).parse(page.path)
    blocks = list(document.examples())
    assert len(blocks) == len(page.blocks("python"))
    for block in blocks:
        if block.parsed.strip() != LIBRARY_EXAMPLE.strip():
            block.evaluate()
