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
  const small = size !== 0 && (size >= 1e5 || size < 1e-3);
  const text = small ? value.toExponential(2) : value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return text.replaceAll("-", "−"); // a minus sign, not a hyphen
}

// The place in a row or list to move to with a key; null when the key does not move.
export function step(key, at, count) {
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -count, End: count };
  if (!(key in moves)) return null;
  return Math.max(0, Math.min(count - 1, at + moves[key]));
}

// A grid of layers, the last on top, and of columns of which a window is drawn, from the column `from` on. A cell is
// { layer, [across]: column }, in places and not in names; `left` and `top` are the margins of the cells.
export function windowed(left, top, across) {
  const clamp = (value, most) => Math.max(0, Math.min(most, value));
  const inside = (box, layer, column) => ({ layer: clamp(layer, box.rows - 1), [across]: clamp(column, box.count - 1) });
  return {
    inside,
    // The cell under a point, or null.
    spot(box, x, y, from = 0) {
      const [column, row] = [Math.floor((x - left) / box.cell), Math.floor((y - top) / box.row)];
      if (column < 0 || column >= box.shown || row < 0 || row >= box.rows) return null;
      return { layer: box.rows - 1 - row, [across]: from + column };
    },
    // The cell that a key leads to, or null.
    moved(key, cell, box) {
      const far = box.count;
      const ways = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], Home: [0, -far], End: [0, far] };
      return key in ways ? inside(box, cell.layer + ways[key][0], cell[across] + ways[key][1]) : null;
    },
    // The window, moved as little as is needed for a column to lie in it.
    revealed({ count, shown }, from, column) {
      return clamp(Math.max(Math.min(from, column), column - shown + 1), count - shown);
    },
  };
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
    accent: read("--nb-accent", "#d9480f"),
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

// What a view has around it: a title; below, a legend, what the pointer or the keyboard is on, also for screen readers,
// and full screen. These stay when a new frame comes, and so does a focus on them.
export function framed(model, root, signal) {
  const read = node("span", { class: "nb-read", "aria-live": "polite" });
  const foot = node("div", { class: "nb-foot" }, node("span"), read);
  if (root.requestFullscreen) foot.append(fullScreen(root, signal));
  headed(model, root, signal);
  root.append(foot);
  root.addEventListener("keydown", (event) => {
    const presses = ["Enter", " "].includes(event.key) && event.target.closest("button");
    if (presses && !forHost(event)) event.stopPropagation(); // the notebook would open its cell
  }, { signal });
  return { read, key: (made) => foot.firstChild.replaceWith(made) };
}

export function headed(model, root, signal) {
  const title = node("div", { class: "nb-title" });
  root.prepend(title);
  follow(model, ["title"], () => {
    title.textContent = model.get("title") ?? "";
    title.hidden = !title.textContent;
  }, signal);
}

function fullScreen(root, signal) {
  const button = node("button", { type: "button", class: "nb-full", "aria-label": "full screen", title: "full screen" });
  const turn = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());
  button.addEventListener("click", turn, { signal });
  return button;
}

const forHost = (event) => event.ctrlKey || event.metaKey || event.altKey; // Ctrl+Enter runs the cell

// Keys of a view: `use` says whether it has used one. The notebook has its own use for those, and does not hear them.
export function keys(element, use, signal) {
  element.addEventListener("keydown", (event) => {
    if (forHost(event) || !use(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }, { signal });
}

// Whether an element has the focus, also in the shadow of a host.
export const focused = (element) => element.getRootNode().activeElement === element;

// Whether an element's focus is to be seen: it came by keyboard, or a key was pressed since.
export function keyboardOn(element, signal) {
  let [shown, pointed, away] = [false, false, false];
  const listen = (name, handle) => element.addEventListener(name, handle, { signal });
  listen("pointerdown", () => {
    shown = false;
    pointed = !focused(element); // the focus that follows is the pointer's
  });
  listen("focus", () => {
    if (!away) shown = !pointed;
    pointed = away = false;
  });
  listen("blur", () => {
    away = focused(element); // it is the window that lost the focus
    pointed = false;
  });
  listen("keydown", (event) => {
    if (!forHost(event) && event.key !== "Shift") shown = true;
  });
  return () => shown && focused(element);
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

// Hear how wide the host lets a view be, in whole pixels, where the browser can tell; not while it is hidden. What is
// watched has no height: that of the view changes with what is drawn, and would be heard too.
export function resized(root, hear, signal) {
  if (!globalThis.ResizeObserver) return;
  const probe = root.appendChild(node("div"));
  const watch = new ResizeObserver((entries) => {
    const width = Math.floor(entries.at(-1).contentRect.width);
    if (width) hear(width);
  });
  watch.observe(probe);
  signal?.addEventListener("abort", () => watch.disconnect());
}

export function put(model, name, value) {
  model.set(name, value);
  model.save_changes?.();
}
