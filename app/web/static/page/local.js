/** The page on this device alone, at `/?local=1`: nothing of a photo leaves the browser. */

import {
  ClutNetwork,
  ServiceError,
  applyLut,
  decodeImage,
  drawThumbnail,
  encodeImage,
} from "../clut.js";
import { $ } from "./dom.js";
import { enhancedName } from "./save.js";
import { PageService } from "./server.js";

const WEIGHTS = "static/default.safetensors";
const TYPES = ["image/jpeg", "image/png", "image/webp"]; // that browsers write
const MODEL = { name: "default", version: "", thumbnail: {} };

/** Say where the work is done, and link to the other place. */
export function showMode(isLocal) {
  $("on-device").hidden = !isLocal;
  $("privacy").dataset.text = isLocal ? "privacyLocal" : "privacy";
  $("mode").dataset.text = isLocal ? "useServer" : "useDevice";
  $("mode").href = isLocal ? "./" : "?local=1";
}

export class LocalService extends PageService {
  async offer() {
    await this.network();
    const models = { default: "default@", models: [MODEL], restoration: [] };
    const format = { enum: ["auto", ...TYPES.map((type) => type.split("/")[1])] };
    return { models, parameters: { format, metadata: { enum: ["keep", "strip"] } } };
  }

  /** Fetch the network once. */
  network() {
    this.loading ??= this.request(WEIGHTS)
      .then(async (response) => ClutNetwork.parse(await response.arrayBuffer()))
      .catch((error) => {
        this.loading = null;
        throw error;
      });
    return this.loading;
  }

  async decode(file) {
    try {
      return await decodeImage(file);
    } catch {
      throw new ServiceError(415, {}, null);
    }
  }

  async predict(image) {
    const canvas = await drawThumbnail(image);
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
    return { lut: (await this.network()).predict(pixels), token: "", model: MODEL.name };
  }

  /** The browser copies metadata from JPEG to JPEG alone. */
  keepsMetadata(file, format) {
    return file.type === "image/jpeg" && typeOf(file, format) === "image/jpeg";
  }

  async enhance(file, { look, strength, format, size, metadata }) {
    const image = await reduce(await this.decode(file), size);
    const canvas = await applyLut(image, look.lut, { strength: strength / 100 });
    image.close();
    const type = typeOf(file, format);
    const original = metadata === "keep" ? file : null;
    const blob = await encodeImage(canvas, { type, original });
    return { name: enhancedName(file.name, blob.type.split("/")[1]), blob };
  }
}

/** Return the media type in which the browser writes a photo, in a format or `auto`. */
function typeOf(file, format) {
  if (format !== "auto") return `image/${format}`;
  return TYPES.includes(file.type) ? file.type : TYPES[0];
}

/** Reduce the longer side of an image to at most `side` pixels; an empty text keeps the size. */
async function reduce(image, side) {
  const scale = side / Math.max(image.width, image.height);
  if (!side || scale >= 1) return image;
  const [resizeWidth, resizeHeight] = [image.width, image.height].map((it) =>
    Math.max(1, Math.round(it * scale)),
  );
  const options = { resizeWidth, resizeHeight, resizeQuality: "high", premultiplyAlpha: "none" };
  const smaller = await createImageBitmap(image, options);
  image.close();
  return smaller;
}
