"""Build the demo page: one HTML file that contains its pictures, styles and script, and loads nothing else."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from PIL import Image

from codistill.demo.pictures import Cloud, FeatureSheet, Seen
from codistill.demo.story import Story, Taught
from codistill.imaging.colours import number_colours
from codistill.metrics.interval import Interval
from codistill.weights.licences import licences_of

TITLE = "One encoder. Every answer."
_REACH = 32767
"""Largest value of a point's coordinate, stored as a 16-bit integer."""


def demo_page(story: Story) -> str:
    """The page as text."""
    style, script = (
        resources.files("codistill.demo").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    body = "".join(
        (_hero(story), _live(story), _features(story), _space(story), _scores(story), _commands(story))
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>codistill: {TITLE}</title><style>{style}</style></head><body><main>"
        '<div class="brand">codistill <span>one vision encoder, distilled from several unlike teachers</span></div>'
        f"{body}</main><script>{script}</script></body></html>\n"
    )


def _hero(story: Story) -> str:
    encoder = story.facts["encoder"]
    heads = list(story.facts["heads"])
    weights = encoder["parameters"] / 1e6
    first = story.seen[0].seconds
    lead = (
        f"<b>{html.escape(story.model)}</b> was distilled from three teachers: one for images, one for "
        f"3-D space, one for people. It sees an image once, and {len(heads)} small heads read their answers from its "
        f"tokens: {html.escape(_listed(heads))}. Nothing left this machine."
    )
    numbers = (
        (f"{weights:.1f} M", "weights in the encoder"),
        (f"{1000 * first['encode']:.0f} ms", "for its one pass, on this processor"),
        (f"{story.took / 60:.1f} min", "to make this page, training included"),
    )
    facts = "".join(
        f"<li><b>{html.escape(n)}</b><span>{html.escape(what)}</span></li>" for n, what in numbers
    )
    return (
        f'<div class="hero"><div><h1>{TITLE}</h1><p class="lead">{lead}</p><ul class="facts">{facts}</ul>'
        f"{_times(first)}</div>{_stage(story.seen)}</div>"
    )


def _stage(seen: Sequence[Seen]) -> str:
    """HTML of the pictures, stacked, with buttons to choose picture and view."""
    frames, picks = [], []
    for number, one in enumerate(seen):
        images = "".join(
            f'<img class="{"on" if view == "image" else ""}" data-view="{html.escape(view)}" '
            f'data-said="{html.escape(_said(one, view))}" alt="{html.escape(f"{one.title}: {view}")}" '
            f'src="{_jpeg(picture)}">'
            for view, picture in one.views.items()
        )
        frames.append(f"<div{' hidden' if number else ''}>{images}</div>")
        small = np.asarray(Image.fromarray(one.views["image"]).resize((96, 96)))
        picks.append(
            f'<button aria-pressed="{"false" if number else "true"}" title="{html.escape(one.title)}">'
            f'<img alt="{html.escape(one.title)}" src="{_jpeg(small)}"></button>'
        )
    return (
        f'<figure class="stage"><div class="frames">{"".join(frames)}<div class="said"></div></div>'
        f'<div class="tabs views"></div><div class="tabs picks">{"".join(picks)}</div></figure>'
    )


def _said(one: Seen, view: str) -> str:
    """The line below a view: the image's title, or the head's answer."""
    return one.title if view == "image" else one.said.get(view, "")


def _times(seconds: Mapping[str, float]) -> str:
    colours = [f"rgb({r} {g} {b})" for r, g, b in number_colours(len(seconds)).tolist()]
    parts = "".join(
        f'<i style="flex:{1000 * value:.3f};background:{colour}"></i>'
        for value, colour in zip(seconds.values(), colours, strict=True)
    )
    keys = "".join(
        f'<li><i style="background:{colour}"></i>{html.escape("one pass" if name == "encode" else name)} '
        f"{1000 * value:.0f} ms</li>"
        for (name, value), colour in zip(seconds.items(), colours, strict=True)
    )
    return f'<div class="bar">{parts}</div><ul class="key">{keys}</ul>'


def _live(story: Story) -> str:
    cards = "".join(_teacher(one) for one in story.teachers)
    text = (
        f"A fresh student was distilled while you waited: {story.steps} steps of {story.batch} images in "
        f"{story.seconds:.0f} s, from {len(story.teachers)} teachers at once. Every teacher sees every image, "
        "whatever its domain. One loss curve per teacher:"
    )
    return (
        f"<section><h2>Distilled on this machine, just now</h2><p>{text}</p>"
        f'<div class="cards">{cards}</div>{_likeness(story)}</section>'
    )


def _teacher(one: Taught) -> str:
    about = f"{one.encoder}; its own images: {one.domain}; licence: {', '.join(licences_of(one.licence))}"
    return (
        f'<div class="card"><h3>{html.escape(one.name)}</h3><p>{html.escape(about)}</p>'
        f"{_curve(one.steps, one.losses)}</div>"
    )


def _curve(steps: np.ndarray, losses: np.ndarray) -> str:
    """Plot of a teacher's loss, with its first and last value."""
    if len(steps) < 2:
        return ""
    low, high = float(losses.min()), float(losses.max())
    x = 4 + 292 * (steps - steps[0]) / max(1, steps[-1] - steps[0])
    y = 8 + 74 * (high - losses) / max(1e-9, high - low)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    style = 'fill="currentColor" font-size="11" opacity=".7"'
    return (
        f'<svg viewBox="0 0 300 104" role="img" aria-label="loss from {losses[0]:.2f} to {losses[-1]:.2f}">'
        f'<polyline points="{points}" fill="none" stroke="var(--accent)" stroke-width="2" stroke-linejoin="round"/>'
        f'<text x="4" y="100" {style}>loss {losses[0]:.2f}</text>'
        f'<text x="296" y="100" text-anchor="end" {style}>{losses[-1]:.2f} after {int(steps[-1]) + 1} steps</text>'
        "</svg>"
    )


def _likeness(story: Story) -> str:
    names = [one.name for one in story.teachers]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{html.escape(student)}</td>"
        + "".join(f'<td class="number">{_shown(by[name]) if name in by else ""}</td>' for name in names)
        + "</tr>"
        for student, by in story.likeness.items()
    )
    caption = (
        f"Cosine similarity of a prediction to each teacher's standardized tokens, on {story.held_out} "
        "held-out pictures of the world just made; 95 % intervals. 0 is a guess, 1 a copy."
    )
    return (
        f'<div class="scroll"><table><tr><th>predicted by</th>{head}</tr>{rows}</table></div>'
        f'<p class="small">{caption}</p>'
    )


