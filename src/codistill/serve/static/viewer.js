// The 3-D view: clouds, bodies and cameras; drawn only when something changed; a lost context comes back.
// Coordinates: x right, y up, the first camera looks along -z, metres.

import { makePrograms, upload } from "./gl.js";
import { Orbit } from "./orbit.js";

const LARGEST = 0.015; // of a point's disc, as a part of its distance; few points stay points
const SWAY = 6000, TINT = [0.98, 0.62, 0.76];

export class Viewer extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: true, preserveDrawingBuffer: false });
    this.scene = { clouds: [], bodies: [], cameras: [] };
    this.visible = { points: true, bodies: true, cameras: true };
    this.things = [];
    this.orbit = new Orbit(canvas, () => this.redraw());
    if (!this.gl) return;
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.lost = true; this.things = []; });
    canvas.addEventListener("webglcontextrestored", () => { this.lost = false; this.start(); });
    canvas.addEventListener("pointermove", (event) => event.buttons || this.pick(event));
    canvas.addEventListener("dblclick", (event) => this.aim(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
    this.start();
  }

  start() {
    this.programs = makePrograms(this.gl);
    this.fill();
  }

  // scene: { clouds: [{ positions, colours, centre }], bodies: [{ positions, faces }], cameras: [{ lines, colours }] }
  show(scene, still) {
    const first = !this.scene.clouds.length && !this.scene.bodies.length;
    this.scene = scene;
    for (const cloud of scene.clouds) cloud.spacing = spacing(cloud);
    if (still || first) this.reset(still);
    this.fill();
  }

  fill() {
    if (!this.gl || this.lost) return;
    this.things.forEach((thing) => thing.free());
    const { clouds, bodies, cameras } = this.scene, add = (kind, one) => ({ kind, one, ...upload(this.gl, one) });
    this.things = [
      ...clouds.map((one) => add("points", one)),
      ...bodies.map((one) => add("mesh", one)),
      ...cameras.map((one) => add("lines", one)),
    ];
    this.redraw();
  }

  // Back to a little above and beside the first camera, looking at the middle of what all cameras see, from so far
  // away that most of it is in view: several cameras together see more than the first one.
  reset(sway = false) {
    const all = this.scene.clouds.length ? this.scene.clouds : this.scene.bodies;
    if (!all.length) return;
    const middle = centre(all);
    const away = Math.max(0.2, Math.hypot(...middle));
    Object.assign(this.orbit, { target: middle, yaw: Math.atan2(-middle[0], -middle[2]) * 0.3 + 0.24, pitch: 0.16 });
    this.orbit.distance = Math.max(away * 1.35, enough(all, this.orbit, this.canvas.clientWidth / this.canvas.clientHeight || 1));
    if (sway && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.sway();
    this.redraw();
  }

  sway() {
    const began = performance.now(), yaw = this.orbit.yaw;
    this.orbit.touched = false;
    cancelAnimationFrame(this.swaying);
    const step = (now) => {
      const part = (now - began) / SWAY;
      if (this.orbit.touched || part >= 1) return;
      this.orbit.yaw = yaw + 0.26 * Math.sin(part * 2 * Math.PI) * (1 - part * 0.4);
      this.draw();
      this.swaying = requestAnimationFrame(step);
    };
    this.swaying = requestAnimationFrame(step);
  }

  redraw() {
    if (this.pending || !this.gl) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    const { gl, canvas } = this;
    if (this.lost) return;
    const ratio = Math.min(devicePixelRatio || 1, 2), [w, h] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    if (!w || !h) return;
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const view = this.orbit.view(), projection = this.orbit.projection(w / h);
    const shown = { points: this.visible.points, mesh: this.visible.bodies, lines: this.visible.cameras };
    for (const { kind, one, vao, count } of this.things) {
      if (!shown[kind]) continue;
      const { program, uniforms } = this.programs[kind];
      gl.useProgram(program);
      gl.uniformMatrix4fv(uniforms.view, false, view);
      gl.uniformMatrix4fv(uniforms.projection, false, projection);
      gl.bindVertexArray(vao);
      if (kind === "points") {
        gl.uniform3fv(uniforms.centre, one.centre);
        gl.uniform1f(uniforms.spacing, one.spacing);
        gl.uniform1f(uniforms.height, h);
        gl.drawArrays(gl.POINTS, 0, count);
      } else if (kind === "mesh") {
        gl.uniform3fv(uniforms.tint, one.tint ?? TINT);
        gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
      } else {
        gl.drawArrays(gl.LINES, 0, count);
      }
    }
    gl.bindVertexArray(null);
  }

  // The point under the pointer: nearest to the eye of those within eight pixels.
  find(event) {
    const box = this.canvas.getBoundingClientRect(), [w, h] = [box.width, box.height];
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const m = multiply(this.orbit.projection(w / h), this.orbit.view());
    let best = null;
    for (const { positions: p, centre: c } of this.visible.points ? this.scene.clouds : []) {
      for (let i = 0; i < p.length; i += 3) {
        const q = m[3] * p[i] + m[7] * p[i + 1] + m[11] * p[i + 2] + m[15];
        if (q <= 0 || (best && q >= best.q)) continue;
        const sx = ((m[0] * p[i] + m[4] * p[i + 1] + m[8] * p[i + 2] + m[12]) / q + 1) * 0.5 * w;
        const sy = (1 - (m[1] * p[i] + m[5] * p[i + 1] + m[9] * p[i + 2] + m[13]) / q) * 0.5 * h;
        if (Math.abs(sx - x) < 8 && Math.abs(sy - y) < 8) best = { q, point: [p[i], p[i + 1], p[i + 2]], centre: c };
      }
    }
    return best;
  }

  pick(event) {
    const found = this.find(event);
    const text = found ? `${Math.hypot(...found.point.map((v, i) => v - found.centre[i])).toFixed(2)} m from the camera` : "";
    this.dispatchEvent(new CustomEvent("pick", { detail: text }));
  }

  aim(event) {
    const found = this.find(event);
    if (found) { this.orbit.target = found.point; this.redraw(); }
  }

  // A picture of the view as it is.
  picture() {
    this.draw();
    return new Promise((done) => this.canvas.toBlob(done, "image/png"));
  }
}

function multiply(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++) for (let row = 0; row < 4; row++) {
    for (let k = 0; k < 4; k++) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
  }
  return out;
}

