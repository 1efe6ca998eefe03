// Switches between the answers on one picture, and turns the points under the pointer. No requests, no libraries.
"use strict";
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

for (const stage of document.querySelectorAll(".stage")) {
  const pictures = [...stage.querySelectorAll(".frames > div")];
  const picks = [...stage.querySelectorAll(".picks button")];
  const tabs = stage.querySelector(".views");
  let picture = 0, view = "image", touched = calm;
  const names = (number) => [...pictures[number].querySelectorAll("img")].map((one) => one.dataset.view);
  function show() {
    const known = names(picture);
    if (!known.includes(view)) view = known[0];
    pictures.forEach((one, number) => {
      one.hidden = number !== picture;
      for (const image of one.querySelectorAll("img")) image.classList.toggle("on", image.dataset.view === view);
    });
    const shown = pictures[picture].querySelector("img.on");
    stage.querySelector(".said").textContent = shown.dataset.said || "";
    picks.forEach((one, number) => one.setAttribute("aria-pressed", String(number === picture)));
    tabs.replaceChildren(...known.map((name) => {
      const button = document.createElement("button");
      button.textContent = name;
      button.setAttribute("aria-pressed", String(name === view));
      button.onclick = () => { touched = true; view = name; show(); };
      return button;
    }));
  }
  picks.forEach((one, number) => { one.onclick = () => { touched = true; picture = number; show(); }; });
  setInterval(() => {
    if (touched || document.hidden) return;
    const known = names(picture), next = known.indexOf(view) + 1;
    if (next === known.length) picture = (picture + 1) % pictures.length;
    view = next === known.length ? "image" : known[next];
    show();
  }, 1600);
  show();
}

function bytes(text) { return Uint8Array.from(atob(text), (one) => one.charCodeAt(0)); }

for (const canvas of document.querySelectorAll("canvas[data-points]")) {
  const places = new Int16Array(bytes(canvas.dataset.points).buffer);
  const paint = bytes(canvas.dataset.colours);
  const count = places.length / 3;
  const context = canvas.getContext("2d");
  let angle = 0, tilt = -0.12, zoom = 1, spinning = !calm, held = null;
  function draw() {
    const scale = Math.min(2, devicePixelRatio || 1);
    const width = Math.max(1, Math.round(canvas.clientWidth * scale)), height = Math.round(width * 3 / 4);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer).fill(0xff18130f);
    const near = new Float32Array(width * height).fill(Infinity);
    const [c, s, ct, st] = [Math.cos(angle), Math.sin(angle), Math.cos(tilt), Math.sin(tilt)];
    const focal = 1.15 * height * zoom, size = Math.max(2, Math.round(width / 260 * zoom));
    for (let i = 0; i < count; i++) {
      const x = places[3 * i] / 32767, y = places[3 * i + 1] / 32767, z = places[3 * i + 2] / 32767;
      const right = c * x + s * z, ahead = -s * x + c * z;
      const down = ct * y - st * ahead, depth = st * y + ct * ahead + 1.5;
      if (depth < 0.2) continue;
      const u = Math.round(width / 2 + focal * right / depth), v = Math.round(height / 2 + focal * down / depth);
      const colour = 0xff000000 | paint[3 * i + 2] << 16 | paint[3 * i + 1] << 8 | paint[3 * i];
      const side = Math.max(1, Math.round(size * 3 / depth));
      for (let row = v; row < v + side; row++) {
        if (row < 0 || row >= height) continue;
        for (let column = u; column < u + side; column++) {
          if (column < 0 || column >= width) continue;
          const at = row * width + column;
          if (depth < near[at]) { near[at] = depth; pixels[at] = colour >>> 0; }
        }
      }
    }
    context.putImageData(image, 0, 0);
  }
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; spinning = false; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    angle += (event.clientX - held[0]) / 200; tilt = Math.max(-1.2, Math.min(1.2, tilt - (event.clientY - held[1]) / 300));
    held = [event.clientX, event.clientY]; draw();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom = Math.max(0.5, Math.min(3, zoom * Math.exp(-event.deltaY / 800))); draw(); }, { passive: false });
  let seen = false, start = performance.now();
  new IntersectionObserver((entries) => { seen = entries[0].isIntersecting; if (seen) draw(); }).observe(canvas);
  (function turn(now) {
    if (seen && spinning) { angle = 0.45 * Math.sin((now - start) / 2200); draw(); }
    requestAnimationFrame(turn);
  })(start);
}
