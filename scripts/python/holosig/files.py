"""What all files have in common: a block of 512 bytes before the HDF5 data, which holds the kind of
the file, the version of its schema, its length and a checksum of the rest."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

BLOCK = 512
_LINE = re.compile(
    rb"^holosig ([a-z0-9-]+) version=(\d+) bytes=(\d+) xxh3-128=([0-9a-f]{32})$"
)

#: The latest version of each kind's schema that this package reads.
VERSIONS = {
    "dataset": 2,
    "checkpoint": 2,
    "embeddings": 1,
    "systems": 1,
    "trajectories": 1,
    "pockets": 1,
}


class Error(ValueError):
    """A file that cannot be used, and why: one line that names it."""


@dataclass(frozen=True)
class Header:
    """The first block of a file."""

    kind: str
    version: int
    #: Length of the file after the first block.
    bytes: int
    #: XXH3-128 of the bytes after the first block, as 32 hexadecimal digits.
    checksum: str


def header(path: os.PathLike | str) -> Header:
    """Reads the first block.

    :raises Error: a file that is missing, no file of holosig, or cut short.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise Error(f"{path}: no such file" if not path.exists() else f"{path}: not a regular file")
        with open(path, "rb") as file:
            block = file.read(BLOCK)
        size = path.stat().st_size
    except OSError as e:
        raise Error(f"{path}: {e.strerror}") from e
    line = block.rstrip(b"\0").strip()
    match = _LINE.match(line.splitlines()[0] if line else b"")
    if match is None:
        raise Error(f"{path}: not a file of holosig")
    kind, version, length, checksum = match.groups()
    found = Header(kind.decode(), int(version), int(length), checksum.decode())
    if size - BLOCK != found.bytes:
        raise Error(f"{path}: {max(size - BLOCK, 0)} bytes, where its header says {found.bytes}: cut short")
    return found


def verify(path: os.PathLike | str) -> Header:
    """Compares a file with its checksum; needs the package ``xxhash``.

    :raises Error: a file that is damaged.
    """
    import xxhash

    found = header(path)
    state = xxhash.xxh3_128()
    with open(path, "rb") as file:
        file.seek(BLOCK)
        while chunk := file.read(1 << 22):
            state.update(chunk)
    if state.hexdigest() != found.checksum:
        raise Error(f"{path}: damaged: its content does not fit its checksum")
    return found


def open_file(path: os.PathLike | str, kind: str) -> h5py.File:
    """Opens a file of this kind for reading.

    :raises Error: a file of another kind or of a later version, or one that HDF5 cannot open.
    """
    found = header(path)
    if found.kind != kind:
        raise Error(f"{path}: holds {found.kind}, where {kind} is needed")
    if found.version > VERSIONS[kind]:
        raise Error(
            f"{path}: version {found.version} of {kind}, of which this package reads up to {VERSIONS[kind]}"
        )
    try:
        return h5py.File(path, "r")
    except OSError as e:
        raise Error(f"{path}: {e}") from e


def strings(group: h5py.Group, name: str) -> np.ndarray:
    """A dataset of texts, as an array of ``str``."""
    values = dataset(group, name)[()]
    decode = lambda s: s.decode() if isinstance(s, bytes) else str(s)
    return np.array([decode(s) for s in np.asarray(values).ravel()], dtype=object)


def text(group: h5py.Group, name: str) -> str:
    """A dataset that is one text."""
    value = dataset(group, name)[()]
    return value.decode() if isinstance(value, bytes) else str(value)


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset by name.

    :raises Error: there is none.
    """
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        raise Error(f"{group.file.filename}: no dataset {group.name.rstrip('/')}/{name}")
    return found


class File:
    """An open file; closes with ``with`` or :meth:`close`."""

    KIND: str

    def __init__(self, path: os.PathLike | str):
        self.path = Path(path)
        self.h5 = open_file(path, self.KIND)

    def close(self) -> None:
        self.h5.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"
