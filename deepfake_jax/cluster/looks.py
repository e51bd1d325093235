"""A source that is searched ahead of an extraction, by whoever comes to it.

What is found is kept in the cache folder, as of every search; the extraction then reads
it in place of looking itself, and comes to the same record. Workers on several machines
need a cache folder that all of them see (`DEEPFAKE_JAX_CACHE`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.media.sources import Source


@dataclass(frozen=True)
class Look:
    """A video to be searched.

    Attributes:
        source: the video.
        config: of the extraction.
    """

    source: Path
    config: ExtractConfig

    def to_json(self) -> dict[str, Any]:
        """As values for JSON."""
        return {"look": str(self.source), "config": asdict(self.config)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Look":
        """What `to_json` gave."""
        config = dict(values["config"])
        for name in ("reference", "not_reference"):
            config[name] = tuple(config[name])
        return cls(Path(values["look"]), ExtractConfig(**config))

    def search(self) -> dict[str, Any]:
        """Searches it; gives how many frames there were.

        Raises:
            VideoError: it cannot be read at all.
        """
        search = FootageSearch(self.config, every=self.config.every)
        for _ in search.search([Source(self.source, "video", None)]):
            pass
        return {"frames": search.frames, "problems": []}
