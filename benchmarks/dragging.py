"""A slider dragged in a page, two steps in each frame of the screen, and what that costs."""

from __future__ import annotations

__all__ = ["DRAG"]

DRAG = """async ([view, frames]) => {
    const root = document.querySelector(view);
    const slider = root.querySelector('input'), picture = root.querySelector('canvas'), most = Number(slider.max);
    const ask = window.requestAnimationFrame.bind(window), clear = CanvasRenderingContext2D.prototype.clearRect;
    const seen = { frames: [], work: [], redraws: [] };
    let drawn = 0;
    window.requestAnimationFrame = (callback) => ask((now) => {
        const start = performance.now();
        callback(now);
        seen.work.push(performance.now() - start);
    });
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (this.canvas === picture) drawn += 1;
        return clear.apply(this, box);
    };
    const frame = () => new Promise(ask);
    let last = await frame();
    for (let at = 0; at < frames; at++) {
        for (const part of [at, at + 0.5]) {
            slider.value = most * (1 - Math.abs(1 - (4 * part / frames) % 2));
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }
        const now = await frame();
        seen.frames.push(now - last);
        seen.redraws.push(drawn);
        [last, drawn] = [now, 0];
    }
    window.requestAnimationFrame = ask;
    CanvasRenderingContext2D.prototype.clearRect = clear;
    return seen;
}"""
