// What the colours of the shown answer mean, in one line.

import { rampCSS } from "./colours.js";

const SHOWN = 6;
const ENOUGH_MATCHES = 12; // as in tasks/two_view/reconstruct/edges.py

// legend: the element. kind: of what is shown. about: that answer for the first picture. twoView: of the scene, or null.
export function showLegend(legend, kind, about, twoView) {
  legend.replaceChildren();
  const put = (text, colour) => {
    const item = document.createElement("span");
    if (colour) { const mark = document.createElement("i"); mark.style.background = `rgb(${colour})`; item.append(mark); }
    item.append(text);
    legend.append(item);
  };
  if (kind === "segmentation" && about) {
    for (const one of about.classes.slice(0, SHOWN)) put(`${one.name} ${Math.max(1, Math.round(100 * one.share))} %`, one.colour);
  } else if (kind === "depth" && about) {
    const ramp = Object.assign(document.createElement("span"), { className: "ramp" });
    ramp.style.background = rampCSS();
    put(`${about.low.toFixed(1)} m`);
    legend.append(ramp);
    put(`${about.high.toFixed(1)} m`);
  } else if (kind === "similar") put("patches like the white one; the likest is yellow; click it again to go back");
  else if (kind === "two_view" && twoView) {
    const { matches, consistent } = twoView.pairs[0];
    put(consistent < ENOUGH_MATCHES ? `no overlap was found: ${consistent} of ${matches} matches agree with one pose` : `${matches} matches`);
  } else if (kind === "normals") put("red right, green up, blue towards you");
  else put("click any patch to see what is like it");
}
