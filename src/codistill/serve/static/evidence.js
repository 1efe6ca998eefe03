// The claim in one chart, from this page's own milliseconds; and what was trained on what, with licences.

import { hue, ms, title } from "./flow.js";

const OWN = ["decode", "preprocess"];
const AROUND = { wait: "waiting for a turn", pack: "packing", draw: "drawing", network: "network and browser" };

export class Chart {
  constructor(element) { this.element = element; this.smooth = {}; }

  // Frames of a stream are averaged a little, so that the bars can be read.
  // heads: [{ name, kind }]
  show(seconds, live, heads) {
    for (const [name, value] of Object.entries(seconds)) {
      const before = this.smooth[name];
      this.smooth[name] = live && before !== undefined ? 0.8 * before + 0.2 * value : value;
    }
    for (const name of Object.keys(this.smooth)) if (!(name in seconds)) delete this.smooth[name];
    this.draw(heads);
  }

  draw(all) {
    const s = this.smooth, heads = all.filter(({ name }) => s[name] !== undefined);
    const before = OWN.reduce((sum, name) => sum + (s[name] ?? 0), 0), encode = s.encode ?? 0;
    const tail = heads.map(({ name, kind }) => [name, title(name), s[name], hue(kind)]);
    const head = ["before", "decoding, resizing", before, "var(--overhead)"];
    const one = [head, ["encode", "encoder", encode, "var(--encoder)"], ...tail];
    const many = [head, ...tail.flatMap((part, i) => [["encode", `encoder ${i + 1}`, encode, "var(--encoder)"], part])];
    const total = (parts) => parts.reduce((sum, part) => sum + part[2], 0);
    const longest = Math.max(total(one), total(many)) || 1;
    const bars = div("bars");
    bars.append(bar("One encoder, every head", "measured", one, longest));
    if (heads.length > 1) bars.append(bar("An encoder for each head", `calculated: the encoder's time × ${heads.length}`, many, longest));
    const keys = div("keys");
    for (const [, name, value, colour] of one) keys.append(key(name, value, colour));
    const rest = div("keys muted");
    for (const [name, text] of Object.entries(AROUND)) if (s[name] !== undefined) rest.append(key(text, s[name]));
    const end = div("verdict");
    const rate = s.end_to_end ? ` · <b>${(1 / s.end_to_end).toFixed(1)}</b> a second` : "";
    const times = heads.length > 1 ? `<b>${(total(many) / total(one)).toFixed(1)} ×</b> less time than ${heads.length} encoders · ` : "";
    end.innerHTML = `${times}end to end <b>${ms(s.end_to_end)}</b>${rate}`;
    this.element.replaceChildren(bars, keys, rest, end);
  }
}

function div(name) { return Object.assign(document.createElement("div"), { className: name }); }

function bar(title, note, parts, longest) {
  const element = div("bar"), what = div("what"), track = div("track");
  const name = document.createElement("b"), aside = document.createElement("span");
  name.textContent = title;
  aside.className = "muted";
  aside.textContent = `${ms(parts.reduce((sum, part) => sum + part[2], 0))} · ${note}`;
  what.append(name, aside);
  for (const [, text, value, colour] of parts) {
    const part = document.createElement("span");
    part.style.width = `${(100 * value) / longest}%`;
    part.style.background = colour;
    part.title = `${text}: ${ms(value)}`;
    track.append(part);
  }
  element.append(what, track);
  return element;
}

function key(name, value, colour) {
  const item = document.createElement("span"), number = document.createElement("b");
  if (colour) {
    const mark = document.createElement("i");
    mark.style.background = colour;
    item.append(mark);
  }
  number.textContent = ms(value);
  item.append(name, number);
  return item;
}

export function showFacts(element, perception) {
  const table = document.createElement("table"), head = table.createTHead().insertRow();
  for (const [text, kind] of [["", ""], ["from", ""], ["licence", ""], ["parameters", "number"]]) {
    head.append(Object.assign(document.createElement("th"), { textContent: text, className: kind }));
  }
  const body = table.createTBody();
  const { encoder, heads } = perception;
  line(body, "encoder", `${encoder.name}, frozen`, encoder.licence, encoder.parameters, "features");
  for (const one of heads) line(body, one.name, one.trained_on || "its file does not say", one.licence || "its file does not say", one.parameters, one.kind);
  element.replaceChildren(table);
  if (perception.about) element.append(Object.assign(div("verdict"), { textContent: perception.about }));
}

function line(body, name, data, licence, parameters, kind) {
  const row = body.insertRow(), first = row.insertCell(), mark = document.createElement("i");
  mark.style.background = hue(kind);
  first.append(mark, title(name));
  row.insertCell().textContent = data;
  row.insertCell().textContent = licence;
  const number = row.insertCell();
  number.className = "number";
  number.textContent = count(parameters);
}

function count(n) {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} M`;
  return n >= 1e3 ? `${(n / 1e3).toFixed(1)} k` : String(n);
}
