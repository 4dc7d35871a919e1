/** A CLUT-Net in the browser: predicts a look from a thumbnail without the service. */

import { Lut } from "./lut.js";

const [MEAN, STD] = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
];
const NORM_EPSILON = 1e-5;
const CONVOLUTIONS = [0, 3, 6, 9, 12]; // places in the backbone; two after each comes its norm
const COLOUR_CONVOLUTIONS = [1, 3];

/** Planes of floats, [channel][y][x]: a square image or its features. */
class Planes {
  constructor(channels, size, data = new Float32Array(channels * size * size)) {
    Object.assign(this, { channels, size, data });
  }

  plane(channel) {
    const length = this.size ** 2;
    return this.data.subarray(channel * length, (channel + 1) * length);
  }

  means() {
    return Float32Array.from({ length: this.channels }, (_, i) => mean(this.plane(i)));
  }
}

/** The network of the paper with a compressed basis, as `app/networks/clutnet.py` defines it. */
export class ClutNetwork {
  /**
   * @param {Record<string, {shape: number[], data: Float32Array}>} tensors by their names in
   *     `weights.safetensors`
   */
  constructor(tensors) {
    for (const name of ["trunk.0.weight", "head.2.weight", "psi", "strong", "weak"]) {
      if (!tensors[name]) throw new RangeError(`These weights lack ${name}.`);
    }
    this.tensors = tensors;
  }

  /**
   * Parse `weights.safetensors` of a model of the architecture `clutnet` with S and W.
   *
   * @param {ArrayBuffer} buffer
   * @throws {RangeError} it is another file
   */
  static parse(buffer) {
    try {
      const length = Number(new DataView(buffer).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
      delete header.__metadata__;
      const tensors = Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => {
        if (dtype !== "F32") throw new RangeError(`${name} is ${dtype}.`);
        const [from, to] = data_offsets.map((offset) => 8 + length + offset);
        return [name, { shape, data: new Float32Array(buffer.slice(from, to)) }];
      });
      return new ClutNetwork(Object.fromEntries(tensors));
    } catch (error) {
      throw error instanceof RangeError ? error : new RangeError("These are no weights.");
    }
  }

  /**
   * Predict the LUT of an image.
   *
   * @param {ImageData} thumbnail of `drawThumbnail`, a square of 256 pixels
   * @returns {Lut} with float32 texels
   */
  predict(thumbnail) {
    const image = normalise(thumbnail);
    const features = [...this.backbone(image), ...this.colours(image)];
    const weights = this.linear("head.2", this.linear("head.0", features).map(hardSwish));
    return this.decode(this.restrain(weights));
  }

  /** Reduce small looks, by a quadratic form of their weights; see `restraint` of the class. */
  restrain(weights) {
    const form = this.tensors.restraint?.data;
    if (!form) return weights;
    let squares = 0;
    weights.forEach((a, i) =>
      weights.forEach((b, k) => (squares += form[i * weights.length + k] * a * b)),
    );
    return weights.map((weight) => (weight * squares) / (1 + squares));
  }

  /** Five convolutions, each with LeakyReLU(0.2) and, but for the last, an instance norm. */
  backbone(image) {
    let planes = image;
    for (const at of CONVOLUTIONS) {
      planes = convolve(planes, this.layer(`trunk.${at}`));
      planes.data.forEach((value, i, data) => (data[i] = value < 0 ? 0.2 * value : value));
      const norm = this.layer(`trunk.${at + 2}`);
      if (norm.weight) normaliseInstances(planes, norm);
    }
    return planes.means();
  }

  /** What a small network makes of each colour; none in a network without that part. */
  colours(image) {
    if (!this.tensors["colours.1.weight"]) return [];
    const small = halve(halve(image));
    const [sums, pixels] = [[], small.size ** 2];
    for (let i = 0; i < pixels; i++) {
      let colour = [0, 1, 2].map((channel) => small.data[channel * pixels + i]);
      for (const at of COLOUR_CONVOLUTIONS) {
        colour = this.linear(`colours.${at}`, colour).map(hardSwish);
      }
      colour.forEach((value, k) => (sums[k] = (sums[k] ?? 0) + value / pixels));
    }
    return sums;
  }

  layer(name) {
    const [weight, bias] = ["weight", "bias"].map((kind) => this.tensors[`${name}.${kind}`]?.data);
    return { weight, bias };
  }

  linear(name, input) {
    const { weight, bias } = this.layer(name);
    return bias.map((start, row) => {
      let sum = start;
      for (let i = 0; i < input.length; i++) sum += weight[row * input.length + i] * input[i];
      return sum;
    });
  }

