/**
 * Looks of clut-enhance, applied in the browser.
 *
 * Only a thumbnail is sent to the service. The service returns a 3D LUT, and WebGL2 applies it to
 * the full-size image. The module has no dependencies:
 *
 *     const service = new ClutService("https://photos.example");
 *     const image = await decodeImage(file);
 *     const { lut, token } = await service.predictLook(await makeThumbnail(image));
 *     const canvas = await applyLut(image, lut, { strength: 0.8 });
 *     const blob = await encodeImage(canvas, { type: "image/jpeg", original: file });
 *
 * Copyright the clut-enhance authors. SPDX-License-Identifier: Apache-2.0
 */

export { applyLut, decodeImage, encodeImage, makeThumbnail } from "./clut/image.js";
export { Lut } from "./clut/lut.js";
export { ClutService, ServiceError } from "./clut/service.js";
export {
  LUT_GLSL,
  LutRenderer,
  createImageTexture,
  createLutTexture,
  createProgram,
} from "./clut/webgl.js";
