/** The photo before and after, with a split that moves, zoom and pan. */

import { LUT_GLSL, createImageTexture, createLutTexture, createProgram, Lut } from "../clut.js";
import { Gestures } from "./gestures.js";

const VERTEX_SHADER = `#version 300 es
uniform vec4 box; // of the image on the canvas: left, top, right, bottom, in clip coordinates
out vec2 place;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(mix(box.xy, box.zw, place), 0.0, 1.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
uniform sampler2D image;
uniform sampler2D other;
uniform bool has_other;
uniform float split; // in pixels of the canvas
in vec2 place;
out vec4 colour;
${LUT_GLSL}
void main() {
  vec4 pixel = texture(image, place);
  if (gl_FragCoord.x >= split) {
    if (has_other) pixel = texture(other, place);
    else pixel.rgb = applyLook(pixel.rgb);
  }
  colour = vec4(pixel.rgb * pixel.a, pixel.a);
}`;

const UNIFORMS = ["box", "image", "other", "has_other", "split", "lut", "strength", "trilinear"];
const MAX_ZOOM = 8; // pixels of the screen per pixel of the photo
const STEP = 1.25; // of a zoom button

export class Viewer {
  /**
   * @param {HTMLElement} stage holds the canvas and the handle
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} handle of the split, a slider
   * @param {(zoom: number, fits: boolean) => void} onZoom is called with pixels per pixel
   */
  constructor(stage, canvas, handle, onZoom) {
    Object.assign(this, { stage, canvas, handle, onZoom });
    this.split = 0.5; // of the stage
    this.strength = 1;
    this.hasLut = false;
    this.size = [1, 1]; // of the photo
    this.zoom = 1; // CSS pixels per pixel of the photo
    this.centre = [0.5, 0.5]; // of the stage, in the photo
    this.fits = true;
    this.start();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.restore());
    new ResizeObserver(() => this.layOut()).observe(stage);
    new Gestures(this);
  }

  start() {
    const gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!gl) throw new Error("WebGL2");
    this.gl = gl;
    this.program = createProgram(gl, VERTEX_SHADER, FRAGMENT_SHADER);
    this.uniforms = {};
    for (const name of UNIFORMS) this.uniforms[name] = gl.getUniformLocation(this.program, name);
    this.lutTexture = createLutTexture(gl, new Lut(2, new Uint8Array(32)));
    this.imageTexture = this.otherTexture = null;
  }

  restore() {
    const { image, lut, other } = this;
    this.start();
    if (image) this.upload("imageTexture", image);
    if (lut) this.setLut(lut);
    this.setOther(other ?? null);
  }

  /** @param {ImageBitmap} image the photo before */
  async setImage(image) {
    const limit = this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE);
    const reduction = Math.min(1, limit / Math.max(image.width, image.height));
    const resize = { resizeWidth: Math.floor(image.width * reduction), resizeQuality: "high" };
    this.image = reduction < 1 ? await createImageBitmap(image, resize) : image;
    this.size = [image.width, image.height];
    this.stage.style.setProperty("--aspect", String(image.width / image.height));
    this.upload("imageTexture", this.image);
    this.hasLut = false;
    this.setOther(null);
    this.fit();
  }

  /** @param {Lut} lut */
  setLut(lut) {
    this.lut = lut;
    this.gl.deleteTexture(this.lutTexture);
    this.lutTexture = createLutTexture(this.gl, lut);
    this.hasLut = true;
    this.draw();
  }

  /** @param {ImageBitmap | null} image the photo after, where more than a LUT was applied to it */
  setOther(image) {
    this.other = image;
    this.upload("otherTexture", image);
    this.draw();
  }

  upload(name, image) {
    const { gl } = this;
    gl.deleteTexture(this[name]);
    this[name] = image && createImageTexture(gl, image);
    if (!image) return;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  setStrength(strength) {
    this.strength = strength;
    this.draw();
  }

  /** @param {number} split 0..1 */
  setSplit(split) {
    this.split = Math.min(1, Math.max(0, split));
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * this.split)));
    this.draw();
  }

  /** The zoom at which the whole photo is visible. */
  get fitZoom() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.size[0], clientHeight / this.size[1]);
  }

  fit() {
    this.fits = true;
    this.layOut();
  }

  /** Zoom by a factor, about a point of the stage in CSS pixels. */
  zoomBy(factor, [x, y] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const before = this.zoom;
    const smallest = Math.min(1, this.fitZoom);
    this.zoom = Math.min(MAX_ZOOM, Math.max(smallest, before * factor));
    this.fits = this.zoom <= this.fitZoom;
    const change = 1 / before - 1 / this.zoom;
    this.centre[0] += ((x - this.stage.clientWidth / 2) * change) / this.size[0];
    this.centre[1] += ((y - this.stage.clientHeight / 2) * change) / this.size[1];
    this.layOut();
  }

  panBy(x, y) {
    this.centre[0] -= x / this.zoom / this.size[0];
    this.centre[1] -= y / this.zoom / this.size[1];
    this.layOut();
  }

  layOut() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth || !clientHeight) return;
    if (this.fits) this.zoom = this.fitZoom;
    [clientWidth, clientHeight].forEach((length, axis) => {
      // Half of the stage, as a share of the photo; a photo that fits is centred.
      const half = length / this.zoom / this.size[axis] / 2;
      const inside = Math.min(1 - half, Math.max(half, this.centre[axis]));
      this.centre[axis] = half >= 0.5 ? 0.5 : inside;
    });
    this.stage.classList.toggle("zoomed", !this.fits);
    this.onZoom(this.zoom * devicePixelRatio, this.fits);
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.drawNow();
    });
  }

  drawNow() {
    const { gl, canvas, stage, uniforms } = this;
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    const [columns, rows] = [width, height].map((it) => Math.round(it * devicePixelRatio));
    if (canvas.width !== columns || canvas.height !== rows) {
      [canvas.width, canvas.height] = [columns, rows];
    }
    const [photoWidth, photoHeight] = this.size.map((it) => it * this.zoom);
    const left = width / 2 - this.centre[0] * photoWidth;
    const top = height / 2 - this.centre[1] * photoHeight;
    this.placeHandle(left, top, photoWidth, photoHeight);
    gl.viewport(0, 0, columns, rows);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.imageTexture) return;
    gl.useProgram(this.program);
    this.bind(0, gl.TEXTURE_2D, this.imageTexture, uniforms.image);
    this.bind(1, gl.TEXTURE_2D, this.otherTexture ?? this.imageTexture, uniforms.other);
    this.bind(2, gl.TEXTURE_3D, this.lutTexture, uniforms.lut);
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform1i(uniforms.has_other, this.otherTexture ? 1 : 0);
    gl.uniform1i(uniforms.trilinear, 0);
    gl.uniform1f(uniforms.strength, this.hasLut ? this.strength : 0);
    gl.uniform1f(uniforms.split, this.split * columns);
    const clip = (x, y) => [(2 * x) / width - 1, 1 - (2 * y) / height];
    gl.uniform4f(uniforms.box, ...clip(left, top), ...clip(left + photoWidth, top + photoHeight));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  bind(unit, target, texture, uniform) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, texture);
    gl.uniform1i(uniform, unit);
  }

  /** Place the handle, its line over the photo alone, and the labels. */
  placeHandle(left, top, width, height) {
    const { style } = this.stage;
    const { clientWidth, clientHeight } = this.stage;
    const [right, bottom] = [left + width, top + height];
    style.setProperty("--split", `${this.split * clientWidth}px`);
    style.setProperty("--left", `${Math.max(0, left)}px`);
    style.setProperty("--top", `${Math.max(0, top)}px`);
    style.setProperty("--right", `${Math.max(0, clientWidth - right)}px`);
    style.setProperty("--bottom", `${Math.max(0, clientHeight - bottom)}px`);
  }

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  /** Show a pixel of the photo on each pixel of the screen. */
  showPixels(point) {
    this.zoomBy(1 / devicePixelRatio / this.zoom, point);
  }
}
