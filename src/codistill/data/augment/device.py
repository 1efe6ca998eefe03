"""Colours and blur for a whole batch on the accelerator, without a loop over images and without host sync.

Which steps apply, and in which order, differs between images. Every step therefore runs on all images, with a neutral
parameter where it does not apply (a factor of 1, a hue shift of 0, a blur kernel with a single nonzero weight).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from codistill.data.augment.draw import JITTERS, AugmentParams
from codistill.data.augment.fast import GREY_WEIGHTS

_NEUTRAL = {kind: 0.0 if kind == "hue" else 1.0 for kind in JITTERS}
_FACTORS = len(JITTERS) ** 2
COLUMNS = _FACTORS + 3


def pack_params(params: Sequence[AugmentParams]) -> Float[Tensor, "batch column"]:
    """Pack the colour parameters of a batch into one tensor, so that one copy moves them to the device.

    Columns: the factor of every kind at each of the four places in the order, grayscale, sigma (0: no blur), solarize.
    """
    rows = []
    for one in params:
        factors = [_NEUTRAL[kind] for _ in JITTERS for kind in JITTERS]
        for place, (kind, factor) in enumerate(one.jitter):
            factors[place * len(JITTERS) + JITTERS.index(kind)] = factor
        rows.append([*factors, float(one.grayscale), one.blur_sigma or 0.0, float(one.solarize)])
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), COLUMNS)


def photometric_batch(
    images: Float[Tensor, "batch 3 row column"], packed: Tensor, *, kernel: int, threshold: float
) -> Float[Tensor, "batch 3 row column"]:
    """Jitter, grayscale, blur and solarize images in 0..1, with the parameters from `pack_params`, on their device."""
    factors = packed[:, :_FACTORS].reshape(-1, len(JITTERS), len(JITTERS), 1, 1, 1)
    for place in range(len(JITTERS)):
        for column, kind in enumerate(JITTERS):
            images = _STEPS[kind](images, factors[:, place, column])
    grayscale, sigma, solarize = (packed[:, _FACTORS + n, None, None, None] for n in range(3))
    images = torch.where(grayscale > 0, _grey(images), images)
    images = _blur(images, sigma.flatten(), kernel)
    return torch.where((solarize > 0) & (images >= threshold), 1 - images, images)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = GREY_WEIGHTS.tolist()
    return red * images[:, :1] + green * images[:, 1:2] + blue * images[:, 2:]


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = _grey(images.mean(dim=(2, 3), keepdim=True))  # (batch, 1, 1, 1)
    return torch.lerp(mean, images, factor).clamp_(0, 1)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(_grey(images), images, factor).clamp_(0, 1)


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue, keeping value and chroma: each channel is value - chroma * ramp(hue) (HSV without its sectors)."""
    red, green, blue = images.unbind(1)
    value = images.amax(dim=1)
    chroma = value - images.amin(dim=1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * shift[:, 0]  # sixths of a turn
    offsets = torch.arange(5, 0, -2, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    ramp = torch.remainder(offsets + hue[:, None], 6)
    return value[:, None] - chroma[:, None] * torch.minimum(ramp, 4 - ramp).clamp_(0, 1)


def _blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Separable Gaussian blur, with a sigma for each image; 0 leaves the image unchanged."""
    rows, columns = images.shape[2:]
    half = kernel // 2
    places = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (places / sigma.clamp_min(1e-3)[:, None]) ** 2)  # (batch, kernel)
    weights = torch.where(sigma[:, None] > 0, weights, (places == 0).to(weights))
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None, None]
    padded = pad(images, (half, half, half, half), mode="reflect")  # borders as OpenCV's BORDER_REFLECT_101
    # Sums of shifted images: a convolution with one group per image and channel has no fast kernel.
    down = torch.zeros_like(padded[:, :, half : half + rows])
    for place in range(kernel):
        down.addcmul_(padded[:, :, place : place + rows], weights[:, place])
    across = torch.zeros_like(images)
    for place in range(kernel):
        across.addcmul_(down[..., place : place + columns], weights[:, place])
    return across


_STEPS = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}
