"""Frames in order to faces in tracks: detect, follow, find landmarks, embed.

A face that was found is followed from frame to frame by its landmarks, at a tenth of
the detector's cost; the detector looks again every few frames, wherever a face was lost
and after every cut. Boxes are (x, y, width, height) and landmarks (x, y), in the
frame's pixels, rounded to hundredths: what is recorded is what is worked with, so that
an interrupted run goes on exactly as it would have.
"""

from collections.abc import Sequence

import numpy as np

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.detection import (
    SizedDetector,
    detect_at_sides,
    make_sized_detector,
)
from deepfake_jax.faces.hands import HandState, HandTracker, make_hand_tracker
from deepfake_jax.faces.identity import CropEmbedder, make_crop_embedder
from deepfake_jax.faces.landmark_fitting import Fitting, make_fitting
from deepfake_jax.faces.scene_cuts import Thumbnail, is_cut, make_thumbnail
from deepfake_jax.faces.steady_tracks import MAX_GAP, SURE, FrameFaces
from deepfake_jax.faces.track_state import (
    FULL_EVERY,
    FinderState,
    RunningTrack,
    Taken,
    differs,
    drop_doubles,
    link_tracks,
    make_face,
    move_track,
    part_doubles,
)
from deepfake_jax.faces.track_views import TrackEmbedding, TrackViews
from deepfake_jax.faces.upright import find_turn, fit_upright
from deepfake_jax.imaging.hand_mask import no_hands
from deepfake_jax.imaging.region import Detection
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.types import Hands

# Detections below the user's threshold may go on with a track, never begin one.
LINK_SCORE = 0.4
EMBED_EVERY = 32  # frames between embeddings of a track
# Pixels of a box's width; a smaller face would neither teach a run nor gain by a swap.
MIN_SIZE = 16.0
_WIDE_EVERY = 4  # detections between those at full width, for newcomers
_BASE_SIDE = 640
_SIDES = (320, 384, 448, 512, 640, 960, 1280, 1920)
_FACE_AT_SEARCH = 36  # pixels; YuNet is sure of faces this wide


