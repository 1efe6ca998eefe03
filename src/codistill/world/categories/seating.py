"""Things to sit and lie on: chair, stool, bench, sofa, bed."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from codistill.world.categories.parts import Part, chance, choose
from codistill.world.shapes import bar, box, cylinder, ellipsoid, lathe, moved, rod, tube


def chair(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width, depth, seat = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.48), rng.uniform(0.42, 0.48)
    back = rng.uniform(0.38, 0.6)
    x, y = width / 2 - 0.025, depth / 2 - 0.025
    lean = rng.uniform(0.03, 0.1)
    legs = choose(rng, novel, ("square", "round", "splayed"), ("sled",))
    if legs == "sled":
        for s in (-x, x):
            path = [(s, y, seat), (s, y, 0.02), (s, -y, 0.02), (s, -y, seat)]
            for a, b in pairwise(path):
                yield "trim", rod(a, b, 0.016)
    else:
        out = 0.05 if legs == "splayed" else 0.0
        for sx in (-1, 1):
            for sy in (-1, 1):
                top, foot = (sx * x, sy * y, seat), (sx * (x + out), sy * (y + out), 0.0)
                leg = bar(foot, top, 0.04) if legs == "square" else rod(foot, top, 0.014, 0.022)
                yield "trim", leg
    if chance(rng, 0.5):
        yield "body", box((width, depth, 0.035), (0, 0, seat), 0.01)
    else:
        yield "body", ellipsoid((width * 1.04, depth * 1.04, 0.09), (0, 0, seat + 0.02), 0.35)
    top = seat + back
    for sx in (-x, x):
        yield "trim", rod((sx, y, seat - 0.01), (sx, y + lean, top), 0.018)
    style = choose(rng, novel, ("panel", "slats", "spindles"), ("ladder", "cushion"))
    if style == "panel":
        yield "body", box((width - 0.03, 0.025, back * 0.6), (0, y + lean * 0.7, top - back * 0.32), 0.01)
    elif style == "cushion":
        yield "body", ellipsoid((width, 0.1, back * 0.8), (0, y + lean * 0.6, seat + back * 0.55), 0.4)
    elif style == "ladder":
        for t in np.linspace(0.3, 1.0, 4):
            yield "body", box((width, 0.02, 0.05), (0, y + lean * t, seat + back * t - 0.03), 0.006)
    else:
        yield "trim", box((width + 0.02, 0.03, 0.06), (0, y + lean, top), 0.01)
        count, radius = (3, 0.026) if style == "slats" else (6, 0.009)
        for sx in np.linspace(-x, x, count + 2)[1:-1]:
            yield "trim", rod((sx, y, seat), (sx, y + lean, top), radius)
    if chance(rng, 0.25):
        for sx in (-x - 0.01, x + 0.01):
            arm = seat + 0.2
            yield "trim", box((0.045, depth, 0.03), (sx, 0.01, arm), 0.008)
            yield "trim", rod((sx, -y, seat), (sx, -y, arm), 0.016)


def stool(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, height = rng.uniform(0.15, 0.2), rng.uniform(0.45, 0.75)
    thick = rng.uniform(0.03, 0.07)
    yield "body", moved(cylinder(radius, thick, bevel=0.012), (0, 0, height - thick))
    style = choose(rng, novel, (3, 4), (1,))
    if style == 1:
        profile = [(0.0, 0), (radius * 0.95, 0), (radius * 0.9, 0.02), (0.03, 0.045), (0.025, height - thick)]
        yield "trim", lathe(profile)
        yield "trim", moved(_ring(radius * 0.7, 0.01), (0, 0, height * 0.35))
        return
    for k in range(style):
        a = 2 * np.pi * k / style + 0.4
        direction = np.array([np.cos(a), np.sin(a), 0.0])
        yield "trim", rod(direction * radius * 1.15, direction * radius * 0.7 + [0, 0, height - thick], 0.016)
    yield "trim", moved(_ring(radius * 0.96, 0.009), (0, 0, height * 0.4))


def _ring(radius: float, thick: float):
    a = np.linspace(0, 2 * np.pi, 33)
    return tube(np.column_stack([radius * np.cos(a), radius * np.sin(a), 0 * a]), thick, 8)


def bench(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    length, depth, seat = rng.uniform(1.2, 1.8), rng.uniform(0.38, 0.46), rng.uniform(0.42, 0.47)
    slats = int(rng.integers(3, 5))
    for y in np.linspace(-depth / 2, depth / 2, slats):
        yield "body", box((length, depth / slats * 0.8, 0.035), (0, y, seat), 0.008)
    backed = not novel and chance(rng, 0.75)
    if backed:
        for z, y in ((0.16, 0.03), (0.29, 0.06), (0.42, 0.09)):
            yield "body", box((length, 0.03, 0.085), (0, depth / 2 + y, seat + z), 0.008)
    for x in (-length * 0.4, length * 0.4):
        for y in (-depth * 0.42, depth * 0.42):
            yield "trim", bar((x, y, 0), (x, y, seat), 0.05)
        yield "trim", box((0.05, depth, 0.05), (x, 0, seat - 0.04), 0.008)
        if backed:
            yield "trim", bar((x, depth * 0.45, seat - 0.02), (x, depth / 2 + 0.13, seat + 0.48), 0.045)
            yield "trim", box((0.05, depth, 0.03), (x, 0, seat + 0.2), 0.008)
            yield "trim", bar((x, -depth * 0.42, seat), (x, -depth * 0.42, seat + 0.2), 0.04)


def sofa(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    seats = choose(rng, novel, (2, 3), (1,))
    width, depth = seats * rng.uniform(0.6, 0.72), rng.uniform(0.75, 0.9)
    seat, back, arm = rng.uniform(0.38, 0.45), rng.uniform(0.38, 0.5), rng.uniform(0.14, 0.2)
    full = width + 2 * arm
    round_arms = chance(rng, 0.5)
    yield "body", box((full, depth, seat * 0.5), (0, 0, seat * 0.45), 0.03)
    yield "body", ellipsoid((full, 0.26, back + seat * 0.6), (0, depth / 2 - 0.1, seat + back * 0.28), 0.3)
    for x in (-1, 1):
        center = (x * (width + arm) / 2, -0.02, seat * 0.85)
        if round_arms:
            yield "body", ellipsoid((arm * 1.2, depth, seat * 0.95), center, 0.35)
        else:
            yield "body", box((arm, depth * 0.96, seat * 0.95), center, 0.03)
        for y in (-1, 1):
            foot = (x * (full / 2 - 0.07), y * (depth / 2 - 0.07), 0.0)
            yield "detail", moved(cylinder(0.022, seat * 0.25, 0.03), foot)
    step = width / seats
    for k in range(seats):
        x = -width / 2 + step * (k + 0.5)
        yield "trim", ellipsoid((step, depth * 0.8, 0.2), (x, -0.07, seat + 0.04), 0.32)
        yield "trim", ellipsoid((step, 0.2, back * 0.95), (x, depth / 2 - 0.26, seat + back * 0.5), 0.42)
    if chance(rng, 0.4):
        x = rng.choice([-1, 1]) * (width / 2 - 0.2)
        yield "extra", ellipsoid((0.36, 0.14, 0.34), (x, -0.02, seat + 0.27), 0.5)


def bed(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    w, length, h = rng.uniform(0.9, 1.5), rng.uniform(1.9, 2.05), rng.uniform(0.3, 0.42)
    head = rng.uniform(0.35, 0.6)
    yield "trim", box((w + 0.08, length, 0.14), (0, 0, h - 0.07), 0.015)
    yield "extra", ellipsoid((w, length * 0.97, 0.3), (0, 0, h + 0.06), 0.18)
    yield "body", ellipsoid((w + 0.1, length * 0.66, 0.33), (0, -length * 0.16, h + 0.07), 0.2)
    style = choose(rng, novel, ("panel", "bars"), ("padded",))
    y = length / 2 + 0.02
    if style == "panel":
        yield "trim", box((w + 0.1, 0.05, h + head), (0, y, (h + head) / 2), 0.02)
    elif style == "padded":
        yield "detail", ellipsoid((w + 0.2, 0.16, head + 0.4), (0, y, h + head * 0.3), 0.3)
    else:
        for x in np.linspace(-w / 2, w / 2, 8):
            yield "trim", rod((x, y, h - 0.1), (x, y, h + head), 0.014)
        yield "trim", rod((-w / 2, y, h + head), (w / 2, y, h + head), 0.025)
    count = 2 if w > 1.15 else 1
    for k in range(count):
        x = (k - (count - 1) / 2) * w * 0.48
        yield "detail", ellipsoid((w / count * 0.8, 0.38, 0.16), (x, length * 0.36, h + 0.25), 0.55)
    for x in (-1, 1):
        for s in (-1, 1):
            yield "trim", bar((x * w / 2, s * length * 0.48, 0), (x * w / 2, s * length * 0.48, h), 0.06)
