/** The service behind the page: it predicts looks, reads what browsers do not, and writes files. */

import { ClutService, decodeImage, makeThumbnail } from "../clut.js";
import { askForKey } from "./alerts.js";
import { enhanceQuery, enhancedName } from "./save.js";

const READABLE_SIDE = 4096; // pixels, of a photo that the server decodes for the browser
const PREVIEW_SIDE = 4096; // pixels

/** The service of this page, which asks for an API key when it has to. The key is not stored. */
export class PageService extends ClutService {
  /** Whether the file written for a photo, in a format or `auto`, can hold the photo's metadata. */
  keepsMetadata(_file, _format) {
    return true;
  }

  async request(path, options) {
    for (;;) {
      const { key } = this;
      try {
        return await super.request(path, options);
      } catch (error) {
        if (error.status !== 401) throw error;
        // Another request may have asked in the meantime.
        if (this.key === key) await this.askForKey(error);
      }
    }
  }

  /** Ask once for all requests that wait; throws the error if the dialog is cancelled. */
  async askForKey(error) {
    this.question ??= askForKey(this.key).finally(() => (this.question = null));
    const key = await this.question;
    if (!key) throw error;
    this.key = key;
  }

  /**
   * Return what this server offers.
   *
   * @returns {Promise<{models: object, parameters: object}>} the response of GET /models, and the
   *     schemas of the parameters of POST /enhance by name
   */
  async offer() {
    const openapi = (await this.request("openapi.json")).json();
    const models = await (await this.request("models")).json();
    const { parameters } = (await openapi).paths["/enhance"].post;
    const schemas = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]));
    return { models, parameters: schemas };
  }

  /**
   * Decode a photo.
   *
   * A format that the browser does not read (HEIC, TIFF, JPEG XL) goes to the server, which returns
   * a JPEG without a look.
   *
   * @param {File} file
   * @returns {Promise<ImageBitmap>}
   */
  async decode(file) {
    try {
      return await decodeImage(file);
    } catch {
      const query = { strength: 0, format: "jpeg", quality: 95, max_side: READABLE_SIDE };
      const path = `enhance?${new URLSearchParams({ ...query, metadata: "strip" })}`;
      return decodeImage(await (await this.request(path, { method: "POST", body: file })).blob());
    }
  }

  /**
   * @param {ImageBitmap} image
   * @param {{ref: string, thumbnail: object}} model
   * @returns {Promise<import("../clut.js").Look>}
   */
  async predict(image, model) {
    return this.predictLook(await makeThumbnail(image, model.thumbnail), { model: model.ref });
  }

  /**
   * Enhance a photo at full size.
   *
   * @param {File} file
   * @param {object} choices of `enhanceQuery`
   * @returns {Promise<{name: string, blob: Blob}>}
   */
  async enhance(file, choices) {
    return this.fetchEnhanced(file, enhanceQuery(choices));
  }

  /**
   * Draw a photo for the screen, where more than a LUT is applied to it.
   *
   * @returns {Promise<ImageBitmap>}
   */
  async preview(file, choices) {
    const query = enhanceQuery(choices);
    query.set("format", "jpeg");
    query.set("max_side", Math.floor(PREVIEW_SIDE / Number(query.get("upscale") ?? 1)));
    return createImageBitmap((await this.fetchEnhanced(file, query)).blob);
  }

  async fetchEnhanced(file, query) {
    const response = await this.request(`enhance?${query}`, { method: "POST", body: file });
    const blob = await response.blob();
    return { name: enhancedName(file.name, blob.type.split("/")[1]), blob };
  }
}
