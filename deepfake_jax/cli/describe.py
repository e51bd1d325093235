"""Results as text for the terminal; free of JAX and OpenCV."""

from typing import Any


def describe_extraction(result: Any) -> str:
    """An `ExtractResult` as a few lines."""
    lines = [
        f"{result.faces} faces from {result.frames} frames in {result.out}, "
        f"{result.frames_per_second:.1f} frames/s"
    ]
    if result.parts:
        shares = sorted(result.parts.items(), key=lambda part: -part[1])
        lines.append(
            "work: " + ", ".join(f"{name} {share:.0%}" for name, share in shares)
        )
    if result.jitter_before is not None:
        lines.append(
            f"jitter {result.jitter_before:.2f} pixels of 256, after steadying "
            f"{result.jitter_after:.2f}"
        )
    if result.dropped:
        left = ", ".join(f"{n} for {why}" for why, n in result.dropped.items())
        lines.append(f"left out: {left}")
    if len(result.persons) > 1:
        lines.append("several people (people.png shows who is who):")
        for person in result.persons[:10]:
            lines.append(f"  person {person.number}: {person.faces} in {person.folder}")
        if len(result.persons) > 10:
            lines.append(f"  and {len(result.persons) - 10} more")
    return "\n".join(lines)


def describe_conversion(result: Any) -> str:
    """A `ConvertResult` as two lines."""
    shares = sorted(result.stages.items(), key=lambda stage: -stage[1])
    work = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    return (
        f"swapped {result.swapped_frames} of {result.frames} frames at "
        f"{result.frames_per_second:.1f} frames/s: {result.out}\n"
        f"work: {work}; faces {result.face_pixels:.0f} pixels wide, the network's "
        f"{result.network_pixels}"
    )
