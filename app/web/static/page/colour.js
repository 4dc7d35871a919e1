/** How much a look changes colours: CIEDE2000 and clipping, on a sample of the pixels. */

const SAMPLE = 128; // pixels per side of the sample

/**
 * Read a sample of an image.
 *
 * @param {ImageBitmap | OffscreenCanvas} image
 * @returns {Uint8ClampedArray} RGBA
 */
export function samplePixels(image) {
  const canvas = new OffscreenCanvas(SAMPLE, SAMPLE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, SAMPLE, SAMPLE);
  return context.getImageData(0, 0, SAMPLE, SAMPLE).data;
}

/** The change that one look makes to one image, at any strength. */
export class Change {
  /**
   * @param {Uint8ClampedArray} pixels RGBA of `samplePixels`
   * @param {import("../clut.js").Lut} lut
   */
  constructor(pixels, lut) {
    this.count = pixels.length / 4;
    this.before = new Float32Array(3 * this.count);
    this.residual = new Float32Array(3 * this.count);
    this.labs = [];
    for (let i = 0; i < this.count; i++) {
      const colour = [0, 1, 2].map((c) => pixels[4 * i + c] / 255);
      const look = lut.sample(...colour);
      this.labs.push(labOf(...colour));
      for (let c = 0; c < 3; c++) {
        this.before[3 * i + c] = colour[c];
        this.residual[3 * i + c] = look[c] - colour[c];
      }
    }
  }

  /**
   * @param {number} strength 0..1
   * @returns {{difference: number, clippedBefore: number, clippedAfter: number}} the mean CIEDE2000
   *     difference, and the shares of pixels with a channel at 0 or 255
   */
  at(strength) {
    let [difference, clippedBefore, clippedAfter] = [0, 0, 0];
    const after = [0, 0, 0];
    for (let i = 0; i < this.count; i++) {
      let [clipped, clips] = [false, false];
      for (let c = 0; c < 3; c++) {
        const value = this.before[3 * i + c];
        after[c] = Math.min(1, Math.max(0, value + strength * this.residual[3 * i + c]));
        clipped ||= isExtreme(value);
        clips ||= isExtreme(after[c]);
      }
      difference += ciede2000(this.labs[i], labOf(...after));
      clippedBefore += clipped;
      clippedAfter += clips;
    }
    const mean = (sum) => sum / this.count;
    return {
      difference: mean(difference),
      clippedBefore: mean(clippedBefore),
      clippedAfter: mean(clippedAfter),
    };
  }
}

const isExtreme = (value) => value < 0.5 / 255 || value > 254.5 / 255;

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const cubic = (value) => (value > 216 / 24389 ? Math.cbrt(value) : (value * 841) / 108 + 4 / 29);

/** Convert sRGB 0..1 to CIELAB, D65. */
export function labOf(red, green, blue) {
  const [r, g, b] = [linear(red), linear(green), linear(blue)];
  const x = cubic((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = cubic(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = cubic((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005. */
export function ciede2000([l1, a1, b1], [l2, a2, b2]) {
  const degrees = Math.PI / 180;
  const mean7 = ((Math.hypot(a1, b1) + Math.hypot(a2, b2)) / 2) ** 7;
  const g = 0.5 * (1 - Math.sqrt(mean7 / (mean7 + 25 ** 7)));
  const [x1, x2] = [a1 * (1 + g), a2 * (1 + g)];
  const [c1, c2] = [Math.hypot(x1, b1), Math.hypot(x2, b2)];
  const hue = (x, b) => (x === 0 && b === 0 ? 0 : (Math.atan2(b, x) / degrees + 360) % 360);
  const [h1, h2] = [hue(x1, b1), hue(x2, b2)];
  const gray = c1 * c2 === 0;
  let turn = gray ? 0 : h2 - h1;
  if (turn > 180) turn -= 360;
  else if (turn < -180) turn += 360;
  let h = h1 + h2;
  if (!gray) {
    if (Math.abs(h1 - h2) <= 180) h /= 2;
    else h = (h < 360 ? h + 360 : h - 360) / 2;
  }
  const [l, c] = [(l1 + l2) / 2, (c1 + c2) / 2];
  const cos = (angle) => Math.cos(angle * degrees);
  const t =
    1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63);
  const sl = 1 + (0.015 * (l - 50) ** 2) / Math.sqrt(20 + (l - 50) ** 2);
  const [sc, sh] = [1 + 0.045 * c, 1 + 0.015 * c * t];
  const rotation =
    -2 *
    Math.sqrt(c ** 7 / (c ** 7 + 25 ** 7)) *
    Math.sin(60 * degrees * Math.exp(-(((h - 275) / 25) ** 2)));
  const dl = (l2 - l1) / sl;
  const dc = (c2 - c1) / sc;
  const dh = (2 * Math.sqrt(c1 * c2) * Math.sin((turn / 2) * degrees)) / sh;
  return Math.sqrt(Math.max(0, dl ** 2 + dc ** 2 + dh ** 2 + rotation * dc * dh));
}
