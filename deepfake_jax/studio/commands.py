"""What the page asks for, checked field by field, as arguments of the console command.

What only the command can know (whether a face is there, whether a run fits) it says
itself; what a field can never mean is refused here, with the field's name.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from deepfake_jax.convert_config import ConvertConfig, classic_options
from deepfake_jax.face_sets.face_set import read_record
from deepfake_jax.face_sets.set_files import holds_sets
from deepfake_jax.media.sources import parse_part, parse_time
from deepfake_jax.studio.face_grid import list_person_sets
from deepfake_jax.studio.projects import Project, check_name, read_consent
from deepfake_jax.studio.roots import Roots, is_film
from deepfake_jax.studio.texts import RequestError
from deepfake_jax.train_config import list_presets
from deepfake_jax.types import SIDES, Side

# What of a conversion the page lets choose; the rest has the command's defaults.
LOOKS = (
    *("to", "checkpoint", "mask", "erode", "feather", "cover", "drawn_mask", "guard"),
    *("color", "blend", "sharpen", "texture", "person", "faces"),
)
_LONGEST = 7 * 24 * 60.0  # minutes of a training


class Order(NamedTuple):
    """A command to start.

    Attributes:
        command: its arguments.
        facts: what the page shows of it.
    """

    command: list[str]
    facts: dict[str, Any]


def order_extract(project: Project, roots: Roots, asked: Mapping[str, Any]) -> Order:
    """Faces of a side's footage."""
    side = read_side(asked)
    sources = [str(roots.find_source(path)) for path in project.footage[side]]
    if not sources:
        raise RequestError("no_sources", side=side.upper())
    out = project.faces(side)
    roots.resolve(str(out))
    command = ["extract", *sources, "--out", str(out), "--json"]
    command += _read_part(asked)
    every = _read_number(asked, "every", 1.0, 1000.0, default=1.0)
    if every != 1:
        command += ["--every", f"{every:.0f}"]
    if out.is_dir() and any(out.iterdir()):
        if asked.get("overwrite") is not True:
            raise RequestError("faces_exist", status=409, side=side.upper())
        command.append("--overwrite")
    return Order(command, {"side": side, "sources": [Path(p).name for p in sources]})


def order_train(project: Project, roots: Roots, asked: Mapping[str, Any]) -> Order:
    """A new run, or an old one for longer."""
    run = roots.resolve(str(project.run(asked.get("run"))))
    begun = (run / "config.yaml").exists()
    minutes = _read_number(asked, "minutes", 0.1, _LONGEST)
    command = ["train", "--run", str(run), "--json", f"--minutes={minutes:g}"]
    if not begun:
        preset = asked.get("preset")
        if preset not in list_presets():
            names = ", ".join(list_presets())
            raise RequestError("no_preset", field="preset", names=names)
        command.append(f"--preset={preset}")
    for side in SIDES:
        command += [f"--{side}", str(find_training_set(project, roots, side))]
    if (said := read_consent(project)) is not None:
        command.append(f"--consent={said['text']} ({said['by']})")
    return Order(command, {"run": run.name, "minutes": minutes})


def order_convert(project: Project, roots: Roots, asked: Mapping[str, Any]) -> Order:
    """A swapped video or picture in the project's results."""
    source = roots.find_source(asked.get("source"), field="source")
    run = find_run(project, roots, asked)
    name = check_name(asked.get("name") or f"{source.stem[:40]} swapped", field="name")
    out = _find_free(project.folder / "results", name, _choose_suffix(source))
    looks = read_looks(project, roots, asked)
    command = ["convert", str(source), "--run", str(run), "--out", str(out), "--json"]
    command += [*_read_part(asked), *list_flags(looks)]
    roots.resolve(str(out)).parent.mkdir(exist_ok=True)
    facts = {"run": run.name, "source": str(source), "out": out.name, "looks": looks}
    facts["folder"] = source.is_dir()
    begins = parse_time(asked.get("start") or "", option="start") or 0.0
    return Order(command, {**facts, "begins": begins})


def order_evaluate(project: Project, roots: Roots, asked: Mapping[str, Any]) -> Order:
    """The figures of a run."""
    run = find_run(project, roots, asked)
    return Order(["evaluate", "--run", str(run), "--json"], {"run": run.name})


ORDERS: Mapping[str, Callable[[Project, Roots, Mapping[str, Any]], Order]] = {
    "extract": order_extract,
    "train": order_train,
    "convert": order_convert,
    "evaluate": order_evaluate,
}


