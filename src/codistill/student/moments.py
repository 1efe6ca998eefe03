"""Means, second moments and least squares of vectors that come in parts: tensors in, sums out.

Each part is summed in fp32, as fast as products are, and added in double precision.
"""

import torch
from torch import Tensor


class Moments:
    """Sums over all vectors seen so far.

    Args:
        width: length of a vector.
        device: where the vectors are.
        diagonal: keep squares only, not products of two elements.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu", *, diagonal: bool = False) -> None:
        self.count, self.diagonal = 0, diagonal
        shape = (width,) if diagonal else (width, width)
        self._sum = torch.zeros(width, dtype=torch.float64, device=device)
        self._products = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, vectors: Tensor) -> None:
        """See (…, width) more."""
        rows = vectors.flatten(0, -2).float()
        self.count += len(rows)
        self._sum += rows.sum(0)
        self._products += rows.square().sum(0) if self.diagonal else rows.T @ rows

    def mean(self) -> Tensor:
        """(width,)"""
        return self._sum / self.count

    def second(self) -> Tensor:
        """Mean of x xᵀ (of x² if diagonal)."""
        return self._products / self.count

    def covariance(self) -> Tensor:
        """(width, width), or the variances (width,) if diagonal; divided by the count."""
        mean = self.mean()
        return self.second() - (mean.square() if self.diagonal else mean[:, None] * mean)

    def regression(self, inputs: int, ridge: float) -> tuple[Tensor, Tensor]:
        """Least squares from the first `inputs` elements to the others.

        Args:
            inputs: how many.
            ridge: penalty on squared weights, relative to the mean variance of the inputs.

        Returns:
            Weight (others, inputs) and bias (others,), fp32.
        """
        covariance, mean = self.covariance(), self.mean()
        left = covariance[:inputs, :inputs]
        penalty = ridge * left.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny)
        left = left + penalty * torch.eye(inputs, dtype=left.dtype, device=left.device)
        weight = torch.linalg.solve(left, covariance[:inputs, inputs:]).T
        bias = mean[inputs:] - weight @ mean[:inputs]
        return weight.float(), bias.float()
