import numpy as np

from codistill.render.mesh import compact


def test_unused_vertices_are_left_out_and_the_corners_stay():
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(50, 3)), rng.integers(0, 50, (9, 3)).astype(np.int32)
    used, numbered = compact(faces, len(vertices))
    np.testing.assert_array_equal(used, np.unique(faces))
    np.testing.assert_array_equal(vertices[used][numbered], vertices[faces])
    none, empty = compact(np.empty((0, 3), np.int32), 50)
    assert none.shape == (0,) and empty.shape == (0, 3)
