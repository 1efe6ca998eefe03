"""Augmentation: parameters are drawn first, for each image, and then applied by one of three implementations.

* `fast`: 8 bits, OpenCV, lookup tables; JPEGs are decoded no larger than needed.
* `reference`: plain torchvision v2.
* `device`: like `fast` up to the crop; colours and blur for the whole batch, on the accelerator.

They agree up to rounding to 8 bits. Source: DUNE (CVPR 2025), supplement; its augmentation is that of BYOL and DINO.
"""

from codistill.data.augment.config import AugmentConfig
from codistill.data.augment.draw import AugmentParams, draw_params
from codistill.data.augment.pipeline import augment_image, evaluation_image

__all__ = ["AugmentConfig", "AugmentParams", "augment_image", "draw_params", "evaluation_image"]
