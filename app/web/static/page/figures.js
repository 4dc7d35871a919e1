/** What a look changes: lattice, tone curves, mean difference and clipped pixels. */

import { Change, samplePixels } from "./colour.js";
import { Curves } from "./curves.js";
import { $ } from "./dom.js";
import { Lattice } from "./lattice.js";
import { number } from "./strings.js";

export class Figures {
  constructor() {
    this.lattice = new Lattice($("lattice"));
    this.curves = new Curves($("curves"));
    this.change = null; // until a look is shown
    this.strength = 1;
  }

  /**
   * @param {import("../clut.js").Lut} lut
   * @param {ImageBitmap} image that the look is applied to
   */
  show(lut, image) {
    this.lattice.setLut(lut);
    this.curves.setLut(lut);
    this.change = new Change(samplePixels(image), lut);
    this.setStrength(this.strength);
  }

  clear() {
    this.change = null;
    this.write();
  }

  /** @param {number} strength 0..1 */
  setStrength(strength) {
    this.strength = strength;
    this.lattice.setStrength(strength);
    this.curves.setStrength(strength);
    this.write();
  }

  /** Write the numbers, at most once a frame. */
  write() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const change = this.change?.at(this.strength);
      const share = (value) => number(100 * value);
      $("difference").textContent = change ? number(change.difference) : "–";
      $("clipped").textContent = change
        ? `${share(change.clippedBefore)} → ${share(change.clippedAfter)} %`
        : "–";
    });
  }
}
