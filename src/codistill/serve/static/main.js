// The page: what is looked at (two slots, A and B), what is wanted of it, and where each answer is shown.

import { Pictures, setRamp } from "./colours.js";
import { Connection } from "./connection.js";
import { Chart, showFacts } from "./evidence.js";
import { Flow, title } from "./flow.js";
import { makeGLB } from "./glb.js";
import { showLegend } from "./legend.js";
import { drawLinks } from "./links.js";
import { writeMessage } from "./packet.js";
import { Panel } from "./panel.js";
import { asPNG, download } from "./saving.js";
import { Sources } from "./sources.js";
import { makeSpace } from "./space.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const STILL = { points: 90000, map_edge: 768 }, LIVE = { points: 16000, map_edge: 256 };

const connection = new Connection();
const sources = new Sources($("video"));
const panels = [0, 1].map((number) => new Panel($(`panel-${number}`), number));
const viewer = new Viewer($("space").querySelector("canvas"));
const flow = new Flow($("flow")), chart = new Chart($("chart"));
const state = { slots: [null, null], intoB: false, scene: null, similar: null, again: false, perception: null, lastFrame: 0, started: false };

// ---- asking

// Looks at what is in the slots: one look at a time, and the newest thing next.
async function look() {
  if (!connection.ready) return;
  if (connection.isWaiting("see")) { state.again = true; return; }
  state.again = false;
  const id = connection.claim("see"), began = performance.now();
  if (sources.streaming) state.slots[0] = (await sources.frame()) ?? state.slots[0];
  const looked = state.slots.filter(Boolean);
  if (!state.slots[0]) {
    connection.waiting.delete(id);
    if (sources.streaming) setTimeout(look, 60);
    return;
  }
  const live = looked.some((one) => one.live), blobs = looked.filter((one) => one.blob).map((one) => one.blob);
  const images = looked.map((one) => (one.sample ? { sample: one.sample } : { bytes: one.blob.size, name: one.name }));
  const header = { type: "see", id, images, want: [...flow.on], steady: live, ...(live ? LIVE : STILL) };
  const data = await writeMessage(header, blobs);
  state.asked = { id, looked, live, began, fresh: state.fresh, grabbed: performance.now() - began };
  state.fresh = false;
  say("busy", live ? "live" : "looking");
  connection.send(id, data);
}

function put(slots) {
  state.slots = slots;
  state.similar = null;
  state.fresh = true;
  state.intoB = false;
  markSlots();
  notice("");
  look();
}

async function choose(make) {
  if (connection.ready && !sources.streaming) say("busy");
  try {
    const found = await make();
    const keepA = state.intoB && state.slots[0] && found.length === 1;
    if (!keepA || !sources.streaming) stop();
    put(keepA ? [state.slots[0], found[0]] : [found[0], found[1] ?? null]);
  } catch (error) {
    if (!sources.streaming) say(connection.ready ? "ready" : "lost");
    notice(error.message, true);
  }
}

function stop() {
  if (sources.streaming) sources.stop();
  if (state.slots[0]) state.slots[0] = { ...state.slots[0], live: false };
  $("stop").hidden = $("flip").hidden = true;
  say(connection.ready ? "ready" : "lost");
}

async function stream(start) {
  try {
    await start();
    $("stop").hidden = false;
    $("flip").hidden = sources.streaming !== "webcam";
    markSample(null);
    put([null, null]);
  } catch (error) {
    stop();
    notice(error.message, true);
  }
}

// ---- answers

connection.addEventListener("hello", ({ detail }) => {
  setRamp(detail.ramp);
  sources.edge = detail.limits.max_edge;
  const known = JSON.stringify(detail.perception);
  if (known !== state.perception) {
    state.perception = known;
    state.heads = detail.perception.heads;
    flow.build(detail.perception);
    showFacts($("facts"), detail.perception);
    $("version").textContent = `codistill ${detail.version}`;
  }
  say("ready");
  if (!state.started) {
    state.started = true;
    showSamples(detail.samples);
  } else {
    look();
  }
});

