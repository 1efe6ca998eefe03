"""Images of one place to cameras and a coloured point cloud, with any two-view model.

`images` pictures and their EXIF focal · `edges` predictions and consistency of pairs · `start` a spanning tree
· `align` global alignment · `scene` the result · `files`, `preview` GLB, PLY, COLMAP, JSON, PNG · `reconstruct` all.
Source: DUSt3R (arXiv 2312.14132), section 3.3-3.4.
"""
