"""Runs the program ``holosig``."""

from __future__ import annotations

import os
import shutil
import subprocess

from .files import Error


class Failure(RuntimeError):
    """The program ended with an error; ``code`` is its exit code, the text what it said."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def find() -> str:
    """The program: ``$HOLOSIG``, or ``holosig`` on ``PATH``.

    :raises Error: it is nowhere.
    """
    program = os.environ.get("HOLOSIG") or shutil.which("holosig")
    if program is None:
        raise Error("no program holosig on PATH; the variable HOLOSIG may say where it is")
    return program


def run(*arguments: os.PathLike | str | int | float, ranks: int = 1, launcher: str = "mpirun") -> str:
    """Runs a command and returns what it printed, e.g. ``run("inspect", "best.h5")``.

    :param ranks: more than one starts so many MPI ranks with ``launcher``.
    :raises Failure: an exit code other than 0.
    :raises Error: no such program.
    """
    command = [find(), *(str(a) for a in arguments)]
    if ranks > 1:
        command = [launcher, "-n", str(ranks), *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as e:
        raise Error(f"{command[0]}: {e.strerror}") from e
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        # mpirun has words of its own after those of the program.
        said = [line for line in said if " ERROR " in line] or said
        raise Failure(done.returncode, said[-1] if said else f"exit code {done.returncode}")
    return done.stdout
