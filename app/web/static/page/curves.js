/** The tone curves of a look: what becomes of each gray, in each channel. */

import { svg } from "./dom.js";

const STEPS = 64;
const SIZE = 100; // of the drawing, in units of its own

export class Curves {
  /** @param {SVGElement} drawing with a viewBox of 0 0 100 100 */
  constructor(drawing) {
    const grid = [25, 50, 75].flatMap((at) => [`M${at} 0V${SIZE}`, `M0 ${at}H${SIZE}`]);
    this.paths = ["red", "green", "blue"].map((name) => svg("path", { class: `curve ${name}` }));
    drawing.append(
      svg("path", { class: "grid", d: grid.join("") }),
      svg("path", { class: "diagonal", d: `M0 ${SIZE}L${SIZE} 0` }),
      ...this.paths,
    );
    this.looks = null;
  }

  /** @param {import("../clut.js").Lut} lut */
  setLut(lut) {
    this.looks = Array.from({ length: STEPS + 1 }, (_, i) => {
      const gray = i / STEPS;
      return lut.sample(gray, gray, gray);
    });
  }

  /** @param {number} strength 0..1 */
  setStrength(strength) {
    if (!this.looks) return;
    this.paths.forEach((path, channel) => {
      const points = this.looks.map((look, i) => {
        const gray = i / STEPS;
        const value = Math.min(1, Math.max(0, gray + strength * (look[channel] - gray)));
        return `${(SIZE * gray).toFixed(2)} ${(SIZE * (1 - value)).toFixed(2)}`;
      });
      path.setAttribute("d", `M${points.join("L")}`);
    });
  }
}
