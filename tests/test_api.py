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
# The rooms from the ground up: a room imports what stands before it. "" is the files
# that lie directly in the package.
ROOMS: Sequence[str] = (
    "", "imaging", "media", "faces", "face_sets", "kernels", "models", "runs",
    "provenance", "conversion", "evaluation", "training", "export", "cluster",
    "benchmarks", "studio", "cli",
)  # fmt: skip
GROUND: frozenset[str] = frozenset(
    "types files json_files output_lock processor version pipeline progress "
    "train_config extract_config convert_config".split()
)
_JAX = ("jax", "jaxlib", "flax", "optax", "orbax")
# What a room's modules must not reach, by whatever way.
FORBIDDEN: dict[str, Sequence[str]] = {
    "": (*_JAX, "cv2", "av"),
    "imaging": (*_JAX, "av"),
    "media": _JAX,
    "faces": _JAX,
    "face_sets": _JAX,
    "kernels": ("flax", "cv2", "av"),
    "models": ("cv2", "av"),
    "provenance": _JAX,
}
# All that `models` may import of the rooms before it.
FOR_MODELS: frozenset[str] = frozenset(
    "types processor train_config imaging.mask_shapes imaging.face_template "
    "kernels kernels.library".split()
)
# What trains, judges and measures faces runs on machines that can read no video.
WITHOUT_MEDIA = [
    f"{NAME}.{name}"
    for name in (
        *("training.loop", "evaluation.evaluate", "runs.swapper", "benchmarks.quality"),
        *("benchmarks.train", "benchmarks.step", "benchmarks.against_pytorch"),
    )
]
# Modules of `training` that are compiled.
COMPILED: Sequence[str] = ("forward", "objective", "step", "state", "devices")

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


def room_of(module: str) -> str:
    """The folder that a module lies in; "" directly in the package."""
    below = module.split(".")[1:]
    return below[0] if below and (PACKAGE / below[0]).is_dir() else ""


def list_room(room: str) -> list[str]:
    """A room's modules; the two that start the program are in none."""
    return [m for m in MODULES if room_of(m) == room and not is_entrance(m)]


def is_entrance(module: str) -> bool:
    return module in (NAME, f"{NAME}.__main__")


def test_every_module_lies_in_a_room():
    assert {room_of(module) for module in MODULES} <= set(ROOMS)
    assert {m.removeprefix(f"{NAME}.") for m in list_room("")} == GROUND


@pytest.mark.parametrize("module", [m for m in MODULES if not is_entrance(m)])
def test_rooms_import_only_rooms_before_them(module: str):
    allowed = ROOMS[: ROOMS.index(room_of(module)) + 1]
    for name in find_imports(module) & set(MODULES):
        assert name != NAME, f"{module} imports the package's public names"
        assert room_of(name) in allowed, f"{module} imports {name}"
        if room_of(module) == "models" and room_of(name) != "models":
            assert name.removeprefix(f"{NAME}.") in FOR_MODELS | {"imaging"}, name


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_never_reach_what_is_forbidden_them(room: str):
    for module in list_room(room):
        found = set(FORBIDDEN[room]) & find_reached(module)
        assert not found, f"{module} reaches {found}"


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_modules_never_reach_opencv(name: str):
    assert "cv2" not in find_reached(f"{NAME}.training.{name}")


def test_imports_go_in_no_circle():
    ways = {m: find_imports(m) & set(MODULES) - {m} for m in MODULES}
    left = dict(ways)
    while leaves := [m for m, names in left.items() if not names & set(left)]:
        for module in leaves:
            del left[module]
    assert not left, f"a circle among {sorted(left)}"


def test_closure_of_imports_sees_through_modules():
    # The rules above cannot pass because nothing is found.
    assert {"jax", "cv2", "av"} <= find_reached(f"{NAME}.conversion.convert")
    assert {"cv2", "numpy"} <= find_reached(f"{NAME}.training.augment")
    assert {"jax", "flax"} <= find_reached(f"{NAME}.models.swap_faces")
    assert len(list_room("media")) >= 10 and len(list_room("models")) >= 6


@pytest.mark.parametrize(
    "modules, forbidden",
    [
        *[(list_room(room), names) for room, names in FORBIDDEN.items() if room],
        ([f"{NAME}.training.{name}" for name in COMPILED], ["cv2"]),
        (WITHOUT_MEDIA, ["av", "ai_edge_litert"]),
        ([NAME], ["jax", "cv2", "av", "flax", "matplotlib"]),
        ([f"{NAME}.cli.main"], ["jax", "cv2", "av", "flax", "matplotlib"]),
    ],
    ids=[*filter(None, FORBIDDEN), "compiled", "bare", "package", "cli"],
)
def test_fresh_interpreter_loads_nothing_forbidden(
    modules: list[str], forbidden: Sequence[str]
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


def test_no_room_or_module_hides_a_public_name():
    assert not {*ROOMS, *GROUND} & set(find_public_names())


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
        f"{NAME}.training.augment.random_warp",
        f"{NAME}.pipeline.Stopwatch",
        f"{NAME}.pipeline.Stopwatch.wrap",
        f"{NAME}.training.history.History.__init__",
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
            assert name != "sys.exit" or module == f"{NAME}.cli.main", where
            assert not name.startswith("np.random.") or name in (
                "np.random.default_rng",
                "np.random.Generator",
            ), f"{where}: global random state"
    roots = {name.split(".")[0] for name in find_imports(module)}
    assert not {"pickle", "marshal", "shelve"} & roots
