"""Every Python block of README and the guide runs, page by page in one namespace.

One that begins with ``# not run:`` would take footage and minutes: its names are
imported, and its calls bound to the signatures.
"""

import ast
import inspect
from pathlib import Path

import pytest
from guide import Page, list_pages

PAGES = [page for page in list_pages() if page.blocks("python")]
MARK = "# not run:"


def check_calls(code: str) -> int:
    """How many calls of imported names would be taken, but for their values."""
    names: dict[str, object] = {}
    tree = ast.parse(code)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    exec(compile(ast.Module(list(imports), []), "imports", "exec"), names)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        assert isinstance(call.func, ast.Name)
        called = names[call.func.id]
        assert callable(called)
        keywords = {str(keyword.arg): None for keyword in call.keywords}
        inspect.signature(called).bind(*call.args, **keywords)
    return len(calls)


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
        if block.parsed.startswith(MARK):
            assert check_calls(block.parsed)
        else:
            block.evaluate()


def test_a_call_that_does_not_fit_is_seen():
    assert check_calls("from deepfake_jax import train\ntrain('a', 'b', 'run')") == 1
    with pytest.raises(TypeError):
        check_calls("from deepfake_jax import train\ntrain('a', 'b', 'run', sorts=1)")
