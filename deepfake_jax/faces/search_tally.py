"""What a search counts beside the faces themselves: tracks, who they show, and when."""

from collections import Counter
from typing import Any

from deepfake_jax.faces.people import People, TrackParts, sort_people
from deepfake_jax.faces.search_journal import embedding_from_json
from deepfake_jax.faces.steady_tracks import SURE, FoundFace, FrameFaces, TrackedFace
from deepfake_jax.faces.track_views import TrackEmbedding, shift_track


class SearchTally:
    """The tracks of one source after another.

    Attributes:
        frames_of: in how many frames each track was found with sure landmarks.
        embeddings: who the tracks show.
    """

    def __init__(self) -> None:
        self.frames_of: Counter[int] = Counter()
        self.embeddings: list[TrackEmbedding] = []
        self._parts = TrackParts()
        # Found since the last views, which tell in which part of its track.
        self._uncounted: list[FrameFaces] = []

    def hold(self, found: FrameFaces) -> None:
        """Takes in a frame, to be counted with the next views."""
        self._uncounted.append(found)

    def note_views(self, views: list[dict[str, Any]]) -> None:
        """Takes in who the tracks show, and counts the frames since the last time."""
        self.note_cuts(views)
        for found in self._uncounted:
            self.count(found.index, found.faces)
        self._uncounted.clear()

    def note_cuts(self, views: list[dict[str, Any]], *, first_track: int = 0) -> None:
        """Takes in who the tracks show, of a search that is not counted yet.

        Args:
            views: as `embedding_to_json` gives them.
            first_track: the number of their track 0.
        """
        for values in views:
            view = shift_track(embedding_from_json(values), first_track)
            self.embeddings.append(view)
            if view.begins >= 0:
                self._parts.cuts.setdefault(view.track, []).append(view.begins)

    def count(self, frame: int, faces: tuple[FoundFace | TrackedFace, ...]) -> None:
        """Counts the tracks that were found in a frame."""
        # A face whose landmarks are guesses has an embedding that says little: such
        # ones resemble each other and would be one person, seen more than anybody.
        sure = sorted(face.track for face in faces if face.confidence >= SURE)
        self.frames_of.update(sure)
        self._parts.count(frame, sure)

    def sort_people(self) -> People:
        """Who is who, of all that was searched so far."""
        return sort_people(self.embeddings, self._parts)
