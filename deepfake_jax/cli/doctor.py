"""What this machine lacks, with the command that mends it.

Nothing prompts, and nothing is fetched unless ``fetch`` asks for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from deepfake_jax.cli import machine_checks, package_checks
from deepfake_jax.cli.package_checks import Check, describe_error
from deepfake_jax.faces.weights import WEIGHTS


@dataclass(frozen=True)
class Diagnosis:
    """What `run_doctor` found.

    Attributes:
        checks: in the order in which one would mend what is wrong.
    """

    checks: tuple[Check, ...]


def run_doctor(*, fetch: bool = False) -> Diagnosis:
    """Looks at Python, packages, devices, weights, codecs and disk; never raises.

    Args:
        fetch: Whether to fetch the weights that are not on this machine yet.
    """
    parts: list[tuple[str, Callable[[], list[Check]]]] = [
        ("python", package_checks.check_python),
        ("deepfake-jax", package_checks.check_own_version),
        *(
            (name, partial(package_checks.check_package, name))
            for name in package_checks.PACKAGES
        ),
        ("opencv-python", package_checks.check_opencv),
        ("jax devices", machine_checks.check_devices),
        ("machine", machine_checks.check_machine),
        ("precision", machine_checks.check_precision),
        ("kernels", machine_checks.check_kernels),
        *(
            (f"weights {a.name}", partial(machine_checks.check_weights, a, fetch))
            for a in WEIGHTS
        ),
        ("encoders", machine_checks.check_encoders),
        ("decoders", machine_checks.check_decoders),
        ("disk", machine_checks.check_disk),
        ("cache folder", machine_checks.check_cache),
    ]
    checks: list[Check] = []
    for name, part in parts:
        try:
            checks += part()
        except Exception as error:  # a doctor that dies names no illness
            checks.append(Check(name, False, True, describe_error(error)))
    return Diagnosis(tuple(checks))


def format_checks(checks: Sequence[Check]) -> str:
    """Aligned plain text of ``checks``: a mark, the name and the detail a line.

    The marks are ``ok``, ``MISSING`` (required, not ok) and ``warn`` (not required, not
    ok). A fix stands on lines of its own below its check.
    """
    width = max((len(check.name) for check in checks), default=0)
    indent = " " * (len("MISSING") + width + 4)
    lines: list[str] = []
    for check in checks:
        mark = "ok" if check.ok else "MISSING" if check.required else "warn"
        detail = check.detail.replace("\n", f"\n{indent}")
        lines.append(f"{mark:<7}  {check.name:<{width}}  {detail}".rstrip())
        if check.fix:
            fix = check.fix.replace("\n", f"\n{indent}     ")
            lines.append(f"{indent}fix: {fix}")
    return "\n".join(lines)
