// Answers as pictures: arrays of a packet to RGBA, made here so that the values under the pointer cost nothing.

const UNKNOWN = [90, 90, 90];
let ramp = new Uint8Array(768);

// The colours of depth, near to far, as the server's other pictures have them: 256 times RRGGBB.
export function setRamp(text) {
  for (let i = 0; i < 768; i++) ramp[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
}

export function rampCSS() {
  const stops = [];
  for (let i = 0; i < 256; i += 15) stops.push(`rgb(${ramp[3 * i]},${ramp[3 * i + 1]},${ramp[3 * i + 2]})`);
  return `linear-gradient(90deg, ${stops.join(",")})`;
}

function picture(values, paint) {
  const [height, width] = values.shape;
  const image = new ImageData(width, height);
  const out = image.data;
  for (let i = 0, j = 0; i < height * width; i++, j += 4) {
    paint(i, j, out);
    out[j + 3] = 255;
  }
  return image;
}

function rgb(out, j, colour) { out[j] = colour[0]; out[j + 1] = colour[1]; out[j + 2] = colour[2]; }

function asIs(values) { return picture(values, (i, j, out) => rgb(out, j, values.subarray(3 * i, 3 * i + 3))); }

const PAINT = {
  features: asIs,
  picture: asIs,
  segmentation(values, about) {
    const table = new Uint8Array(768).fill(UNKNOWN[0]);
    for (const one of about.classes) table.set(one.colour, 3 * one.number);
    return picture(values, (i, j, out) => rgb(out, j, table.subarray(3 * values[i], 3 * values[i] + 3)));
  },
  depth(values, about) {
    const near = about.low, span = Math.log(about.high / near) || 1;
    return picture(values, (i, j, out) => {
      if (!values[i]) return rgb(out, j, UNKNOWN);
      const part = Math.log((values[i] * about.step) / near) / span;
      const k = 3 * Math.max(0, Math.min(255, Math.round(part * 255)));
      rgb(out, j, ramp.subarray(k, k + 3));
    });
  },
  normals: (values) => picture(values, (i, j, out) => {
    const [x, y, z] = [values[3 * i], values[3 * i + 1], values[3 * i + 2]];
    if (!x && !y && !z) return rgb(out, j, UNKNOWN);
    rgb(out, j, [128 + x, 128 - y, 128 - z]);
  }),
  similar: (values) => picture(values, (i, j, out) => {
    const part = Math.max(0, (values[i] - 127.5) / 127.5) ** 1.5;
    rgb(out, j, [255 * Math.min(1, part * 1.6), 210 * part ** 1.4, 60 + 60 * part - 90 * part * part]);
  }),
};

// Canvases of answers, made once each.
export class Pictures {
  constructor(arrays, images) { this.arrays = arrays; this.images = images; this.made = new Map(); }

  kind(name, number) { return name === "features" || name === "similar" ? name : this.images[number]?.answers[name]?.kind; }

  // The canvas of an answer for a picture; null where there is none.
  get(name, number) {
    const key = `${name}/${number}`, values = this.arrays[key], paint = PAINT[this.kind(name, number)];
    if (!values || !paint) return null;
    if (!this.made.has(key)) {
      const image = paint(values, this.images[number]?.answers[name]);
      const canvas = new OffscreenCanvas(image.width, image.height);
      canvas.getContext("2d").putImageData(image, 0, 0);
      this.made.set(key, canvas);
    }
    return this.made.get(key);
  }

  // The value of an answer at a place of the picture (parts of its width and height).
  at(name, number, x, y) {
    const values = this.arrays[`${name}/${number}`];
    if (!values) return null;
    const [height, width, channels = 1] = values.shape;
    const column = Math.min(width - 1, Math.floor(x * width)), row = Math.min(height - 1, Math.floor(y * height));
    const i = (row * width + column) * channels;
    return channels === 1 ? values[i] : values.subarray(i, i + channels);
  }
}

// What the heads say of a place, in words.
export function describeAt(pictures, number, x, y) {
  const said = [];
  for (const [name, about] of Object.entries(pictures.images[number].answers)) {
    const value = pictures.at(name, number, x, y);
    if (value === null) continue;
    if (about.kind === "segmentation") said.push(about.classes.find((one) => one.number === value)?.name);
    if (about.kind === "depth") said.push(value ? `${(value * about.step).toFixed(2)} m` : "no depth");
    if (about.kind === "normals" && (value[0] || value[1] || value[2])) said.push(facing(value));
  }
  return said.filter(Boolean).join(" · ");
}

function facing([x, y, z]) {
  const words = [["faces right", x], ["faces left", -x], ["faces down", y], ["faces up", -y], ["faces you", -z]];
  return words.reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}
