import { bytes, floats, follow, footer, ink, node, number, paint, put, shade, titled, visible } from "../shared.js";

// The token to move to with an arrow key; null when the key does not move.
export function step(key, at, count) {
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -count, End: count };
  if (!(key in moves)) return null;
  return Math.max(0, Math.min(count - 1, at + moves[key]));
}

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
  let frame, values, foot;
  let chips = [];
  const root = node("div", { class: "nb nb-strip" });
  el.append(root);
  const title = titled(model, root, signal);

  const pinned = () => model.get("selected");
  // a pin may arrive before the frame that has its token
  const say = (position) => (foot.read.textContent = position in frame.tokens ? readout(frame, values, position) : "");
  const pin = (position) => put(model, "selected", position === pinned() ? null : position);

  function rebuild() {
    frame = model.get("_frame");
    values = floats(frame.values);
    const lut = bytes(frame.lut);
    const held = chips.indexOf(document.activeElement);
    chips = frame.tokens.map((token, position) => chip(token, values[position], frame, lut, position));
    foot = footer(frame, root, signal);
    const list = node("div", { class: "nb-tokens", role: "listbox", "aria-label": frame.label || "tokens" });
    frame.tokens.forEach((token, position) => {
      list.append(chips[position]);
      if (token.includes("\n")) list.append(node("br"));
    });
    root.replaceChildren(title, list, foot.foot);
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
  listen("keydown", (event) => {
    const position = at(event);
    if (position < 0) return;
    const next = step(event.key, position, chips.length);
    if (next !== null) focus(next);
    else if (event.key === "Enter" || event.key === " ") pin(position);
    else if (event.key === "Escape") put(model, "selected", null);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
  });

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["selected"], mark, signal);
}

export default { render };
