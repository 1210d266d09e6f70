"""Checkpoints: the parameters of a model, and what it is."""

from __future__ import annotations

import tomllib
from functools import cached_property

import h5py
import numpy as np

from .files import File, dataset, strings, text


class Checkpoint(File):
    """What ``holosig train`` or ``holosig import`` wrote."""

    KIND = "checkpoint"

    @property
    def task(self) -> str:
        """What the model does; files of version 1 do not say it in a place of its own."""
        return str(self.h5.attrs.get("task", ""))

    @cached_property
    def description(self) -> dict:
        """The model's and its input's settings."""
        return tomllib.loads(text(self.h5, "description"))

    def _arrays(self, kind: str) -> dict[str, np.ndarray]:
        group: h5py.Group = self.h5[kind]
        return {name: dataset(group, name)[()] for name in strings(self.h5, f"{kind}_order")}

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        """Trained arrays by name, in the model's order."""
        return self._arrays("parameters")

    @cached_property
    def buffers(self) -> dict[str, np.ndarray]:
        """Running statistics by name."""
        return self._arrays("buffers")

    def state_dict(self) -> dict:
        """Parameters and buffers as PyTorch tensors, by name."""
        import torch

        return {name: torch.from_numpy(np.array(a)) for name, a in (self.parameters | self.buffers).items()}