def _features(story: Story) -> str:
    return (
        "<section><h2>What teachers see, and what one student keeps</h2><p>The first three principal components of "
        "each encoder's patches as colours: where colours agree, patches are alike to that encoder.</p>"
        f"{_sheet(story.sheet)}</section>"
    )


def _sheet(sheet: FeatureSheet) -> str:
    cells = [f"<span>{html.escape(name)}</span>" for name in sheet.names]
    for row in sheet.rows:
        cells += [
            f'<img alt="{html.escape(name)}" src="{_jpeg(picture)}">'
            for name, picture in zip(sheet.names, row, strict=True)
        ]
    columns = f"grid-template-columns: repeat({len(sheet.names)}, minmax(0, 1fr))"
    return f'<div class="scroll"><div class="sheet" style="{columns}">{"".join(cells)}</div></div>'


def _space(story: Story) -> str:
    if story.cloud is None:
        return ""
    pair = "".join(
        f'<img alt="view {n}" src="{_jpeg(picture)}">' for n, picture in enumerate(story.cloud.pair, 1)
    )
    return (
        "<section><h2>Two pictures make a place</h2><p>The same tokens of two views, read by one more head: points in "
        f"metres, the second camera found on the way. {html.escape(story.cloud.said)}. Turn it.</p>"
        f'<div class="space"><div class="pair">{pair}</div>{_canvas(story.cloud)}</div></section>'
    )


def _canvas(cloud: Cloud) -> str:
    """Canvas of points about their centre, as 16-bit integers, scaled by the distance within which 95 % of them lie."""
    middle = np.median(cloud.points, axis=0) if len(cloud.points) else np.zeros(3)
    centred = cloud.points - middle
    reach = float(np.quantile(np.abs(centred), 0.95)) if len(centred) else 1.0
    kept = np.abs(centred).max(axis=1) < 2 * reach
    sent = np.round(centred[kept] / (2 * reach) * _REACH).astype("<i2")
    return (
        f'<canvas role="img" aria-label="the points in space" data-points="{_base64(sent.tobytes())}" '
        f'data-colours="{_base64(np.ascontiguousarray(cloud.colours[kept]).tobytes())}"></canvas>'
    )


def _scores(story: Story) -> str:
    if not story.scores:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(head)}</td><td>{html.escape(score)}</td>"
        f'<td class="number">{html.escape(value)}</td><td>{html.escape(where)}</td></tr>'
        for head, score, value, where in story.scores
    )
    return (
        f"<section><h2>How good {html.escape(story.model)} is</h2><p>Heads on its frozen features, measured on "
        "pictures that it never saw; 95 % intervals. It is small and learnt mostly from rendered pictures: on "
        "photographs expect less.</p>"
        f'<div class="scroll"><table><tr><th>head</th><th>score</th><th>value</th><th>measured on</th></tr>{rows}'
        "</table></div></section>"
    )


def _commands(story: Story) -> str:
    steps = "".join(
        f"<p>{html.escape(what)}</p><pre>{html.escape(command)}</pre>" for what, command in story.commands
    )
    licences = ", ".join(
        dict.fromkeys(
            f"{facts.get('name') or name}: {facts.get('licence') or 'not stated'}"
            for name, facts in (("encoder", story.facts["encoder"]), *story.facts["heads"].items())
        )
    )
    return (
        f"<section><h2>Every step is a command</h2>{steps}"
        f'<p class="small">Licences of the weights: {html.escape(licences)}.</p></section>'
    )


def _shown(value: Interval) -> str:
    return f"{value.mean:.2f} [{value.limits(2)}]"


def _listed(names: Sequence[str]) -> str:
    shown = ["two views" if name == "two-view" else name.replace("-", " ") for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _jpeg(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{_base64(buffer.getvalue())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
