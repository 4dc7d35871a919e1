/** 3D LUTs as the service writes them in the format `bin`; docs/lut-formats.md describes it. */

const HEADER_BYTES = 16;

/** A 3D LUT of N x N x N colours. Values may leave 0..1: clamp the interpolated colour. */
export class Lut {
  /**
   * @param {number} size N
   * @param {Uint16Array | Uint8Array | Float32Array} texels RGBA in 3D-texture order (red fastest,
   *     then green, then blue), as float16, uint8 or float32
   */
  constructor(size, texels) {
    this.size = size;
    this.texels = texels;
  }

  /**
   * Parse a file of the format `bin`.
   *
   * @param {ArrayBuffer} buffer
   * @throws {RangeError} it is not such a file
   */
  static parse(buffer) {
    const view = new DataView(buffer);
    const magic = buffer.byteLength >= HEADER_BYTES && view.getUint32(0, false) === 0x434c5554;
    if (!magic || view.getUint8(4) !== 1) throw new RangeError("This is not a LUT of format=bin.");
    const size = view.getUint16(6, true);
    const texels = view.getUint8(5) === 2 ? Uint16Array : Uint8Array;
    const count = 4 * size ** 3;
    if (buffer.byteLength !== HEADER_BYTES + count * texels.BYTES_PER_ELEMENT) {
      throw new RangeError("The LUT is incomplete.");
    }
    return new Lut(size, new texels(buffer, HEADER_BYTES, count));
  }

  /** The colours as floats, RGB, in the same order; for computations without WebGL. */
  get colours() {
    const { texels } = this;
    const toFloat = TO_FLOAT.get(texels.constructor);
    this._colours ??= Float32Array.from({ length: 3 * this.size ** 3 }, (_, i) =>
      toFloat(texels[4 * Math.floor(i / 3) + (i % 3)]),
    );
    return this._colours;
  }

  /**
   * Interpolate one colour trilinearly.
   *
   * @param {number} red 0..1
   * @param {number} green 0..1
   * @param {number} blue 0..1
   * @returns {[number, number, number]} not clamped
   */
  sample(red, green, blue) {
    const { size, colours } = this;
    const last = size - 1;
    const cell = (value) => Math.min(Math.floor(value * last), last - 1);
    const [x, y, z] = [cell(red), cell(green), cell(blue)];
    const [fx, fy, fz] = [red * last - x, green * last - y, blue * last - z];
    const result = [0, 0, 0];
    for (let corner = 0; corner < 8; corner++) {
      const [i, j, k] = [corner & 1, (corner >> 1) & 1, corner >> 2];
      const weight = (i ? fx : 1 - fx) * (j ? fy : 1 - fy) * (k ? fz : 1 - fz);
      const offset = 3 * (x + i + size * (y + j + size * (z + k)));
      for (let c = 0; c < 3; c++) result[c] += weight * colours[offset + c];
    }
    return result;
  }
}

const TO_FLOAT = new Map([
  [Uint8Array, (value) => value / 255],
  [Uint16Array, halfToFloat],
  [Float32Array, (value) => value],
]);

function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * 2 ** -24 * fraction;
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}
