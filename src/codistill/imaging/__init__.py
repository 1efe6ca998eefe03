"""Decode any image file to a uint8 RGB array of any size, for encoders and data.

header = read_header(data)                      # size after EXIF rotation, without decoding
image = decode_rgb(data, reduction=4)           # (row, column, 3); JPEGs directly at a quarter of the size
image = read_rgb("photo.tif")
labels = decode_map(data)                       # (row, column) uint8 or uint16: labels, depth in millimetres
vectors = decode_vectors(data)                  # (row, column, 3) uint8 or uint16: normals in a stated encoding
small = resize_rgb(image, (224, 224))           # bicubic with antialiasing
"""

from codistill.imaging.decode import (
    ImageHeader,
    decode_rgb,
    equivalent_focal,
    read_file,
    read_header,
    read_rgb,
)
from codistill.imaging.jpeg import covering_reduction
from codistill.imaging.limits import MAX_PIXELS, bad_image
from codistill.imaging.maps import decode_map, decode_vectors
from codistill.imaging.orientation import orient
from codistill.imaging.pillow import FORMATS, pillow_to_rgb
from codistill.imaging.resize import resize_rgb, without_ends

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "ImageHeader",
    "bad_image",
    "covering_reduction",
    "decode_map",
    "decode_rgb",
    "decode_vectors",
    "equivalent_focal",
    "orient",
    "pillow_to_rgb",
    "read_file",
    "read_header",
    "read_rgb",
    "resize_rgb",
    "without_ends",
]
