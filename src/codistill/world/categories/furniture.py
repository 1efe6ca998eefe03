"""Furniture to put things on and in: table, shelf, lamp, ladder, clock."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from codistill.world.categories.parts import Part, chance, choose, rounded
from codistill.world.shapes import bar, box, cylinder, ellipsoid, lathe, moved, rod, rotated, torus, tube


def table(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    height, thick = rng.uniform(0.45, 0.78), rng.uniform(0.025, 0.05)
    width, depth = rng.uniform(0.7, 1.5), rng.uniform(0.6, 0.9)
    style = choose(rng, novel, ("square legs", "round legs", "pedestal"), ("trestle",))
    round_top = style == "pedestal" or (style == "round legs" and chance(rng, 0.4))
    if round_top:
        depth = width = min(width, 1.1)
        yield "body", moved(cylinder(width / 2, thick, segments=40), (0, 0, height - thick))
    else:
        yield "body", box((width, depth, thick), (0, 0, height - thick / 2), 0.008)
    under = height - thick
    if style == "pedestal":
        profile = [
            (0.0, 0),
            (width * 0.3, 0),
            (width * 0.28, 0.03),
            (0.05, 0.08),
            (0.035, under * 0.5),
            (0.06, under),
        ]
        yield "trim", lathe(profile)
        return
    inset = 0.24 if round_top else 0.07
    x, y = width / 2 - inset, depth / 2 - inset
    if style == "trestle":
        for sx in (-x, x):
            yield "trim", bar((sx, -y, 0), (sx, y * 0.4, under), 0.05)
            yield "trim", bar((sx, y, 0), (sx, -y * 0.4, under), 0.05)
        yield "trim", bar((-x, 0, under * 0.62), (x, 0, under * 0.62), 0.04)
        return
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot, top = (sx * x, sy * y, 0), (sx * x, sy * y, under)
            yield "trim", bar(foot, top, 0.06) if style == "square legs" else rod(foot, top, 0.02, 0.035)
    if not round_top:
        yield "trim", box((width - 0.12, depth - 0.12, 0.09), (0, 0, under - 0.045), 0.006)


def shelf(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width, depth, height = rng.uniform(0.6, 1.1), rng.uniform(0.25, 0.35), rng.uniform(1.1, 1.9)
    levels = int(rng.integers(3, 6))
    t = 0.025
    if novel:
        for x in (-1, 1):
            for y in (-1, 1):
                foot = (x * width / 2, y * depth / 2)
                yield "trim", rod((*foot, 0), (*foot, height), 0.014)
    else:
        for x in (-1, 1):
            yield "body", box((t, depth, height), (x * width / 2, 0, height / 2), 0.004)
        yield "trim", box((width, 0.012, height - 0.04), (0, depth / 2 - 0.01, height / 2), 0.002)
    heights = np.linspace(0.08, height - t / 2, levels + 1)
    for z in heights:
        yield "body", box((width, depth, t), (0, 0, z), 0.004)
    for low, high in pairwise(heights):
        x, room = -width / 2 + 0.04, high - low - 0.05
        while x < width / 2 - 0.1:
            if chance(rng, 0.25):
                x += rng.uniform(0.05, 0.2)
                continue
            w, h = rng.uniform(0.02, 0.05), room * rng.uniform(0.6, 0.9)
            slot = ("detail", "extra")[int(rng.integers(2))]
            yield slot, box((w * 0.92, depth * 0.7, h), (x + w / 2, -0.02, low + t / 2 + h / 2), 0.003)
            x += w


def lamp(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    floor = chance(rng, 0.4)
    height = rng.uniform(1.3, 1.6) if floor else rng.uniform(0.38, 0.55)
    shade = rng.uniform(0.16, 0.24) if floor else rng.uniform(0.12, 0.18)
    tall = shade * rng.uniform(0.9, 1.3)
    style = choose(rng, novel, ("stick", "turned"), ("tripod",))
    foot = height - tall * 0.6
    if style == "tripod":
        for k in range(3):
            a = 2 * np.pi * k / 3 + 0.5
            reach = height * 0.28
            yield "trim", rod((reach * np.cos(a), reach * np.sin(a), 0), (0, 0, foot * 0.9), 0.012)
        yield "trim", rod((0, 0, foot * 0.85), (0, 0, foot + 0.03), 0.012)
    elif style == "turned" and not floor:
        b = shade * 0.62
        profile = [
            (0.0, 0),
            (b, 0),
            (b, 0.015),
            (b * 0.4, 0.04),
            (b * 0.95, foot * 0.4),
            (b * 0.3, foot * 0.8),
            (0.012, foot + 0.03),
        ]
        yield "trim", lathe(rounded(profile))
    else:
        yield "trim", cylinder(shade * 0.7, 0.025, shade * 0.66)
        yield "trim", rod((0, 0, 0.02), (0, 0, foot + 0.03), 0.013)
    low, top = shade, shade * rng.uniform(0.5, 0.8)
    z = height - tall
    profile = [(low, z), (top, height), (top - 0.006, height), (low - 0.006, z)]
    yield "light", lathe([*profile, (low, z)], 36)
    yield "bulb", ellipsoid(0.07, (0, 0, z + tall * 0.4))


def ladder(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    height, width = rng.uniform(1.1, 1.8), rng.uniform(0.38, 0.5)
    spread = height * rng.uniform(0.28, 0.36)
    rungs = int(rng.integers(4, 7))
    for sx in (-1, 1):
        low, high = sx * width / 2, sx * width * 0.36
        yield "body", bar((low, -spread, 0), (high, 0, height), 0.05, 0.03)
        yield "trim", bar((low, spread, 0), (high, 0.02, height), 0.04, 0.03)
    for k in range(1, rungs + 1):
        t = k / (rungs + 0.5)
        half = width / 2 + (width * 0.36 - width / 2) * t
        y = -spread * (1 - t)
        yield "detail", box((2 * half, 0.075, 0.028), (0, y, height * t), 0.006)
        if novel or k % 2:
            yield "trim", rod((-half, -y, height * t), (half, -y, height * t), 0.012)
    yield "detail", box((width * 0.85, 0.16, 0.04), (0, 0, height), 0.01)


def clock(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    r = rng.uniform(0.07, 0.11)
    thick = r * rng.uniform(0.5, 0.7)
    face = rotated(cylinder(r, thick, segments=40), "x", 90)
    rim = rotated(torus(r, r * 0.09, 40), "x", 90)
    z = r * 1.25
    front = -thick - 0.002
    yield "body", moved(face, (0, 0, z))
    yield "trim", moved(rim, (0, -thick, z))
    dial = rotated(cylinder(r * 0.9, 0.004, segments=40, bevel=0.001), "x", 90)
    yield "extra", moved(dial, (0, front + 0.002, z))
    for k in range(12):
        a = 2 * np.pi * k / 12
        size = r * (0.2 if k % 3 == 0 else 0.1)
        mark = moved(box((r * 0.05, 0.004, size), bevel=0), (0, 0, r * 0.72))
        yield "detail", moved(rotated(mark, "y", np.degrees(a)), (0, front - 0.004, z))
    for length, w in ((0.5, 0.07), (0.72, 0.045)):
        hand = moved(box((r * w, 0.004, r * length), bevel=0), (0, 0, r * length / 2 - 0.005))
        yield "detail", moved(rotated(hand, "y", rng.uniform(0, 360)), (0, front - 0.008, z))
    bells = choose(rng, novel, (True, False), (False,))
    for sx in (-1, 1):
        foot = (sx * r * 0.75, -thick / 2, 0)
        yield "trim", rod(foot, (sx * r * 0.45, -thick / 2, r * 0.5), r * 0.09)
        if bells:
            bell = lathe([(r * 0.32, 0), (r * 0.3, r * 0.14), (r * 0.14, r * 0.26), (0.001, r * 0.29)], 24)
            yield "trim", moved(rotated(bell, "y", sx * 35), (sx * r * 0.55, -thick / 2, z + r * 0.95))
    if bells or novel:
        arc = [
            (r * 0.45 * np.cos(a), -thick / 2, z + r * 1.05 + r * 0.4 * np.sin(a))
            for a in np.linspace(0.1, np.pi - 0.1, 9)
        ]
        yield "trim", tube(arc, r * 0.05, 8)
    if novel:
        yield "trim", box((r * 1.9, thick * 1.2, r * 0.25), (0, -thick / 2, r * 0.12), 0.004)
