// A view on a page, and a hand that uses it.

import { kernelModel, pageModel } from "./model.js";

// A notebook with a view in it; `heard` are the keys that reach the notebook.
export function mount(view, traits, { kernel = true } = {}) {
  const heard = [];
  const notebook = document.createElement("div");
  notebook.addEventListener("keydown", (event) => heard.push(event.key));
  const el = notebook.appendChild(document.createElement("div"));
  document.body.append(notebook);
  const model = (kernel ? kernelModel : pageModel)(traits);
  const controller = new AbortController();
  view.render(kernel ? { model, el, signal: controller.signal } : { model, el });
  const find = (selector) => el.querySelector(selector);
  return {
    el, model, heard, find,
    all: (selector) => [...el.querySelectorAll(selector)],
    read: () => find(".nb-read").textContent,
    main: () => find("canvas[role=application]"),
    leave: () => controller.abort(),
  };
}

function send(target, made, at = {}) {
  for (const [name, value] of Object.entries(at)) Object.defineProperty(made, name, { value });
  target.dispatchEvent(made);
  return made;
}

const options = (more) => ({ bubbles: true, cancelable: true, ...more });

export const press = (target, key, more) => send(target, new KeyboardEvent("keydown", options({ key, ...more })));
export const click = (target, [offsetX, offsetY] = [0, 0], more = {}) => send(target, new MouseEvent("click", options(more)), { offsetX, offsetY });
export const hover = (target, [offsetX, offsetY] = [0, 0]) => {
  send(target, new PointerEvent("pointerover", options()), { offsetX, offsetY });
  send(target, new PointerEvent("pointermove", options()), { offsetX, offsetY });
};
export const leave = (target) => send(target, new PointerEvent("pointerleave"));
export const drag = (target, ...places) => places.forEach(([offsetX, offsetY], step) =>
  send(target, new PointerEvent(step ? "pointermove" : "pointerdown", options({ buttons: 1 })), { offsetX, offsetY }));

// What is on a canvas now: the calls since it was last cleared.
export function picture(canvas, name) {
  const { calls } = canvas.getContext("2d");
  const now = calls.slice(calls.findLastIndex((call) => call.name === "clearRect") + 1);
  return name ? now.filter((call) => call.name === name) : now;
}

export const drawings = (canvas) => canvas.getContext("2d").calls.filter((call) => call.name === "clearRect").length;
export const written = (canvas) => picture(canvas, "fillText").map((call) => String(call.args[0]));
export const frames = (canvas) => picture(canvas, "strokeRect").map((call) => call.args);

// Everything that could have been made from a token that was taken for markup.
export const smuggled = () => document.querySelectorAll("script, img, s, bos, [onerror]").length + Number("hit" in window);
