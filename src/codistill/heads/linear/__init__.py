"""Linear heads on frozen patch tokens: segmentation, depth, normals, several at once, and DINOv2's released files.

`segmentation`, `depth` and `normals` hold the heads, `losses` their losses, `sampling` features at single pixels,
`batched` several heads side by side, `released` the published files.
"""
