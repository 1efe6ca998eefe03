"""Geometry of cameras and points: pure functions on tensors, and robust solvers on arrays.

Conventions, the same everywhere in codistill:

* Camera axes: x right, y down, z forward (OpenCV). Lengths are in metres if a data set is metric.
* Pixels are (x, y) = (column, row), and the centre of the first pixel is (0, 0): an image of width W covers x from -0.5
  to W - 0.5. Scaling by s maps x to (x + 0.5) s - 0.5.
* Intrinsics are (..., 3, 3) matrices [[fx, skew, cx], [0, fy, cy], [0, 0, 1]].
* A pose is a (..., 4, 4) rigid matrix whose name states its direction: `world_to_camera` maps world coordinates to
  camera coordinates, `camera_to_world` the other way; `pose_b_from_a` maps coordinates in a's frame to b's.
* Quaternions are (..., 4) in the order w, x, y, z.
* A pointmap is (..., row, column, 3): a 3-D point per pixel. Depth is z in the camera frame, 0 where unknown.

Functions named after a tensor take any number of leading batch dimensions, compute in the inputs' floating-point type
on their device, and are differentiable. Robust solvers (`pnp`, `essential`, `rigid`) take NumPy arrays on the host.
"""
