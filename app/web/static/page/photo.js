/** The photos of the album: each is decoded when it is looked at, and keeps its looks. */

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
   * @param {import("./server.js").PageService} service
   * @returns {Promise<ImageBitmap>}
   */
  decode(service) {
    this.image ??= service.decode(this.file).catch((error) => {
      this.image = null;
      throw error;
    });
    return this.image;
  }

  /**
   * Predict the look of the photo, once for each model.
   *
   * @param {import("./server.js").PageService} service
   * @param {{ref: string, thumbnail: object}} model
   * @returns {Promise<import("../clut.js").Look>}
   */
  look(service, model) {
    if (!this.looks.has(model.ref)) {
      const look = this.decode(service).then((image) => service.predict(image, model));
      this.looks.set(model.ref, look);
      look.catch(() => this.looks.delete(model.ref));
    }
    return this.looks.get(model.ref);
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
