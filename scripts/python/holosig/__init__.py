"""The files of holosig for Python, and the program itself."""

from .checkpoint import Checkpoint
from .dataset import Dataset, Neighborhood, Residue
from .embeddings import Embeddings, Pockets
from .files import Error, Header, header, verify
from .program import Failure, run
from .systems import System, Systems
from .trajectories import Segment, Trajectories

__all__ = [
    "Checkpoint",
    "Dataset",
    "Embeddings",
    "Error",
    "Failure",
    "Header",
    "Neighborhood",
    "Pockets",
    "Residue",
    "Segment",
    "System",
    "Systems",
    "Trajectories",
    "header",
    "run",
    "verify",
]
