"""Convert linear radiance to a photograph: exposure, tone curve, white balance, vignette, noise, 8-bit sRGB."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats


@dataclass(frozen=True, kw_only=True)
class Film:
    """Parameters of a camera's response to light.

    Attributes:
        stops: exposure relative to the automatic one, in stops.
        balance: linear RGB gains.
        contrast: exponent of the tone curve about middle grey.
        vignette: darkening at the corners, 0 to 1.
        noise: standard deviation of the sensor noise at middle grey, in units of full scale.
    """

    stops: float = 0.0
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    vignette: float = 0.1
    noise: float = 0.008


def exposure(linear: Floats) -> float:
    """Gain of automatic exposure, which brings the picture's middle tones to middle grey."""
    luminance = linear @ np.array([0.21, 0.72, 0.07], np.float32)
    middle = float(np.exp(np.mean(np.log(np.clip(luminance, 1e-4, 1e3)))))
    bright = float(np.percentile(luminance, 95))
    return min(0.19 / max(middle, 1e-5), 0.62 / max(bright, 1e-5))


def develop(linear: Floats, film: Film, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Convert linear radiance (row, column, 3) to 8-bit sRGB (row, column, 3)."""
    height, width, _ = linear.shape
    gain = exposure(linear) * 2.0**film.stops
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2.0
    light = linear * (gain * np.asarray(film.balance, np.float32)) * (1.0 - film.vignette * radius)[..., None]
    light = np.maximum(light, 0.0)
    toned = _filmic(light)
    if film.contrast != 1.0:
        toned = np.where(toned > 0, 0.22 * (toned / 0.22) ** film.contrast, 0.0)
    spread = film.noise * np.sqrt(np.clip(toned, 0.0, 1.0) / 0.2 + 0.15)
    grain = rng.standard_normal(toned.shape, dtype=np.float32) * spread
    signal = np.clip(toned + grain, 0.0, 1.0)
    encoded = np.where(
        signal <= 0.0031308, 12.92 * signal, 1.055 * np.maximum(signal, 1e-6) ** (1 / 2.4) - 0.055
    )
    return (encoded * 255.0 + 0.5).astype(np.uint8)


def _filmic(light: Floats) -> Floats:
    """Tone curve: linear to about 0.5, then a shoulder that reaches 1 at the white point 3 (Reinhard et al. 2002)."""
    knee = np.float32(0.4)
    over = np.maximum(light - knee, 0.0)
    return np.minimum(light, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
