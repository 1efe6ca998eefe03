import numpy as np

from codistill.world.layout import Footprint, scatter
from codistill.world.looks import Palette
from codistill.world.things import build_thing


def test_rectangles_overlap_only_where_no_axis_parts_them():
    square = Footprint(np.zeros(2), np.array([1.0, 1.0]), 0.0)
    assert square.overlaps(Footprint(np.array([1.9, 0.0]), np.array([1.0, 1.0]), 0.0))
    assert not square.overlaps(Footprint(np.array([2.1, 0.0]), np.array([1.0, 1.0]), 0.0))
    assert square.overlaps(Footprint(np.array([2.1, 0.0]), np.array([1.0, 1.0]), 0.0), gap=0.2)
    # A diamond in the corner: the bounding boxes meet, the shapes do not.
    diamond = Footprint(np.array([1.8, 1.8]), np.array([1.0, 1.0]), 45.0)
    assert not square.overlaps(diamond)
    assert square.overlaps(Footprint(np.array([1.6, 1.6]), np.array([1.0, 1.0]), 45.0))


def test_scattered_things_do_not_run_into_each_other():
    rng = np.random.default_rng(0)
    palette = Palette.draw(rng)
    things = [
        build_thing(name, rng, palette) for name in ("chair", "table", "barrel", "box", "sofa", "bench")
    ]
    placed = scatter(things, rng, 1.5, 0.0, 0.05, [])
    assert len(placed) >= 4
    solids = [np.concatenate([m.transformed(p.pose).vertices for _, m in p.thing.parts]) for p in placed]
    for i, a in enumerate(placed):
        local = [(s[:, :2] - a.footprint.center) @ a.footprint.axes().T for s in solids]
        inside = [(np.abs(v) < a.footprint.half).all(axis=1).sum() for v in local]
        assert sum(n for k, n in enumerate(inside) if k != i) == 0
