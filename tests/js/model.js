// Stand-ins for the model that a view gets, stricter than the real ones: an unknown trait throws, and what `get`
// gives cannot be changed in place. As in Backbone, all values of one message are set before the first listener
// runs, listeners run in the order of the message's names, and an equal value is no change.

function frozen(value) {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value;
  Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

const plain = (value) => value === null || typeof value !== "object" || Array.isArray(value);
const same = (one, other) => one === other || (plain(one) && plain(other) && JSON.stringify(one) === JSON.stringify(other));

export function kernelModel(traits) {
  const values = new Map(Object.entries(traits).map(([name, value]) => [name, frozen(value)]));
  const listeners = new Map();
  const known = (name) => {
    if (!values.has(name)) throw new Error(`no trait ${name}`);
  };
  const event = (name) => {
    if (name.startsWith("change:")) known(name.slice("change:".length));
    else if (name !== "change" && name !== "msg:custom") throw new Error(`no event ${name}`);
    if (!listeners.has(name)) listeners.set(name, []);
    return listeners.get(name);
  };
  const fire = (name, value) => [...event(name)].forEach((callback) => callback(model, value));

  const model = {
    saves: 0,
    get(name) {
      known(name);
      return values.get(name);
    },
    set(name, value) {
      model.receive({ [name]: value });
    },
    save_changes() {
      model.saves += 1;
    },
    on: (name, callback) => void event(name).push(callback),
    off(name, callback) {
      listeners.set(name, event(name).filter((other) => other !== callback));
    },
    // One message from Python; its names come in no particular order.
    receive(state) {
      Object.keys(state).forEach(known);
      const changed = Object.entries(state).filter(([name, value]) => !same(values.get(name), value));
      changed.forEach(([name, value]) => values.set(name, frozen(value)));
      changed.forEach(([name, value]) => fire(`change:${name}`, value));
      if (changed.length) fire("change");
    },
    listening: () => [...listeners.values()].flat().length,
  };
  return model;
}

// A static page has no kernel to save to.
export function pageModel(traits) {
  const { save_changes, saves, ...model } = kernelModel(traits);
  return Object.assign(Object.create(null), model, { set: (name, value) => model.receive({ [name]: value }) });
}