def read_looks(
    project: Project, roots: Roots, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The choices of `LOOKS` that differ from the command's own.

    A person may be one of the project's face sets: then a face of it says who is meant,
    in whatever footage.

    Raises:
        RequestError: one that cannot be; its text is the config's own.
    """
    given = asked.get("looks")
    given = dict(given) if isinstance(given, Mapping) else {}
    for name in given:
        if name not in LOOKS:
            raise RequestError("no_field", field=str(name)[:40])
    for name in ("erode", "feather", "sharpen", "texture"):
        if name in given:
            given[name] = _read_number(given, name, -10.0, 10.0)
    person = given.get("person", "auto")
    known = ("auto", "largest", "all")
    if not isinstance(person, str) or not (person in known or person.isdecimal()):
        given["person"] = str(_find_portrait(project, person))
    if given.get("faces"):
        faces = roots.find_folder(given["faces"], field="faces")
        if not holds_sets(faces):
            raise RequestError("no_set", field="faces", name=faces.name)
        given["faces"] = str(faces)
    try:
        ConvertConfig(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        field, text = (
            str(problem["loc"][0]),
            problem["msg"].removeprefix("Value error, "),
        )
        raise RequestError("wrong_look", field=field, why=text) from None
    default = ConvertConfig()
    return {k: value for k, value in given.items() if value != getattr(default, k)}


def _find_portrait(project: Project, name: Any) -> Path:
    """The face of one of a project's sets that shows its person best."""
    for side in SIDES:
        for part in list_person_sets(project.faces(side)):
            if str(part.relative_to(project.folder)) == name:
                _, records = read_record(part)
                there = [r for r in records if (part / r.file).is_file()]
                if there:
                    turned = [abs(r.yaw) + abs(r.pitch) - r.width / 10 for r in there]
                    return part / there[turned.index(min(turned))].file
    raise RequestError("no_person", field="person")


def list_flags(looks: Mapping[str, Any]) -> list[str]:
    """Choices as flags of `convert`."""
    flags = []
    for name, value in looks.items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            flags.append(f"--{name}={value}")
    return flags


def describe_looks() -> dict[str, dict[str, Any]]:
    """The values of `LOOKS` in both presets of `convert`."""
    presets = {"default": ConvertConfig(), "classic": classic_options()}
    return {
        name: {look: getattr(config, look) for look in LOOKS}
        for name, config in presets.items()
    }


def find_run(project: Project, roots: Roots, asked: Mapping[str, Any]) -> Path:
    """The run of a request, which has been begun.

    Raises:
        RequestError: there is no such.
    """
    run = roots.resolve(str(project.run(asked.get("run"))))
    if not (run / "config.yaml").exists():
        raise RequestError("no_run", field="run", status=404, name=run.name)
    return run


def find_training_set(project: Project, roots: Roots, side: Side) -> Path:
    """The set that a side is trained on: the one chosen, or the person seen most.

    Raises:
        RequestError: there are no faces of that side yet.
    """
    sets = list_person_sets(project.faces(side))
    if not sets:
        raise RequestError("no_faces", field=side, side=side.upper())
    chosen = project.folder / project.chosen[side]
    return roots.resolve(str(chosen if chosen in sets else sets[0]))


def read_side(asked: Mapping[str, Any]) -> Side:
    """The side of a request.

    Raises:
        RequestError: neither.
    """
    for side in SIDES:
        if asked.get("side") == side:
            return side
    raise RequestError("no_side", field="side")


def read_moment(asked: Mapping[str, Any], name: str) -> float:
    """Seconds of a field.

    Raises:
        RequestError: no number from 0 on.
    """
    return _read_number(asked, name, 0.0, 1e6, default=0.0)


def _read_part(asked: Mapping[str, Any]) -> list[str]:
    flags = []
    for name in ("start", "end"):
        text = asked.get(name) or ""
        try:
            parse_time(text if isinstance(text, str) else "?", option=name)
        except ValueError:
            raise RequestError("no_time", field=name) from None
        flags += [f"--{name}={text}"] if text else []
    try:
        parse_part(asked.get("start") or "", asked.get("end") or "")
    except ValueError:
        raise RequestError("end_first", field="end") from None
    return flags


def _read_number(
    asked: Mapping[str, Any],
    name: str,
    low: float,
    high: float,
    *,
    default: float | None = None,
) -> float:
    value = asked.get(name, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise RequestError("no_number", field=name, low=f"{low:g}", high=f"{high:g}")
    return float(value)


def _choose_suffix(source: Path) -> str:
    if source.is_dir():
        return ""  # a folder, too
    if is_film(source):
        return ".mp4"  # which every browser plays
    return source.suffix if source.suffix.lower() in (".jpg", ".jpeg") else ".png"


def _find_free(folder: Path, name: str, suffix: str) -> Path:
    """A file that does not exist yet: its name, or with a number."""
    for ending in ("", *(f" {number}" for number in range(2, 1000))):
        path = folder / f"{name}{ending}{suffix}"
        if not path.exists():
            return path
    return folder / f"{name} {time.time():.0f}{suffix}"