connection.addEventListener("scene", ({ detail }) => {
  const asked = state.asked;
  if (!asked || asked.id !== detail.header.id) return;
  const began = performance.now(), { header, arrays } = detail;
  const pictures = new Pictures(arrays, header.images);
  state.scene = { header, arrays, images: header.images, pictures, bitmaps: asked.looked.map((one) => one.bitmap) };
  if (asked.live || asked.fresh) state.similar = null;
  const seconds = { ...header.seconds };
  showPictures();
  showSpace(asked.fresh && !asked.live);
  const drawn = performance.now();
  Object.assign(seconds, {
    draw: (drawn - began) / 1000,
    network: Math.max(0, (detail.received - detail.sent) / 1000 - header.total) + asked.grabbed / 1000,
    end_to_end: (asked.live && state.lastFrame ? drawn - state.lastFrame : drawn - asked.began) / 1000,
  });
  state.lastFrame = asked.live ? drawn : 0;
  flow.show(state.scene, seconds);
  chart.show(seconds, asked.live, state.heads);
  state.seconds = seconds;
  document.body.dataset.looks = String(Number(document.body.dataset.looks ?? 0) + 1);
  say(sources.streaming ? "busy" : "ready", sources.streaming ? "live" : undefined);
  if (sources.streaming || state.again) look();
});

connection.addEventListener("similar", ({ detail }) => {
  const { header, arrays } = detail;
  if (!state.scene) return;
  for (const [key, values] of Object.entries(arrays)) { state.scene.arrays[key] = values; state.scene.pictures.made.delete(key); }
  state.similar = { image: header.image, row: header.row, column: header.column, best: state.scene.images.map((_, i) => best(arrays[`similar/${i}`], i === header.image ? header : null)) };
  showPictures();
});

connection.addEventListener("description", ({ detail }) => save(new Blob([JSON.stringify(detail.header.scene, null, 1)], { type: "application/json" }), "json"));

connection.addEventListener("refused", ({ detail }) => {
  notice(detail.text, true);
  say("ready");
  if (sources.streaming) setTimeout(look, 500);
  else if (state.again) look();
});

connection.addEventListener("lost", ({ detail }) => say("lost", detail.rests ? "paused" : `reconnecting: ${detail.reason}`));

// The most similar patch of a map, the asked one excepted.
function best(values, own) {
  let found = -1;
  values.forEach((value, i) => {
    if (own && i === own.row * values.shape[1] + own.column) return;
    if (found < 0 || value > values[found]) found = i;
  });
  return { row: Math.floor(found / values.shape[1]), column: found % values.shape[1] };
}

// ---- showing

function showPictures() {
  const { scene, similar } = state;
  if (!scene) return;
  const aspect = scene.images.reduce((sum, one) => sum + one.width / one.height, 0);
  $("stage").style.setProperty("--aspect", String(aspect + 0.03 * (scene.images.length - 1)));
  $("panel-1").hidden = scene.images.length < 2;
  const kind = flow.kind(flow.selected);
  const overlay = similar ? "similar" : ["image", "people", "labels", "two_view"].includes(kind) ? null : flow.selected;
  panels.forEach((panel, i) => {
    if (!scene.images[i]) { panel.show(null); return; }
    const marks = similar ? [{ ...similar.best[i], colour: "#ffe066" }] : [];
    if (similar?.image === i) marks.push({ row: similar.row, column: similar.column, colour: "#ffffff" });
    const people = similar ? null : state.heads.find((head) => head.kind === "people")?.name;
    panel.show({ bitmap: scene.bitmaps[i], pictures: scene.pictures, about: scene.images[i], overlay, people: kind === "image" ? null : people, marks,
      opacity: similar ? Math.max(0.6, $("opacity").value / 100) : $("opacity").value / 100 });
  });
  showLinks();
  showLegend($("legend"), similar ? "similar" : kind, scene.images[0].answers[flow.selected], scene.header.two_view);
}

function showLinks() {
  const wanted = flow.kind(flow.selected) === "two_view" && !state.similar;
  drawLinks($("links"), panels, wanted && state.scene?.images.length > 1 ? state.scene.arrays["matches/0/1"] : null);
}

function showSpace(fresh) {
  const names = { people: state.heads.find((head) => head.kind === "people")?.name };
  const space = makeSpace(state.scene, names);
  viewer.show(space, fresh);
  state.space = space;
  $("space-empty").hidden = space.clouds.length > 0 || space.bodies.length > 0;
}

