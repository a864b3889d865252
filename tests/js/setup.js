// What jsdom lacks: a 2D canvas, which here records what is drawn, and forgets its styles when it gets a size, as
// real ones do. Every test starts with an empty page, and fails if a listener threw.

import { afterEach, beforeEach } from "vitest";

const STYLES = {
  fillStyle: "#000", strokeStyle: "#000", globalAlpha: 1, lineWidth: 1, font: "10px sans-serif",
  textAlign: "start", textBaseline: "alphabetic", imageSmoothingEnabled: true, lineCap: "butt", lineJoin: "miter",
};
const METHODS = [
  "arc", "beginPath", "clearRect", "clip", "closePath", "drawImage", "fill", "fillRect", "fillText", "lineTo", "moveTo",
  "putImageData", "rect", "rotate", "scale", "setLineDash", "setTransform", "stroke", "strokeRect", "translate",
];

// Each call is kept as { name, args, ...styles at the call }; a misspelt method or style throws.
function recorder(canvas) {
  const context = { canvas, calls: [], ...STYLES };
  const saved = [];
  const styles = () => Object.fromEntries(Object.keys(STYLES).map((name) => [name, context[name]]));
  for (const name of METHODS) context[name] = (...args) => void context.calls.push({ name, args, ...styles() });
  context.save = () => void saved.push(styles());
  context.restore = () => void Object.assign(context, saved.pop());
  context.measureText = (text) => ({ width: 7 * [...text].length });
  return Object.seal(context);
}

// A path that can be drawn again, kept as what it is made of.
class PlainPath {
  steps = [];
  moveTo(...to) { this.steps.push(["moveTo", ...to]); }
  lineTo(...to) { this.steps.push(["lineTo", ...to]); }
  bezierCurveTo(...to) { this.steps.push(["bezierCurveTo", ...to]); }
  closePath() { this.steps.push(["closePath"]); }
}

class PlainImageData {
  constructor(data, width, height = data.length / 4 / width) {
    if (!(data instanceof Uint8ClampedArray)) throw new TypeError("ImageData takes a Uint8ClampedArray");
    if (data.length !== 4 * width * height) throw new RangeError("ImageData: the length is not 4 * width * height");
    Object.assign(this, { data, width, height });
  }
}

const original = { getContext: HTMLCanvasElement.prototype.getContext, ImageData: globalThis.ImageData, Path2D: globalThis.Path2D };
const watches = [];
globalThis.MutationObserver = class extends globalThis.MutationObserver {
  constructor(hear) {
    super(hear);
    watches.push(this);
  }
};
const width = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, "width");
let thrown = [];
window.addEventListener("error", (event) => thrown.push(event.error));

beforeEach(() => {
  const contexts = new WeakMap();
  HTMLCanvasElement.prototype.getContext = function (kind) {
    if (kind !== "2d") throw new Error(`no context ${kind}`);
    if (!contexts.has(this)) contexts.set(this, recorder(this));
    return contexts.get(this);
  };
  Object.defineProperty(HTMLCanvasElement.prototype, "width", {
    ...width,
    set(value) {
      width.set.call(this, value);
      if (contexts.has(this)) Object.assign(contexts.get(this), STYLES);
    },
  });
  globalThis.ImageData = PlainImageData;
  globalThis.Path2D = PlainPath;
});

afterEach(() => {
  HTMLCanvasElement.prototype.getContext = original.getContext;
  Object.defineProperty(HTMLCanvasElement.prototype, "width", width);
  globalThis.ImageData = original.ImageData;
  globalThis.Path2D = original.Path2D;
  globalThis.devicePixelRatio = 1;
  document.body.replaceChildren();
  watches.splice(0).forEach((watch) => watch.disconnect()); // or a page that turns dark paints the views of all tests
  delete window.hit;
  delete globalThis.ResizeObserver;
  const errors = thrown;
  thrown = [];
  if (errors.length) throw errors[0];
});
