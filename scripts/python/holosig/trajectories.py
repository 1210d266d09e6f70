"""Datasets of trajectories, and the segments that they are cut into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .files import Error, File, dataset, strings


@dataclass(frozen=True)
class Segment:
    """One sample: some frames of a trajectory."""

    trajectory: str
    label: str
    split: str
    fold: int
    #: In the file's unit (Å for molecules), float32 [frames, nodes, dimensions].
    coordinates: np.ndarray
    #: Time between two frames, in the file's unit (ps for molecules).
    time_step: float


class Trajectories(File):
    """What ``holosig prepare trajectories`` or ``prepare grd`` wrote. ``len()`` counts segments."""

    KIND = "trajectories"

    @cached_property
    def names(self) -> np.ndarray:
        return strings(self.h5["trajectories"], "name")

    @cached_property
    def labels(self) -> np.ndarray:
        return strings(self.h5["trajectories"], "label")

    @cached_property
    def splits(self) -> np.ndarray:
        """``train``, ``validation``, ``test``, or empty where folds decide."""
        return strings(self.h5["trajectories"], "split")

    @cached_property
    def _segments(self) -> tuple[np.ndarray, ...]:
        group = self.h5["segments"]
        return tuple(dataset(group, name)[:] for name in ("trajectory", "start", "frames"))

    def __len__(self) -> int:
        return len(self._segments[0])

    def coordinates(self, trajectory: int) -> np.ndarray:
        """All frames of a trajectory, [frames, nodes, dimensions]."""
        return dataset(self.h5["coordinates"], f"{trajectory:06}")[:]

    def edges(self, trajectory: int) -> np.ndarray:
        """Pairs of nodes that are joined, [edges, 2]."""
        graph = int(dataset(self.h5["trajectories"], "graph")[trajectory])
        ends = np.cumsum(dataset(self.h5["graphs"], "edges")[: graph + 1])
        first = int(ends[graph - 1]) if graph else 0
        return dataset(self.h5, "edges")[first : int(ends[graph])]

    def segment(self, number: int) -> Segment:
        """A segment by number; only its frames are read."""
        trajectory, start, frames = (int(a[number]) for a in self._segments)
        values = dataset(self.h5["coordinates"], f"{trajectory:06}")
        group = self.h5["trajectories"]
        return Segment(
            self.names[trajectory],
            self.labels[trajectory],
            self.splits[trajectory],
            int(dataset(group, "fold")[trajectory]),
            values[start : start + frames],
            float(dataset(group, "time_step")[trajectory]),
        )

    def segments(self, split: str | None = None) -> Iterator[Segment]:
        """All segments, or those of a split.

        :raises Error: no trajectory has this split.
        """
        if split is not None and split not in self.splits:
            raise Error(f"{self.path}: no trajectory has the split {split!r}")
        for number, trajectory in enumerate(self._segments[0]):
            if split is None or self.splits[trajectory] == split:
                yield self.segment(number)
