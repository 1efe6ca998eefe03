"""Surface normals of a depth map, from planes fitted to the inverse depth of 3 x 3 pixels that do not cross an edge.

Takes depth and intrinsics, gives unit vectors in the camera frame (x right, y down, z forward) that point towards the
camera. A plane n . X = d seen through a pinhole has an inverse depth that is linear in the pixel, 1 / z = (n / d) .
K^-1 (column, row, 1), so the fit is exact for planes at any slant, unlike differences of points.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

TOLERANCE = 0.002
"""Largest distance of a pixel from its plane, relative to the inverse depth."""
UNIT = 0.001
"""Unit in metres to which depth was rounded; planes need not fit more precisely than that."""
_SHIFTS = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1))


def normals_of_depth(
    depth: Float[Tensor, "row column"], intrinsics: Float[Tensor, "3 3"]
) -> Float[Tensor, "row column 3"]:
    """Unit normals towards the camera, in the dtype of the depth; (0, 0, 0) where they are unknown.

    A pixel takes the plane of the 3 x 3 pixels around it. At edges and creases it takes the best-fitting one of the
    planes whose windows contain it. It stays unknown if none fits, as on objects thinner than three pixels, or if depth
    is unknown.

    Args:
        depth: metres along the optical axis; 0, infinite or NaN where it is not known.
        intrinsics: without skew.
    """
    known = torch.isfinite(depth) & (depth > 0)
    # NaN spreads to every window that holds it.
    inverse = torch.where(known, 1.0 / depth.double().clamp(min=1e-9), torch.nan)
    parts = _windows(inverse)  # (9, row, column)
    shifts = torch.tensor(_SHIFTS, dtype=torch.float64, device=depth.device)
    mean = parts.mean(0)
    # Slopes per row and per column; 6 is three times the sum of squares of (-1, 0, 1).
    slopes = torch.einsum("sa,sij->aij", shifts, parts) / 6.0
    fitted = mean + torch.einsum("sa,aij->sij", shifts, slopes)
    # Rounding moves an inverse depth by UNIT / 2 z^2; the allowance is that and a part of the inverse depth itself.
    misfit = ((parts - fitted).abs() / (TOLERANCE * mean + UNIT * mean.square())).amax(0)
    misfit = torch.where(misfit.isnan(), torch.inf, misfit)
    normals = _chosen(_facing(mean, slopes, intrinsics.double()), misfit)
    return normals.to(depth.dtype if depth.is_floating_point() else torch.float32)


def _facing(
    inverse: Float[Tensor, "row column"],
    slopes: Float[Tensor, "2 row column"],
    intrinsics: Float[Tensor, "3 3"],
) -> Float[Tensor, "row column 3"]:
    """Normals of planes: minus n / d, which has a positive product with every point of its plane."""
    rows, columns = inverse.shape
    down = torch.arange(rows, dtype=inverse.dtype, device=inverse.device)[:, None] - intrinsics[1, 2]
    across = torch.arange(columns, dtype=inverse.dtype, device=inverse.device)[None] - intrinsics[0, 2]
    x, y = intrinsics[0, 0] * slopes[1], intrinsics[1, 1] * slopes[0]
    z = inverse - across * slopes[1] - down * slopes[0]
    return -normalize(torch.stack((x, y, z), dim=-1), dim=-1)


def _chosen(normals: Float[Tensor, "row column 3"], misfit: Float[Tensor, "row column"]) -> Tensor:
    """Each pixel's own plane if it fits (misfit <= 1), else the best of its neighbours' planes, else 0."""
    around = torch.nan_to_num(_windows(misfit), nan=torch.inf)
    own = torch.tensor([shift == (0, 0) for shift in _SHIFTS], device=misfit.device)[:, None, None]
    cost = torch.where(own & (around <= 1.0), -1.0, around)
    best, place = cost.min(0)
    near = torch.stack([_windows(normals[..., axis]) for axis in range(3)], dim=-1)  # (9, row, column, 3)
    found = near.gather(0, place[None, ..., None].expand(1, *place.shape, 3))[0]
    return torch.where((best <= 1.0)[..., None], found, 0.0)


def _windows(values: Float[Tensor, "row column"]) -> Float[Tensor, "shift row column"]:
    """The neighbours of every pixel, by `_SHIFTS`; NaN outside of the map."""
    rows, columns = values.shape
    padded = pad(values, (1, 1, 1, 1), value=torch.nan)
    return torch.stack([padded[1 + a : 1 + a + rows, 1 + b : 1 + b + columns] for a, b in _SHIFTS])
