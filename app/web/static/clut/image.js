/** Images: decoded, reduced to a thumbnail, changed by a LUT, encoded. */

import { copyMetadata } from "./jpeg.js";
import { LutRenderer } from "./webgl.js";

const THUMBNAIL_QUALITY = 0.92;
const MAX_TILE = 4096; // pixels per side; textures may be limited to 2048, most to 8192 or more

/**
 * Decode an image upright and in sRGB: EXIF orientation and colour profile are applied.
 *
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>}
 * @throws {DOMException} the browser does not read the format, or the file is damaged
 */
export function decodeImage(file) {
  return createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
}

/**
 * Draw the thumbnail that a network reads: a square, whatever the proportions of the image.
 *
 * The defaults are those of the embedded models. `GET /models` returns the recipe of every model as
 * `thumbnail`. Without antialiasing, each pixel is interpolated from four pixels of the image, as
 * in the training of the networks.
 *
 * @param {ImageBitmap} image
 * @param {{size?: number, antialias?: boolean}} recipe
 * @returns {Promise<OffscreenCanvas>}
 */
export async function drawThumbnail(image, { size = 256, antialias = false } = {}) {
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d");
  if (antialias) {
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, size, size);
  } else {
    const renderer = new LutRenderer(new OffscreenCanvas(size, size));
    await renderer.setImage(image, { resizeCanvas: false });
    renderer.render();
    context.drawImage(renderer.canvas, 0, 0);
    renderer.dispose();
  }
  return canvas;
}

/**
 * Make a thumbnail to be sent; see `drawThumbnail`.
 *
 * @param {ImageBitmap} image
 * @param {{size?: number, antialias?: boolean}} recipe
 * @returns {Promise<Blob>} an image file of some 30 KB
 */
export async function makeThumbnail(image, recipe) {
  const canvas = await drawThumbnail(image, recipe);
  return canvas.convertToBlob({ type: "image/jpeg", quality: THUMBNAIL_QUALITY });
}

/**
 * Apply a LUT to an image of any size.
 *
 * @param {ImageBitmap} image
 * @param {Lut} lut
 * @param {{strength?: number, interpolation?: "tetrahedral" | "trilinear"}} options
 * @returns {Promise<OffscreenCanvas>} of the size of the image
 */
export async function applyLut(image, lut, { strength = 1, interpolation = "tetrahedral" } = {}) {
  const { width, height } = image;
  const output = new OffscreenCanvas(width, height);
  const context = output.getContext("2d");
  const renderer = new LutRenderer(new OffscreenCanvas(1, 1));
  renderer.setLut(lut);
  const tile = Math.min(MAX_TILE, renderer.gl.getParameter(renderer.gl.MAX_TEXTURE_SIZE));
  for (let top = 0; top < height; top += tile) {
    for (let left = 0; left < width; left += tile) {
      const [columns, rows] = [Math.min(tile, width - left), Math.min(tile, height - top)];
      const whole = columns === width && rows === height;
      const area = [left, top, columns, rows];
      const options = { premultiplyAlpha: "none" };
      await renderer.setImage(whole ? image : await createImageBitmap(image, ...area, options));
      renderer.render({ strength, interpolation });
      context.drawImage(renderer.canvas, left, top);
    }
  }
  renderer.dispose();
  return output;
}

/**
 * Encode a canvas as a file.
 *
 * A JPEG of a JPEG keeps EXIF, XMP, IPTC and comments. The orientation becomes 1, since the pixels
 * are upright, and the embedded thumbnail is dropped, since it shows the image without the look.
 * The result is in sRGB and has no colour profile. Other formats carry no metadata: use
 * POST /enhance with `look` for those, for 16 bits per channel and for formats that browsers do not
 * write.
 *
 * @param {OffscreenCanvas} canvas
 * @param {{type?: string, quality?: number, original?: Blob | null}} options `original` is the file
 *     whose metadata are kept; null keeps none
 * @returns {Promise<Blob>}
 */
export async function encodeImage(canvas, options = {}) {
  const { type = "image/jpeg", quality = 0.92, original = null } = options;
  const blob = await canvas.convertToBlob({ type, quality });
  return original && blob.type === "image/jpeg" ? copyMetadata(original, blob, canvas) : blob;
}
