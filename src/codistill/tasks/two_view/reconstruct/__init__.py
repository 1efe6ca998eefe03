"""Reconstruct cameras and a coloured point cloud from images of one place, with any two-view model.

`images` pictures and their EXIF focal length · `edges` predictions and consistency of pairs · `start` a first guess by
a spanning tree · `align` global alignment · `scene` the result · `files`, `preview` GLB, PLY, COLMAP, JSON, PNG ·
`reconstruct` all steps.

Source: DUSt3R (arXiv 2312.14132), section 3.3-3.4.
"""
