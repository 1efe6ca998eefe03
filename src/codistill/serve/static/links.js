// Lines between matching places of two pictures, over both panels.

const MOST = 90;

export function drawLinks(canvas, panels, matches) {
  const box = canvas.getBoundingClientRect(), ratio = Math.min(devicePixelRatio || 1, 2);
  Object.assign(canvas, { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) });
  const places = panels.map((panel) => panel.place());
  if (!matches || places.some((place) => !place)) return;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const point = (number, x, y) => {
    const place = places[number], about = panels[number].shown.about;
    return [place.box.left - box.left + place.left + (x / about.width) * place.width,
      place.box.top - box.top + place.top + (y / about.height) * place.height];
  };
  const step = Math.max(1, Math.ceil(matches.length / 4 / MOST));
  for (let i = 0; i < matches.length / 4; i += step) {
    const a = point(0, matches[4 * i], matches[4 * i + 1]), b = point(1, matches[4 * i + 2], matches[4 * i + 3]);
    context.strokeStyle = `hsl(${(i * 137.5) % 360} 85% 62% / .75)`;
    context.fillStyle = context.strokeStyle;
    context.lineWidth = 1.2;
    context.beginPath();
    context.moveTo(...a);
    context.lineTo(...b);
    context.stroke();
    for (const [x, y] of [a, b]) {
      context.beginPath();
      context.arc(x, y, 2.4, 0, 7);
      context.fill();
    }
  }
}
