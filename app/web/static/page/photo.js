/** The photos of the album: each is decoded when it is looked at, and keeps its looks. */

import { decodeImage, makeThumbnail } from "../clut.js";

const READABLE_SIDE = 4096; // pixels, of a photo that the server decodes for the browser
const MINIATURE = 144; // pixels

export class Photo {
  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name || "photo";
    this.image = null;
    this.looks = new Map(); // of model references
  }

  /**
   * Decode the photo.
   *
   * A format that the browser does not read (HEIC, TIFF, JPEG XL) goes to the server, which returns
   * a JPEG without a look.
   *
   * @param {import("../clut.js").ClutService} service
   * @returns {Promise<ImageBitmap>}
   */
  decode(service) {
    this.image ??= this.read(service).catch((error) => {
      this.image = null;
      throw error;
    });
    return this.image;
  }

  async read(service) {
    try {
      return await decodeImage(this.file);
    } catch {
      const query = { strength: 0, format: "jpeg", quality: 95, max_side: READABLE_SIDE };
      const options = { method: "POST", body: this.file };
      const path = `enhance?${new URLSearchParams({ ...query, metadata: "strip" })}`;
      return decodeImage(await (await service.request(path, options)).blob());
    }
  }

  /**
   * Predict the look of the photo, once for each model.
   *
   * @param {import("../clut.js").ClutService} service
   * @param {{ref: string, thumbnail: object}} model
   * @returns {Promise<import("../clut.js").Look>}
   */
  look(service, model) {
    if (!this.looks.has(model.ref)) {
      const look = this.predict(service, model);
      this.looks.set(model.ref, look);
      look.catch(() => this.looks.delete(model.ref));
    }
    return this.looks.get(model.ref);
  }

  async predict(service, model) {
    const thumbnail = await makeThumbnail(await this.decode(service), model.thumbnail);
    return service.predictLook(thumbnail, { model: model.ref });
  }

  /** Draw a small copy to a canvas; nothing if the browser does not read the format. */
  async drawMiniature(canvas) {
    canvas.width = canvas.height = MINIATURE;
    try {
      const options = { resizeHeight: MINIATURE, resizeQuality: "medium" };
      const image = await createImageBitmap(this.file, options);
      const left = (MINIATURE - image.width) / 2;
      canvas.getContext("2d").drawImage(image, left, 0);
    } catch {
      canvas.classList.add("unreadable");
    }
  }
}