function showSamples(samples) {
  for (const one of samples) {
    const button = document.createElement("button"), word = document.createElement("span");
    button.type = "button";
    button.className = "sample";
    button.title = one.title;
    button.setAttribute("aria-label", `Sample: ${one.title}`);
    for (const name of one.pictures) button.append(Object.assign(new Image(), { src: `/samples/${name}`, alt: "" }));
    if (one.pictures.length > 1) { word.textContent = "A + B"; button.append(word); }
    button.addEventListener("click", () => choose(async () => {
      const found = await Promise.all((state.intoB ? one.pictures.slice(-1) : one.pictures).map((name) => sources.sample(name)));
      markSample(button);
      return found;
    }));
    $("samples").append(button);
  }
  $("samples").firstElementChild?.click();
}

const markSample = (chosen) => document.querySelectorAll(".sample").forEach((one) => one.setAttribute("aria-pressed", String(one === chosen)));

function markSlots() {
  const button = $("second");
  button.setAttribute("aria-pressed", String(state.intoB));
  button.textContent = state.intoB ? "Now choose picture B …" : state.slots[1] ? "Replace second view (B)" : "Add second view (B)";
}

function notice(text, bad = false) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").classList.toggle("bad", bad);
}

function say(kind, text = { ready: "ready", busy: "looking", lost: "no connection" }[kind]) {
  $("status").dataset.state = kind;
  $("status-text").textContent = text;
}

const save = (blob, suffix) => download(blob, state.scene?.images[0].name ?? "scene", suffix);

// ---- what can be clicked

$("file").addEventListener("change", (event) => { const files = [...event.target.files]; event.target.value = ""; open(files); });
$("video-file").addEventListener("change", (event) => { const [file] = event.target.files; event.target.value = ""; if (file) stream(() => sources.startVideo(file)); });
$("webcam").addEventListener("click", () => stream(() => sources.startWebcam()));
$("flip").addEventListener("click", () => { sources.facing = sources.facing === "user" ? "environment" : "user"; stream(() => sources.startWebcam()); });
$("stop").addEventListener("click", stop);
$("second").addEventListener("click", () => { state.intoB = !state.intoB; markSlots(); });
$("drop-b").addEventListener("click", () => put([state.slots[0], null]));
$("opacity").addEventListener("input", showPictures);
$("reset").addEventListener("click", () => viewer.reset());
for (const name of ["points", "bodies", "cameras"]) $(`show-${name}`).addEventListener("change", (event) => { viewer.visible[name] = event.target.checked; viewer.redraw(); });
viewer.addEventListener("pick", ({ detail }) => { $("space-readout").textContent = detail; });
flow.addEventListener("select", () => { state.similar = null; showPictures(); });
flow.addEventListener("heads", look);
addEventListener("resize", showLinks);

function open(files) {
  if (!files.length) return;
  const video = files.find((file) => file.type.startsWith("video/"));
  if (video) { stream(() => sources.startVideo(video)); return; }
  markSample(null);
  choose(() => Promise.all(files.slice(0, 2).map((file) => sources.file(file))));
}

for (const panel of panels) panel.addEventListener("patch", ({ detail }) => {
  const same = state.similar && detail.image === state.similar.image && detail.row === state.similar.row && detail.column === state.similar.column;
  if (same) { state.similar = null; showPictures(); return; }
  if (!connection.ready || connection.isWaiting("similar")) return;
  const id = connection.claim("similar");
  connection.send(id, JSON.stringify({ type: "similar", id, ...detail }));
});

for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); $("drop").hidden = false; });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
addEventListener("drop", (event) => { event.preventDefault(); $("drop").hidden = true; open([...event.dataTransfer.files]); });

$("save-png").addEventListener("click", async () => save(await asPNG(panels[0].shown), "png"));
$("save-glb").addEventListener("click", () => save(makeGLB(state.space, { perception: JSON.parse(state.perception) }), "glb"));
$("save-json").addEventListener("click", () => { const id = connection.claim("describe"); connection.send(id, JSON.stringify({ type: "describe", id })); });

const theme = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;
$("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  showPictures();
});
