// A camera that turns around a target: drag turns, wheel and pinch zoom, right button or two fingers move.

const STEEPEST = 1.45;

export class Orbit {
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, yaw: 0, pitch: 0, distance: 3, target: [0, 0, -2], touched: false });
    this.pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.touched = true;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], d = [now[0] - before[0], now[1] - before[1]];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const gap = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      this.distance *= gap(before) / gap(now);
      this.pan(d[0] / 2, d[1] / 2);
    } else if (event.buttons === 2 || event.shiftKey) {
      this.pan(...d);
    } else {
      this.turn(d[0] * 0.008, d[1] * 0.008);
    }
    this.pointers.set(event.pointerId, now);
    this.changed();
  }

  turn(yaw, pitch) {
    this.yaw -= yaw;
    this.pitch = Math.max(-STEEPEST, Math.min(STEEPEST, this.pitch + pitch));
  }

  pan(x, y) {
    const step = this.distance * 0.0016, [right, up] = this.axes();
    for (let i = 0; i < 3; i++) this.target[i] += step * (-right[i] * x + up[i] * y);
  }

  wheel(event) {
    event.preventDefault();
    this.touched = true;
    this.distance *= Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.0022);
    this.changed();
  }

  key(event) {
    const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    const zoom = { "+": 0.9, "=": 0.9, "-": 1.1 }[event.key];
    if (!turns && !zoom) return;
    event.preventDefault();
    this.touched = true;
    if (turns) this.turn(...turns);
    if (zoom) this.distance *= zoom;
    this.changed();
  }

  axes() {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    return [[cy, 0, -sy], [-sy * sp, cp, -cy * sp], [sy * cp, sp, cy * cp]]; // right, up, back
  }

  eye() {
    const back = this.axes()[2];
    return this.target.map((value, i) => value + back[i] * this.distance);
  }

  view() {
    const [r, u, b] = this.axes(), e = this.eye();
    const dot = (a) => -(a[0] * e[0] + a[1] * e[1] + a[2] * e[2]);
    return new Float32Array([r[0], u[0], b[0], 0, r[1], u[1], b[1], 0, r[2], u[2], b[2], 0, dot(r), dot(u), dot(b), 1]);
  }

  projection(aspect) {
    const near = this.distance / 200, far = this.distance * 60, f = 1 / Math.tan(0.4);
    const scale = aspect < 1 ? f * aspect : f;
    return new Float32Array([scale / aspect, 0, 0, 0, 0, scale, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  }
}
