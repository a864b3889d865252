// Runs views where no kernel does: unpacks what Python packed, and gives each view a stand-in for its model.
(async (place) => {
  if (!place) return;
  place.dataset.nbAlive = "";
  try {
    const letters = atob("PAYLOAD");
    const packed = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) packed[at] = letters.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const all = new Uint8Array(await new Response(stream).arrayBuffer());
    const start = 4 + new DataView(all.buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(all.subarray(4, start)), (_, value) =>
      value?.$bytes ? all.subarray(start + value.$bytes[0], start + value.$bytes[0] + value.$bytes[1]) : value);
    const modules = {};
    for (const [name, text] of Object.entries(header.modules)) {
      const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      modules[name] = (await import(address)).default;
      URL.revokeObjectURL(address);
    }
    const models = header.views.map(({ state }) => {
      const heard = {};
      return {
        get: (name) => state[name],
        set(name, value) {
          if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
          state[name] = value;
          [...(heard[`change:${name}`] ?? [])].forEach((listen) => listen());
        },
        on: (event, listen) => (heard[event] ??= []).push(listen),
        off: (event, listen) => (heard[event] = (heard[event] ?? []).filter((other) => other !== listen)),
      };
    });
    const links = header.links.flatMap(([one, other]) => [[one, other], [other, one]]);
    for (const [[from, trait], [to, other]] of links)
      models[from].on(`change:${trait}`, () => {
        const value = [models[from].get(trait)].flat().at(-1) ?? null;
        if (Array.isArray(models[to].get(other))) models[to].set(other, value === null ? [] : [value]);
        else if (value !== null || other !== "head") models[to].set(other, value);
      });
    const style = document.createElement("style");
    style.textContent = header.style;
    const views = header.views.map(({ module }, at) => {
      const el = document.createElement("div");
      return { el, draw: () => modules[module].render({ model: models[at], el }) };
    });
    const rest = [...views];
    const rows = header.rows.map((count) => {
      const row = document.createElement("div");
      row.style.cssText = "gap:24px;align-items:flex-start;margin-bottom:8px";
      if (count > 1) row.className = "nb-beside";
      row.append(...rest.splice(0, count).map(({ el }) => el));
      return row;
    });
    const still = [...place.childNodes];
    place.append(style, ...rows);
    views.forEach(({ draw }) => draw());
    still.forEach((child) => child.remove());
  } catch (error) {
    console.warn("nbtools: the picture stays still:", error);
  }
})(document.querySelector('[data-nb="NAME"]:not([data-nb-alive])'));