// Some eight hundred points of each thing.
function some(things) {
  return things.flatMap(({ positions: p }) => {
    const step = 3 * Math.max(1, Math.floor(p.length / 3 / 800)), chosen = [];
    for (let i = 0; i < p.length; i += step) chosen.push([p[i], p[i + 1], p[i + 2]]);
    return chosen;
  });
}

const quantile = (values, share) => values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];

function centre(things) {
  const points = some(things);
  return [0, 1, 2].map((axis) => quantile(points.map((point) => point[axis]), 0.5));
}

// The distance from the target at which nine tenths of the points are in view.
function enough(things, orbit, aspect) {
  const axes = orbit.axes(), projection = orbit.projection(aspect);
  return quantile(some(things).map((point) => {
    const [x, y, z] = axes.map((axis) => axis.reduce((sum, value, i) => sum + value * (point[i] - orbit.target[i]), 0));
    return z + Math.max(Math.abs(x) * projection[0], Math.abs(y) * projection[5]);
  }), 0.9);
}

// How far apart neighbouring points lie at a distance of one metre from their camera; at most LARGEST.
export function spacing({ positions, centre: c }) {
  const n = positions.length / 3;
  if (n < 16) return LARGEST;
  const xs = [], ys = [], step = Math.max(1, Math.floor(n / 1000));
  for (let i = 0; i < n; i += step) {
    const z = Math.abs(positions[3 * i + 2] - c[2]) || 1;
    xs.push((positions[3 * i] - c[0]) / z);
    ys.push((positions[3 * i + 1] - c[1]) / z);
  }
  const span = (v) => { v.sort((a, b) => a - b); return v[Math.floor(0.98 * (v.length - 1))] - v[Math.floor(0.02 * (v.length - 1))]; };
  return Math.min(LARGEST, 1.6 * Math.sqrt(Math.max(span(xs) * span(ys), 1e-4) / (0.92 * n)));
}
