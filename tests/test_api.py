"""The conventions, enforced: who imports what, docstrings, annotations, randomness."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "deepfake_jax"
NAME = PACKAGE.name
WITHOUT_JAX: Sequence[str] = (
    "video detect landmarks align augment mask color blend pictures track identity "
    "region scene find pose tone quality query sheet scan people writers patch "
    "hull skin occlusion masking seam flicker "
    "faceshape exemplars fidelity likeness expression holdout setrecord poisson "
    "multigrid multiband shapes"
).split()
WITHOUT_CV2: Sequence[str] = (
    "models losses critic state objective step parallel recall swap detail shapes"
).split()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_modules() -> dict[str, Path]:
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


MODULES = find_modules()


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def run_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Imports


def find_imports(module: str) -> set[str]:
    """Modules that a module names in any import statement, inside functions too."""
    found = set()
    for node in ast.walk(parse(MODULES[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            assert node.module is not None
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@functools.cache
def find_reached(module: str) -> frozenset[str]:
    """Top-level packages that importing a module can import in the end."""
    seen, waiting, reached = set(), [module], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for name in find_imports(current):
            if name in MODULES:
                waiting.append(name)
            reached.add(name.split(".")[0])
    return frozenset(reached)


def expand(names: Sequence[str]) -> list[str]:
    """The modules of that name, and those inside packages of that name."""
    prefixes = [f"{NAME}.{name}" for name in names]
    return [
        module
        for module in MODULES
        if any(
            module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes
        )
    ]


@pytest.mark.parametrize("module", expand(WITHOUT_JAX))
def test_pictures_side_never_imports_jax(module: str):
    assert not {"jax", "jaxlib", "flax", "optax", "orbax"} & find_reached(module)


@pytest.mark.parametrize("module", expand(WITHOUT_CV2))
def test_networks_side_never_imports_opencv(module: str):
    assert "cv2" not in find_reached(module)


def test_closure_of_imports_sees_through_modules():
    # The two rules above cannot pass because nothing is found.
    assert {"jax", "cv2", "av"} <= find_reached(f"{NAME}.convert")
    assert {"cv2", "numpy"} <= find_reached(f"{NAME}.augment")
    assert {"jax", "flax"} <= find_reached(f"{NAME}.swap")
    assert len(expand(WITHOUT_JAX)) >= 10 and len(expand(WITHOUT_CV2)) >= 6


@pytest.mark.parametrize(
    "modules, forbidden",
    [
        (expand(WITHOUT_JAX), ["jax", "jaxlib", "flax", "optax"]),
        (expand(WITHOUT_CV2), ["cv2"]),
        ([NAME], ["jax", "cv2", "av", "flax", "matplotlib"]),
        ([f"{NAME}.cli"], ["jax", "cv2", "av", "flax", "matplotlib"]),
    ],
    ids=["pictures", "networks", "package", "cli"],
)
def test_fresh_interpreter_loads_nothing_forbidden(
    modules: list[str], forbidden: list[str]
):
    run_python(
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    loaded = set({forbidden!r}) & set(sys.modules)\n"
        "    assert not loaded, f'{module} imports {loaded}'\n"
    )


# Public names


def find_public_names() -> list[str]:
    tree = parse(PACKAGE / "__init__.pyi")
    names = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert len(names) > 40
    return names


def test_public_names_are_what_the_package_gives():
    import deepfake_jax

    names = find_public_names()
    assert len(names) == len(set(names))
    assert set(vars(deepfake_jax)["__all__"]) == {*names, "__version__"}
    assert set(names) <= set(dir(deepfake_jax))
    for name in names:
        assert getattr(deepfake_jax, name).__name__ == name
    assert deepfake_jax.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no_such_name"):
        deepfake_jax.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_train_is_the_function_whatever_imports_its_module():
    run_python(
        "import sys\n"
        "import deepfake_jax.training.loop, deepfake_jax.step\n"
        "from deepfake_jax import train, train_step\n"
        "assert callable(train) and deepfake_jax.train is train\n"
        "assert train is sys.modules['deepfake_jax.train'].train\n"
        "assert callable(train_step)\n"
    )


# Docstrings and annotations


def walk_public(
    body: list[ast.stmt], prefix: str
) -> Iterator[tuple[str, Function | ast.ClassDef, bool]]:
    """Public classes, functions and methods: name, node, whether it is a method."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node, False
            for name, inner, _ in walk_public(node.body, f"{prefix}.{node.name}"):
                yield name, inner, True
        elif isinstance(node, Function):
            dunder = node.name.startswith("__") and node.name.endswith("__")
            if dunder or not node.name.startswith("_"):
                yield f"{prefix}.{node.name}", node, False


# By module: a test for each of 700 names would cost far more than its check.
PUBLIC = {
    module: list(walk_public(parse(path).body, module))
    for module, path in MODULES.items()
}


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_docstrings(module: str):
    tree = parse(MODULES[module])
    assert not tree.body or ast.get_docstring(tree)


@pytest.mark.parametrize("module", MODULES)
def test_public_things_have_docstrings(module: str):
    for name, node, _ in PUBLIC[module]:
        if node.name.startswith("__"):
            continue  # Python says what these do
        docstring = ast.get_docstring(node)
        assert docstring, name
        assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), name


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_are_fully_annotated(module: str):
    for name, node, method in PUBLIC[module]:
        if isinstance(node, ast.ClassDef):
            continue
        arguments = list_arguments(node, method)
        extra = [arg for arg in (node.args.vararg, node.args.kwarg) if arg is not None]
        every = arguments + node.args.kwonlyargs + extra
        assert not [a.arg for a in every if not a.annotation], name
        assert node.returns is not None or node.name == "__init__", name


@pytest.mark.parametrize("module", MODULES)
def test_randomness_comes_first(module: str):
    for name, node, method in PUBLIC[module]:
        if isinstance(node, ast.ClassDef):
            continue
        names = [argument.arg for argument in list_arguments(node, method)]
        keyword_only = [argument.arg for argument in node.args.kwonlyargs]
        for random in ("key", "rng"):
            assert random not in keyword_only, name
            assert random not in names[1:], name


def list_arguments(node: Function, method: bool) -> list[ast.arg]:
    """Positional arguments without `self` or `cls`."""
    arguments = node.args.posonlyargs + node.args.args
    static = any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
        for decorator in node.decorator_list
    )
    return arguments[1:] if method and not static else arguments


def test_walk_finds_functions_methods_and_classes():
    names = {name for found in PUBLIC.values() for name, _, _ in found}
    assert len(names) > 500
    assert {
        f"{NAME}.augment.random_warp",
        f"{NAME}.data.BatchLoader",
        f"{NAME}.data.BatchLoader.batches",
        f"{NAME}.data.BatchLoader.__init__",
        f"{NAME}.models.original.Decoder.__call__",
    } <= names
    assert not any("._" in name.replace(".__", ".") for name in names)


# Other rules that can be read off the source


@pytest.mark.parametrize("module", MODULES)
def test_module_is_safe_and_leaves_globals_alone(module: str):
    for node in ast.walk(parse(MODULES[module])):
        where = f"{module}, line {getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Global), f"{where}: changes a global"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            assert name not in ("yaml.load", "yaml.unsafe_load"), where
            assert name != "sys.exit" or module == f"{NAME}.cli", where
            assert not name.startswith("np.random.") or name in (
                "np.random.default_rng",
                "np.random.Generator",
            ), f"{where}: global random state"
    roots = {name.split(".")[0] for name in find_imports(module)}
    assert not {"pickle", "marshal", "shelve"} & roots
