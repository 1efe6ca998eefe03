"""Means, second moments and least squares of vectors that arrive in parts: tensors in, sums out.

The products of a part are computed in its own precision, at least fp32, and accumulated in fp64. They are computed
about the mean of the part, so that no precision is lost where the mean is much larger than the deviation (Chan et al.
1979). All state consists of sums, so that the sums of several ranks can be added.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.geometry.full_precision import full_precision


def channel_sums(x: Float[Tensor, "*batch channel"]) -> Float[Tensor, " 1+2*channel"]:
    """Count, and per channel the sum and the sum of squares, as one fp64 vector; does not wait for the device."""
    rows = _rows(x)
    variance, mean = torch.var_mean(rows, dim=0, correction=0)  # (channel,), both
    mean, variance = mean.double(), variance.double()
    # `full`, because assigning the number would copy it from the host, which would then wait.
    count = torch.full((1,), float(len(rows)), dtype=torch.float64, device=x.device)
    return torch.cat((count, len(rows) * mean, len(rows) * (variance + mean * mean)))


def product_sums(x: Float[Tensor, "*batch channel"]) -> Float[Tensor, "1+channel 1+channel"]:
    """Count, sums and products of all pairs of channels, fp64: row 0 is [count, sums], below it [0, products]."""
    rows = _rows(x)
    mean = rows.mean(0)
    with full_precision(x):
        centred = rows - mean  # (row, channel)
        products = (centred.T @ centred).double()  # (channel, channel)
    mean = mean.double()
    sums = products.new_zeros(len(mean) + 1, len(mean) + 1)
    sums[0, 0] = len(rows)
    sums[0, 1:] = len(rows) * mean
    sums[1:, 1:] = products + len(rows) * torch.outer(mean, mean)  # moments about 0, not the mean
    return sums


class Moments:
    """Moments of all vectors seen so far.

    Args:
        width: length of a vector.
        device: device of the vectors.
        diagonal: keep only squares, not products of two elements.

    Attributes:
        packed: the sums, fp64; those of several ranks can be added.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu", *, diagonal: bool = False) -> None:
        self.diagonal = diagonal
        shape = (1 + 2 * width,) if diagonal else (1 + width, 1 + width)
        self.packed = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, vectors: Float[Tensor, "*batch channel"]) -> None:
        """Add one or more vectors."""
        self.packed += channel_sums(vectors) if self.diagonal else product_sums(vectors)

    @property
    def count(self) -> Tensor:
        """Number of vectors, a scalar."""
        return self.packed.flatten()[0]

    def mean(self) -> Tensor:
        """Mean of every element, (width,)."""
        sums = self.packed[1:].chunk(2)[0] if self.diagonal else self.packed[0, 1:]
        return sums / self.count

    def second(self) -> Tensor:
        """Mean of x xᵀ (of x² if diagonal)."""
        return self._products() / self.count

    def covariance(self, correction: int = 0) -> Tensor:
        """Covariance (width, width), or variances (width,) if diagonal, divided by the count minus the correction."""
        mean = self.mean()
        square = mean * mean if self.diagonal else torch.outer(mean, mean)  # (width[, width])
        return (self._products() - self.count * square) / (self.count - correction)

    def _products(self) -> Tensor:
        return self.packed[1:].chunk(2)[1] if self.diagonal else self.packed[1:, 1:]


class RidgeSums:
    """The normal equations of ridge regression, from inputs and outputs that arrive in parts.

    Args:
        intercept: fit a bias, which is not penalized; False: no bias.
        dtype: dtype of the sums. fp32 suffices for a large, well-scaled system.
    """

    def __init__(self, *, intercept: bool = True, dtype: torch.dtype = torch.float64) -> None:
        self.intercept, self.dtype, self.count = intercept, dtype, 0
        self._sums: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def add(self, x: Float[Tensor, "row input"], y: Float[Tensor, "row output"]) -> None:
        """Add rows; their products are computed in the rows' own precision, at least fp32."""
        if self._sums is None:
            shapes = (x.shape[1:], y.shape[1:], (x.shape[1], x.shape[1]), (x.shape[1], y.shape[1]))
            inputs, outputs, squares, products = (
                torch.zeros(shape, dtype=self.dtype, device=x.device) for shape in shapes
            )
            self._sums = (inputs, outputs, squares, products)
        inputs, outputs, squares, products = self._sums
        self.count += len(x)
        inputs += x.sum(0)
        outputs += y.sum(0)
        for total, right in ((squares, x), (products, y)):
            if total.dtype == x.dtype:
                total.addmm_(x.T, right)  # in place, because this matrix can take half a gigabyte
            else:
                total += x.T @ right

    def means(self) -> tuple[Tensor, Tensor]:
        """Means of the inputs (input,) and of the outputs (output,)."""
        inputs, outputs, *_ = self._all()
        return inputs / max(1, self.count), outputs / max(1, self.count)

    def variance(self) -> Tensor:
        """Mean variance of the inputs, a scalar; their mean square if there is no intercept."""
        squares = self._all()[2].diagonal() / max(1, self.count)
        return (squares - self.means()[0].square() if self.intercept else squares).mean()

    def solve(self, penalty: Tensor | float) -> tuple[Tensor, Tensor]:
        """Weight (input, output) and bias (output,) of the ridge regression.

        Args:
            penalty: positive weight of the squared weights, per row: it is added to the variance of every input.

        Raises:
            DataError: if no row was added.
        """
        _, _, squares, products = self._all()
        count = max(1, self.count)
        mean, target = self.means()
        if self.intercept:
            normal = squares - count * mean[:, None] * mean[None, :]  # centring eliminates the bias
            right = products - count * mean[:, None] * target[None, :]
        else:
            normal, right = squares.clone(), products
        normal.diagonal().add_(penalty * count)  # the penalty is per row
        weight = torch.cholesky_solve(right, torch.linalg.cholesky(normal))
        return weight, target - mean @ weight if self.intercept else torch.zeros_like(target)

    def _all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self._sums is None:
            raise DataError("ridge regression got no rows")
        return self._sums


def _rows(x: Tensor) -> Tensor:
    """Flatten to (row, channel), in at least fp32."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.dtype == torch.float64 else rows.float()
