// The strip: picture → encoder → heads, each with what it gave last, its milliseconds, and a switch.

import { paint } from "./panel.js";

const HUES = { picture: "other", features: "encoder", image: "picture" };

// Colours belong to kinds of answers, words to heads: a head may be called as its user likes.
export const hue = (kind) => `var(--${HUES[kind] ?? kind})`;
export const title = (name) => { const text = name.replace(/[_-]/g, " "); return text[0].toUpperCase() + text.slice(1); };
export const ms = (seconds) => seconds === undefined ? "" : `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms`;

export class Flow extends EventTarget {
  constructor(element) { super(); this.element = element; this.tiles = new Map(); this.on = new Set(); this.selected = "features"; }

  build(perception) {
    this.element.replaceChildren();
    this.tiles.clear();
    this.on = new Set(perception.heads.map((head) => head.name));
    this.add("picture", "image");
    this.element.append(arrow());
    this.add("features", "features");
    this.element.append(arrow());
    for (const { name, kind } of perception.heads) this.add(name, kind, true);
    this.select((perception.heads.find(({ kind }) => kind === "segmentation") ?? perception.heads[0])?.name ?? "features");
  }

  add(name, kind, switchable = false) {
    const tile = document.createElement("div");
    tile.className = `tile ${kind}`;
    tile.dataset.answer = name;
    tile.style.setProperty("--hue", hue(kind));
    const canvas = document.createElement("canvas");
    const row = document.createElement("div"), text = document.createElement("div");
    row.className = "row";
    text.className = "grow";
    const word = document.createElement("div"), time = document.createElement("small");
    word.className = "title";
    word.textContent = title(name);
    text.append(word, time);
    const pick = document.createElement("button");
    pick.type = "button";
    pick.className = "pick";
    pick.setAttribute("aria-label", `Show ${word.textContent.toLowerCase()}`);
    pick.addEventListener("click", () => { this.select(name); this.tell(); });
    row.append(text);
    tile.append(canvas, row, pick);
    if (switchable) row.append(this.makeSwitch(name, tile));
    this.element.append(tile);
    this.tiles.set(name, { tile, canvas, time, pick, kind });
  }

  makeSwitch(name, tile) {
    const label = document.createElement("label"), box = document.createElement("input");
    label.className = "switch";
    box.type = "checkbox";
    box.checked = true;
    box.setAttribute("role", "switch");
    box.setAttribute("aria-label", `Compute ${title(name).toLowerCase()}`);
    box.addEventListener("change", () => {
      this.on[box.checked ? "add" : "delete"](name);
      tile.classList.toggle("off", !box.checked);
      this.dispatchEvent(new CustomEvent("heads"));
    });
    label.append(box);
    return label;
  }

  select(name) {
    this.selected = name;
    for (const [key, { tile, pick }] of this.tiles) {
      tile.classList.toggle("selected", key === name);
      pick.setAttribute("aria-pressed", String(key === name));
    }
  }

  tell() { this.dispatchEvent(new CustomEvent("select")); }

  kind(name) { return this.tiles.get(name)?.kind; }

  // Draws every tile from the last answer.
  show(scene, seconds) {
    const [first] = scene.images, bitmap = scene.bitmaps[0];
    const scale = Math.max(WIDTH / bitmap.width, HEIGHT / bitmap.height);
    const place = { width: bitmap.width * scale, height: bitmap.height * scale };
    Object.assign(place, { left: (WIDTH - place.width) / 2, top: (HEIGHT - place.height) / 2 });
    for (const [name, { tile, canvas, time, kind }] of this.tiles) {
      Object.assign(canvas, { width: WIDTH, height: HEIGHT });
      const shown = { bitmap, pictures: scene.pictures, about: first, overlay: name, opacity: 1 };
      if (kind === "people") shown.people = name;
      if (kind === "features" || kind === "image" || first.answers[name]) paint(canvas.getContext("2d"), place, shown, 0);
      if (kind === "two_view") pair(canvas.getContext("2d"), scene);
      if (kind === "labels") tops(tile, first.answers[name]?.top ?? []);
      time.textContent = this.time(name, kind, scene, seconds);
    }
  }

  time(name, kind, scene, seconds) {
    const first = scene.images[0];
    if (kind === "image") return `${first.width} × ${first.height}`;
    if (kind === "features") return `one pass · ${ms(seconds.encode)}`;
    if (!this.on.has(name)) return "off";
    if (kind === "two_view" && scene.images.length < 2) return "needs two";
    const found = first.answers[name]?.people?.length;
    return (found === undefined ? "" : `${found} · `) + ms(seconds[name]);
  }
}

const [WIDTH, HEIGHT] = [320, 240];

function pair(context, { bitmaps, arrays, images }) {
  const half = WIDTH / 2 - 2;
  const places = bitmaps.slice(0, 2).map((bitmap, i) => {
    const scale = half / bitmap.width;
    const place = { left: i * (half + 4), top: (HEIGHT - bitmap.height * scale) / 2, width: half, height: bitmap.height * scale };
    context.globalAlpha = bitmaps.length > 1 ? 1 : 0.3;
    context.drawImage(bitmap, place.left, place.top, place.width, place.height);
    return place;
  });
  const matches = arrays["matches/0/1"] ?? [];
  for (let i = 0; i < matches.length; i += 4 * Math.max(1, Math.ceil(matches.length / 4 / 40))) {
    context.strokeStyle = `hsl(${(i * 34) % 360} 85% 62%)`;
    context.beginPath();
    places.forEach((place, k) => context.lineTo(
      place.left + (matches[i + 2 * k] / images[k].width) * place.width,
      place.top + (matches[i + 2 * k + 1] / images[k].height) * place.height));
    context.stroke();
  }
}

function arrow() {
  const mark = document.createElement("span");
  mark.className = "arrow";
  mark.textContent = "→";
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

function tops(tile, top) {
  const list = tile.querySelector(".tops") ?? tile.appendChild(Object.assign(document.createElement("div"), { className: "tops" }));
  list.replaceChildren(...top.slice(0, 3).map((one) => {
    const row = document.createElement("div"), name = document.createElement("span"), score = document.createElement("span");
    name.textContent = one.name;
    score.textContent = `${Math.round(100 * one.score)} %`;
    const meter = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: one.score });
    row.append(name, score, meter);
    return row;
  }));
}
