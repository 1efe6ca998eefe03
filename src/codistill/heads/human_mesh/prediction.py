"""Predictions of the human-mesh head, and decoding of raw outputs to positions, rotations and shapes; all in fp32.

Source: Multi-HMR (arXiv 2402.14654), section 3.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from codistill.geometry.projection import unproject
from codistill.geometry.rotations import rotation_from_6d
from codistill.heads.human_mesh.camera import cell_centers, decode_depth
from codistill.heads.human_mesh.cells import PersonCells, score_from_logits
from codistill.nn.precision import full_precision


@dataclass(frozen=True)
class PeoplePrediction:
    """The people of a batch, (person, …) each, before any body model is applied.

    Attributes:
        cells: image and cell of each person.
        score: score of the detection.
        offset: (x, y) of the head from the cell's centre, in cells.
        location: (x, y) of the head in pixels of the encoder's input, pixel centres at integers.
        encoded_depth: see `camera.encode_depth`.
        head: position of the head joint in the camera frame, metres.
        pose_6d, rotmat: rotations before and after Gram-Schmidt; that of the root is in the camera frame.
        shape, expression: coefficients of the body model; expression has 0 columns for a body without it.
    """

    cells: PersonCells
    score: Float[Tensor, " person"]
    offset: Float[Tensor, "person 2"]
    location: Float[Tensor, "person 2"]
    encoded_depth: Float[Tensor, " person"]
    head: Float[Tensor, "person 3"]
    pose_6d: Float[Tensor, "person rotation 6"]
    rotmat: Float[Tensor, "person rotation 3 3"]
    shape: Float[Tensor, "person shape"]
    expression: Float[Tensor, "person expression"]

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def depth(self) -> Float[Tensor, " person"]:
        """Depth of the head joint, metres along the optical axis."""
        return self.head[:, 2]


@dataclass(frozen=True)
class HumanMeshOutput:
    """The head's output for a batch.

    Attributes:
        score_logits: (batch, row, column), one per cell.
        people: people at the given or detected cells.
    """

    score_logits: Float[Tensor, "batch row column"]
    people: PeoplePrediction


@dataclass(frozen=True)
class RawPeople:
    """Outputs of the last layers with initial values added, (person, channel) each; see `decode_people`."""

    logit: Tensor
    offset: Tensor
    pose: Tensor
    shape: Tensor
    encoded_depth: Tensor
    expression: Tensor


def decode_people(
    raw: RawPeople,
    cells: PersonCells,
    intrinsics: Float[Tensor, "batch 3 3"],
    grid: tuple[int, int],
    patch_size: int,
    max_depth: float,
) -> PeoplePrediction:
    """Decode raw outputs to positions, rotations and shapes, in fp32 under any autocast."""
    with full_precision(intrinsics):
        own = intrinsics.float()[cells.image]
        offset, encoded = raw.offset.float(), raw.encoded_depth.float()
        location = cell_centers(cells.row + offset[:, 1], cells.column + offset[:, 0], patch_size)
        depth = decode_depth(encoded, own[:, 0, 0], (grid[0] * patch_size, grid[1] * patch_size), max_depth)
        pose_6d = raw.pose.float().unflatten(1, (-1, 6))
        return PeoplePrediction(
            cells=cells,
            score=score_from_logits(raw.logit),
            offset=offset,
            location=location,
            encoded_depth=encoded,
            head=unproject(location, depth, own),
            pose_6d=pose_6d,
            rotmat=rotation_from_6d(pose_6d),
            shape=raw.shape.float(),
            expression=raw.expression.float(),
        )
