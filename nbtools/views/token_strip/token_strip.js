import { bytes, floats, focused, follow, framed, ink, keys, legend, node, number, paint, put, shade, step, visible } from "../shared.js";

export function readout(frame, values, position) {
  const detail = frame.details[position];
  return `${position} “${visible(frame.tokens[position])}”  ${number(values[position])}${detail ? `   ${detail}` : ""}`;
}

function chip(token, value, frame, lut, position) {
  const index = shade(value, frame.vmin, frame.vmax);
  const span = node("span", {
    class: index < 0 ? "nb-token nb-undefined" : "nb-token",
    role: "option",
    tabindex: position ? "-1" : "0",
    "aria-label": `${position}: ${token}, ${number(value)}`,
  }, visible(token) || " ");
  span.style.background = index < 0 ? "" : paint(lut, index);
  span.style.color = ink(lut, index);
  return span;
}

function render({ model, el, signal }) {
  let frame, values;
  let chips = [];
  const list = node("div", { class: "nb-tokens", role: "listbox" });
  const root = node("div", { class: "nb nb-strip" }, list);
  el.append(root);
  const around = framed(model, root, signal);

  const pinned = () => model.get("selected");
  // a pin may arrive before the frame that has its token
  const say = (position) => (around.read.textContent = position in frame.tokens ? readout(frame, values, position) : "");
  const pin = (position) => put(model, "selected", position === pinned() ? null : position);

  function rebuild() {
    frame = model.get("_frame");
    values = floats(frame.values);
    const lut = bytes(frame.lut);
    const held = chips.findIndex(focused);
    chips = frame.tokens.map((token, position) => chip(token, values[position], frame, lut, position));
    around.key(legend(frame));
    list.setAttribute("aria-label", frame.label || "tokens");
    list.replaceChildren(...chips);
    chips.forEach((span, position) => frame.tokens[position].includes("\n") && span.after(node("br")));
    mark();
    if (held >= 0) focus(Math.min(held, chips.length - 1));
  }

  function mark() {
    chips.forEach((span, position) => span.setAttribute("aria-selected", String(position === pinned())));
    say(pinned());
  }

  function focus(position) {
    chips.forEach((span, other) => span.setAttribute("tabindex", other === position ? "0" : "-1"));
    chips[position].focus();
  }

  const at = (event) => chips.indexOf(event.target.closest?.(".nb-token"));
  const listen = (name, handle) => root.addEventListener(name, handle, { signal });
  listen("pointerover", (event) => at(event) >= 0 && say(at(event)));
  listen("pointerleave", () => say(pinned()));
  listen("focusin", (event) => at(event) >= 0 && say(at(event)));
  listen("click", (event) => at(event) >= 0 && pin(at(event)));
  keys(root, (event) => {
    const position = at(event);
    if (position < 0) return false;
    const next = step(event.key, position, chips.length);
    if (next !== null) focus(next);
    else if (event.key === "Enter" || event.key === " ") pin(position);
    else if (event.key === "Escape") put(model, "selected", null);
    else return false;
    return true;
  }, signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["selected"], mark, signal);
}

export default { render };
