// What is shown, as files of the visitor's own.

import { paint } from "./panel.js";

export function download(blob, name, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `codistill-${name.replace(/\W+/g, "-")}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

// The first picture with its overlay, at the picture's own size.
export function asPNG(shown) {
  const canvas = new OffscreenCanvas(shown.bitmap.width, shown.bitmap.height);
  paint(canvas.getContext("2d"), { left: 0, top: 0, width: canvas.width, height: canvas.height }, shown, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
