// Shared by every view: colours, numbers, tokens, canvas. Each view imports this file; Python puts its text
// in front of the view's own, since a widget's module cannot import from its neighbours.

export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // text is added as text, never as markup
  return made;
}

// Bytes may come as DataView (a kernel), ArrayBuffer or Uint8Array (a page without one).
export function bytes(data) {
  if (data instanceof Uint8Array) return data;
  return data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export function floats(data) {
  const raw = bytes(data);
  return new Float32Array(raw.slice().buffer);
}

// Where a value lies in a colour table: 0 to 255, or -1 if it is undefined.
export function shade(value, vmin, vmax) {
  if (!Number.isFinite(value)) return -1;
  return Math.max(0, Math.min(255, Math.floor(((value - vmin) / (vmax - vmin)) * 256)));
}

export function rgb(lut, index) {
  return [lut[3 * index], lut[3 * index + 1], lut[3 * index + 2]];
}

export function paint(lut, index) {
  return index < 0 ? "transparent" : `rgb(${rgb(lut, index).join(" ")})`;
}

// Black or white, whichever stands out more on this colour (WCAG relative luminance).
export function ink(lut, index) {
  if (index < 0) return "inherit";
  const linear = rgb(lut, index).map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000" : "#fff";
}

// White space and controls that can be seen; everything else as it is.
export function visible(token) {
  return token.replace(/ /g, "·").replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/\r/g, "␍");
}

export function shorten(text, most) {
  const letters = [...text];
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text;
}

export function number(value) {
  if (!Number.isFinite(value)) return "undefined";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

// A canvas that is sharp on every screen; drawing is in CSS pixels.
export function sized(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function theme(element) {
  const read = (name, fallback) => getComputedStyle(element).getPropertyValue(name).trim() || fallback;
  return {
    fg: read("--nb-fg", "#1f2328"),
    muted: read("--nb-muted", "#59636e"),
    line: read("--nb-line", "#d1d9e0"),
    accent: read("--nb-accent", "#e8590c"),
  };
}

export const FONT = "12px system-ui, sans-serif";

// One row of the colour table, stretched; undefined values have a hatched box of their own.
export function legend(scale) {
  const lut = bytes(scale.lut);
  const canvas = node("canvas", { "aria-hidden": "true" });
  const context = sized(canvas, 96, 10);
  for (let x = 0; x < 96; x++) {
    context.fillStyle = paint(lut, Math.floor((x / 96) * 256));
    context.fillRect(x, 0, 1.5, 10);
  }
  const end = (value) => String(Number(value.toPrecision(3)));
  return node("span", { class: "nb-legend" }, node("span", {}, scale.label), end(scale.vmin), canvas, end(scale.vmax));
}

export function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 0.7;
  context.beginPath();
  for (let offset = -height; offset < width; offset += 4) {
    context.moveTo(x + offset, y + height);
    context.lineTo(x + offset + height, y);
  }
  context.stroke();
  context.restore();
}

// The read-out under a view: what the pointer or the keyboard is on, also for screen readers; and full screen.
export function footer(scale, root, signal) {
  const read = node("span", { class: "nb-read", "aria-live": "polite" });
  const foot = node("div", { class: "nb-foot" }, legend(scale), read);
  if (root.requestFullscreen) foot.append(fullScreen(root, signal));
  return { read, foot };
}

function fullScreen(root, signal) {
  const button = node("button", { type: "button", class: "nb-full", "aria-label": "full screen", title: "full screen" });
  const turn = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());
  button.addEventListener("click", turn, { signal });
  return button;
}

// The title that every view can have, above it.
export function titled(model, root, signal) {
  const title = node("div", { class: "nb-title" });
  root.prepend(title);
  follow(model, ["title"], () => {
    title.textContent = model.get("title") ?? "";
    title.hidden = !title.textContent;
  }, signal);
  return title;
}

// Draw now, and again whenever one of these traits changes, until the view goes away.
export function follow(model, names, draw, signal) {
  for (const name of names) {
    model.on(`change:${name}`, draw);
    signal?.addEventListener("abort", () => model.off(`change:${name}`, draw));
  }
  draw();
}

// Draw again when the host goes dark or light: a canvas does not follow style sheets.
export function repaint(draw, signal) {
  const watch = new MutationObserver(draw);
  watch.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-name", "data-vscode-theme-kind"] });
  signal?.addEventListener("abort", () => watch.disconnect());
  globalThis.matchMedia?.("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
}

export function put(model, name, value) {
  model.set(name, value);
  model.save_changes?.();
}