class FaceFinder:
    """Finds and follows the faces of one source after another.

    Args:
        detect: the detector, set to `LINK_SCORE` or below.
        fitting: how faces come to their landmarks.
        embed: what tells people apart.
        min_score: least score of a detection that begins a track.
        hands: what follows hands near faces; None looks for none.
    """

    def __init__(
        self,
        detect: SizedDetector,
        fitting: Fitting,
        embed: CropEmbedder,
        *,
        min_score: float,
        hands: HandTracker | None = None,
    ):
        self.hands = hands
        self.state = FinderState()
        self._detector, self._fitting = detect, fitting
        self._min_score = min_score
        self._thumbnail: Thumbnail | None = None
        self._views = TrackViews(embed)

    def start_source(self, *, first_track: int | None = None) -> None:
        """Ends all tracks: what follows has nothing to do with what was before.

        Args:
            first_track: the number of the next new one; counted on if None.
        """
        self._thumbnail = None
        self._views.clear()
        number = self.state.next_track if first_track is None else first_track
        self.state = FinderState(next_track=number)

    def restore(self, state: FinderState, last: TimedFrame | None) -> None:
        """Goes on from a state; `last` is the frame that it was taken after."""
        self.state = state
        self._views.clear()
        self._thumbnail = None if last is None else make_thumbnail(last)

    def find(self, timed: TimedFrame) -> FrameFaces:
        """The faces of the next frame of a source."""
        state = self.state
        cut = self._see_cut(timed)
        if cut:
            state.tracks.clear()
            state.hands = HandState()
            state.since_full = FULL_EVERY
        searched = self._must_detect()
        detections = self._detect(timed) if searched else []
        pairs = link_tracks(state.tracks, detections)
        taken: list[Taken] = []
        for track in state.tracks:
            detection = pairs.get(track.number)
            seen = self._fitting.go_on(timed, track, detection, searched)
            if seen is not None:
                taken.append((track, *seen))
        taken, lost = part_doubles(taken)
        # Or the two would take turns in showing one face. Where the detector has not
        # looked, one may have slipped off its own face and shall find back to it.
        if searched:
            state.tracks = [t for t in state.tracks if t.number not in lost]
        used = {id(detection) for _, detection, _ in taken}
        for detection in detections:
            if id(detection) not in used and detection.score >= self._min_score:
                if all(differs(detection, track) for track, _, _ in taken):
                    taken.append(self._begin(timed, detection))
        return self._settle(timed, taken, cut=cut)

    def flush(self) -> list[TrackEmbedding]:
        """Who each track has shown since the last time."""
        self.state.flushes += 1
        return self._views.embed()

    def _see_cut(self, timed: TimedFrame) -> bool:
        before, self._thumbnail = self._thumbnail, make_thumbnail(timed)
        return before is not None and is_cut(before, self._thumbnail)

    def _must_detect(self) -> bool:
        state = self.state
        state.since_detect += 1
        lost = any(track.missing for track in state.tracks)
        due = state.since_detect >= self._fitting.detect_every
        if state.tracks and not lost and not due:
            return False
        state.since_detect = 0
        return True

    def _detect(self, timed: TimedFrame) -> list[Detection]:
        """Detections that are large enough."""
        state, tracks = self.state, self.state.tracks
        state.rounds += 1
        wide = not tracks or state.rounds % _WIDE_EVERY == 0
        sides = [_BASE_SIDE] if wide else [self._side_for(timed), _BASE_SIDE]
        state.since_full += 1
        full = state.since_full >= FULL_EVERY
        full = full and not any(track.confidence >= SURE for track in tracks)
        if full:
            state.since_full = 0
            sides += [] if tracks else [_SIDES[-1], 256]
        # Where faces lie on their side the frame is turned for them; upright newcomers
        # are looked for now and then, and turned ones where nobody stands upright.
        turns = {find_turn(np.array(track.landmarks)) for track in tracks}
        if wide or not turns:
            turns.add(0)

        def detect(timed: TimedFrame, side: int, turn: int) -> list[Detection]:
            found = self._detector(timed, side, turn)
            sure = any(d.score >= self._min_score for d in found)
            return found if sure or tracks else []

        found = [
            detection
            for turn in sorted(turns)
            for detection in detect_at_sides(detect, timed, sides, turn=turn)
        ]
        if full and not (found and not tracks):
            for turn in {1, 2, 3} - turns:
                found += detect(timed, _BASE_SIDE, turn)
        found = [detection for detection in found if detection.box[2] >= MIN_SIZE]
        return drop_doubles(found) if len(turns) > 1 or full else found

    def _side_for(self, timed: TimedFrame) -> int:
        """The least side at which the smallest face in sight is found safely."""
        width = min(track.box[2] for track in self.state.tracks)
        wanted = _FACE_AT_SEARCH * max(timed.size) / max(width, 1.0)
        return next((side for side in _SIDES if side >= wanted), _SIDES[-1])

    def _begin(self, timed: TimedFrame, detection: Detection) -> Taken:
        track = RunningTrack(self.state.next_track, detection.box.tolist(), 0.0, [])
        self.state.next_track += 1
        self.state.tracks.append(track)
        detector, fit = self._detector, self._fitting.fit
        return track, *fit_upright(detector, fit, timed, detection)

    def _settle(
        self, timed: TimedFrame, taken: Sequence[Taken], *, cut: bool
    ) -> FrameFaces:
        """Moves the tracks to where their faces are and drops those long lost."""
        state, faces = self.state, []
        seen = {track.number for track, _, _ in taken}
        for track in state.tracks:
            track.missing = 0 if track.number in seen else track.missing + 1
        state.tracks = [track for track in state.tracks if track.missing <= MAX_GAP]
        for track, detection, shape in taken:
            face = make_face(track, detection, shape)
            move_track(track, face)
            faces.append(face)
            self._views.add(timed, face, track)
        hands = self._find_hands(timed)
        state.frames += 1
        time = round(timed.time, 6)
        return FrameFaces(timed.index, time, cut, tuple(faces), hands)

    def _find_hands(self, timed: TimedFrame) -> Hands:
        """The hands near the tracks, also near faces that are hidden at the moment."""
        state = self.state
        if self.hands is None or not state.tracks:
            state.hands = HandState()
            return no_hands()
        boxes = [np.array(track.box) for track in state.tracks]
        return self.hands.find(timed, boxes, state.hands)


def make_finder(
    config: SearchConfig, *, film: bool, watch: Stopwatch | None = None
) -> FaceFinder:
    """Loads the networks that a search needs.

    Args:
        config: what is looked for.
        film: whether frames are neighbours in time, so that faces can be followed.
        watch: takes in the time of each of them.

    Raises:
        AssetError, ImportError: a network cannot be had.
    """
    watch = watch or Stopwatch()
    detect = make_sized_detector(min_score=min(LINK_SCORE, config.min_score))
    return FaceFinder(
        watch.wrap("detect", detect),
        make_fitting(config.landmarks, film=film, watch=watch),
        watch.wrap("embed", make_crop_embedder()),
        min_score=config.min_score,
        hands=make_hand_tracker(film=film, watch=watch) if config.hands else None,
    )
