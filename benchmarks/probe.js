// Runs in every page before its own scripts: when is it drawn, and how long does a move of the mouse keep it busy?
window.painted = window.took = null;
window.inked = (canvas) => canvas?.width > 0 && canvas.getContext('2d')
    .getImageData(canvas.width * 0.6, canvas.height * 0.8, 1, 1).data[3] > 0;
window.idle = () => new Promise((done) =>
    requestAnimationFrame(() => requestIdleCallback(() => done(performance.now()))));
window.watch = (ready) => {
    const look = () => (document.body && ready() ? idle().then((now) => (painted = now)) : requestAnimationFrame(look));
    look();
};
window.arm = () => {
    took = null;
    const heard = new AbortController();
    const begin = () => {
        const start = performance.now();
        heard.abort();
        idle().then((now) => (took = now - start));
    };
    for (const name of ['pointerover', 'pointermove'])
        addEventListener(name, begin, { capture: true, signal: heard.signal });
};
window.spots = ([selector, count]) => {  // the middle of as many things, or points all over the only one
    const found = [...document.querySelectorAll(selector)].slice(2, 2 + count);
    const [one] = found.length ? found : document.querySelectorAll(selector);
    one.scrollIntoView({ block: found.length ? 'center' : 'start' });
    const boxes = found.map((each) => each.getBoundingClientRect());
    if (found.length) return boxes.map(({ x, y, width, height }) => [x + width / 2, y + height / 2]);
    const { x, y, width, height } = one.getBoundingClientRect();
    const tall = Math.min(height, innerHeight - y);
    return Array.from({ length: count }, (_, at) =>
        [x + width * (0.55 + 0.4 * ((at * 7) % count) / count), y + tall * (0.2 + (0.7 * at) / count)]);
};
