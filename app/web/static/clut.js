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
 * With the weights of a model, the look is predicted in the browser too:
 *
 *     const weights = await fetch("/static/default.safetensors");
 *     const network = ClutNetwork.parse(await weights.arrayBuffer());
 *     const context = (await drawThumbnail(image)).getContext("2d");
 *     const lut = network.predict(context.getImageData(0, 0, 256, 256));
 *
 * Copyright the clut-enhance authors. SPDX-License-Identifier: Apache-2.0
 */

export { applyLut, decodeImage, drawThumbnail, encodeImage, makeThumbnail } from "./clut/image.js";
export { Lut } from "./clut/lut.js";
export { ClutNetwork } from "./clut/network.js";
export { ClutService, ServiceError } from "./clut/service.js";
export {
  LUT_GLSL,
  LutRenderer,
  createImageTexture,
  createLutTexture,
  createProgram,
} from "./clut/webgl.js";
