// One picture with its overlay: drawing at the display's resolution, values under the pointer, patches to click.

import { describeAt } from "./colours.js";

const HARD = new Set(["segmentation", "picture"]);

export class Panel extends EventTarget {
  constructor(figure, number) {
    super();
    this.figure = figure;
    this.number = number;
    this.canvas = figure.querySelector("canvas");
    this.readout = figure.querySelector(".readout");
    this.shown = null; // { bitmap, pictures, about, overlay, opacity, people, marks }
    new ResizeObserver(() => this.draw()).observe(figure);
    this.canvas.addEventListener("pointermove", (event) => this.read(event));
    this.canvas.addEventListener("pointerleave", () => { this.readout.textContent = ""; });
    this.canvas.addEventListener("click", (event) => this.click(event));
  }

  show(shown) {
    this.shown = shown;
    this.figure.querySelector(".name").textContent = shown?.about?.name ?? "";
    this.draw();
  }

  // Where the picture lies within the panel, in CSS pixels.
  place() {
    const box = this.figure.getBoundingClientRect(), bitmap = this.shown?.bitmap;
    if (!bitmap || !box.width) return null;
    const scale = Math.min(box.width / bitmap.width, box.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    return { left: (box.width - width) / 2, top: (box.height - height) / 2, width, height, box };
  }

  draw() {
    const place = this.place(), context = this.canvas.getContext("2d");
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const box = this.figure.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    if (place) paint(context, place, this.shown, this.number);
  }

  at(event) {
    const place = this.place();
    if (!place) return null;
    const x = (event.clientX - place.box.left - place.left) / place.width;
    const y = (event.clientY - place.box.top - place.top) / place.height;
    return x >= 0 && x < 1 && y >= 0 && y < 1 ? { x, y } : null;
  }

  read(event) {
    const at = this.at(event), shown = this.shown;
    this.readout.textContent = at && shown?.pictures ? describeAt(shown.pictures, this.number, at.x, at.y) : "";
  }

  click(event) {
    const at = this.at(event), grid = this.shown?.about?.grid;
    if (!at || !grid) return;
    const row = Math.floor(at.y * grid[0]), column = Math.floor(at.x * grid[1]);
    this.dispatchEvent(new CustomEvent("patch", { detail: { image: this.number, row, column } }));
  }
}

// Draws a picture and what lies over it into a place { left, top, width, height }.
export function paint(context, place, shown, number) {
  const { left, top, width, height } = place;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(shown.bitmap, left, top, width, height);
  const overlay = shown.overlay && shown.pictures?.get(shown.overlay, number);
  if (overlay) {
    context.globalAlpha = shown.opacity;
    context.imageSmoothingEnabled = !HARD.has(shown.pictures.kind(shown.overlay, number));
    context.drawImage(overlay, left, top, width, height);
    context.globalAlpha = 1;
  }
  const found = shown.about?.answers[shown.people]?.people;
  if (found) people(context, place, shown, found, number);
  for (const mark of shown.marks ?? []) square(context, place, mark, shown.about.grid);
}

function people(context, place, { about, pictures }, found, number) {
  const { left, top, width, height } = place, [sx, sy] = [width / about.width, height / about.height];
  const hue = getComputedStyle(document.documentElement).getPropertyValue("--people");
  context.lineWidth = 2;
  context.font = "600 12px system-ui, sans-serif";
  found.forEach((one, i) => {
    body(context, place, about, pictures.arrays[`body/${number}/${i}`], one.body, hue);
    const [x0, y0, x1, y1] = one.box;
    context.strokeStyle = hue;
    context.beginPath();
    context.roundRect(left + x0 * sx, top + y0 * sy, (x1 - x0) * sx, (y1 - y0) * sy, 6);
    context.stroke();
    context.fillStyle = "#fff";
    context.strokeStyle = "#0009";
    for (const [x, y] of one.joints) {
      if (x < 0 || y < 0 || x > about.width || y > about.height) continue;
      context.beginPath();
      context.arc(left + x * sx, top + y * sy, 2.2, 0, 7);
      context.fill();
    }
    const text = `${Math.round(one.score * 100)} %`, at = [left + x0 * sx, Math.max(top, top + y0 * sy - 20)];
    context.fillStyle = hue;
    context.beginPath();
    context.roundRect(at[0], at[1], context.measureText(text).width + 12, 18, 5);
    context.fill();
    context.fillStyle = "#14060d";
    context.fillText(text, at[0] + 6, at[1] + 13);
  });
}

// The vertices of a body as a veil over the picture.
function body(context, { left, top, width }, about, values, { low, step }, hue) {
  const scale = width / about.width, dot = Math.max(1, width / 380);
  context.fillStyle = hue;
  context.globalAlpha = 0.5;
  for (let i = 0; i < (values?.length ?? 0); i += 6) {
    const z = low[2] + values[i + 2] * step[2];
    const x = about.width / 2 + (about.focal * (low[0] + values[i] * step[0])) / z;
    const y = about.height / 2 + (about.focal * (low[1] + values[i + 1] * step[1])) / z;
    if (x >= 0 && y >= 0 && x < about.width && y < about.height) context.fillRect(left + x * scale, top + y * scale, dot, dot);
  }
  context.globalAlpha = 1;
}

function square(context, { left, top, width, height }, mark, grid) {
  const [w, h] = [width / grid[1], height / grid[0]];
  context.lineWidth = 2.5;
  context.strokeStyle = "#000a";
  context.strokeRect(left + mark.column * w - 1.5, top + mark.row * h - 1.5, w + 3, h + 3);
  context.strokeStyle = mark.colour;
  context.strokeRect(left + mark.column * w, top + mark.row * h, w, h);
}