  /** Mix the basis while it is compressed, expand it, and add the identity. */
  decode(weights) {
    const { psi, strong, weak } = this.tensors; // (S, N, 3, W), (D, S), (W, D^2)
    const [s, count, channels, w] = psi.shape;
    const [size, squared] = [strong.shape[0], weak.shape[1]];
    const mixed = new Float32Array(s * channels * w); // [s][channel][w]
    psi.data.forEach((value, i) => {
      const [row, column] = [Math.floor(i / (channels * w)), i % (channels * w)];
      const [n, outer] = [row % count, Math.floor(row / count)];
      mixed[outer * channels * w + column] += weights[n] * value;
    });
    const texels = new Float32Array(4 * size ** 3).fill(1);
    // Of each channel, the own axis comes first: [r][b][g], [g][b][r], [b][g][r].
    const strides = [
      [1, size, squared],
      [size, 1, squared],
      [squared, 1, size],
    ];
    for (let channel = 0; channel < channels; channel++) {
      const [own, inner, outer] = strides[channel];
      for (let at = 0; at < squared; at++) {
        const place = (at % size) * inner + Math.floor(at / size) * outer;
        const across = Array.from({ length: s }, (_, row) => {
          let sum = 0;
          for (let i = 0; i < w; i++) {
            sum += mixed[(row * channels + channel) * w + i] * weak.data[i * squared + at];
          }
          return sum;
        });
        for (let step = 0; step < size; step++) {
          let value = step / (size - 1);
          for (let row = 0; row < s; row++) value += strong.data[step * s + row] * across[row];
          texels[4 * (place + step * own) + channel] = value;
        }
      }
    }
    return new Lut(size, texels);
  }
}

function normalise({ data, width }) {
  const image = new Planes(3, width);
  for (let channel = 0; channel < 3; channel++) {
    image.plane(channel).forEach((_, i, plane) => {
      plane[i] = (data[4 * i + channel] / 255 - MEAN[channel]) / STD[channel];
    });
  }
  return image;
}

/** A 3x3 convolution of stride 2 with a border of zeros. */
function convolve(input, { weight, bias }) {
  const [from, size] = [input.size, input.size / 2];
  const output = new Planes(bias.length, size);
  const wide = from + 1; // with a border above and on the left; below and right none is read
  const padded = new Planes(input.channels, wide);
  for (let channel = 0; channel < input.channels; channel++) {
    for (let y = 0; y < from; y++) {
      const row = input.plane(channel).subarray(y * from, (y + 1) * from);
      padded.plane(channel).set(row, (y + 1) * wide + 1);
    }
  }
  for (let channel = 0; channel < bias.length; channel++) {
    const sums = output.plane(channel).fill(bias[channel]);
    for (let other = 0; other < input.channels; other++) {
      const first = 9 * (channel * input.channels + other);
      const [a, b, c, d, e, f, g, h, i] = weight.subarray(first, first + 9);
      const plane = padded.plane(other);
      for (let y = 0; y < size; y++) {
        let [up, at] = [2 * y * wide, y * size];
        for (let x = 0; x < size; x++, up += 2, at++) {
          const [middle, down] = [up + wide, up + 2 * wide];
          sums[at] +=
            a * plane[up] + b * plane[up + 1] + c * plane[up + 2] +
            d * plane[middle] + e * plane[middle + 1] + f * plane[middle + 2] +
            g * plane[down] + h * plane[down + 1] + i * plane[down + 2];
        }
      }
    }
  }
  return output;
}

function normaliseInstances(planes, { weight, bias }) {
  for (let channel = 0; channel < planes.channels; channel++) {
    const plane = planes.plane(channel);
    const centre = mean(plane);
    const variance = plane.reduce((sum, value) => sum + (value - centre) ** 2, 0) / plane.length;
    const factor = weight[channel] / Math.sqrt(variance + NORM_EPSILON);
    plane.forEach((value, i) => (plane[i] = (value - centre) * factor + bias[channel]));
  }
}

/** Reduce to half the size by means of four pixels. */
function halve({ channels, size, data }) {
  const half = new Planes(channels, size / 2);
  half.data.forEach((_, i) => {
    const [x, y] = [i % half.size, Math.floor(i / half.size)]; // of all channels, one below another
    const at = 2 * y * size + 2 * x;
    half.data[i] = (data[at] + data[at + 1] + data[at + size] + data[at + size + 1]) / 4;
  });
  return half;
}

function hardSwish(value) {
  return (value * Math.min(6, Math.max(0, value + 3))) / 6;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
