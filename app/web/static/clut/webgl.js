/** LUTs and images as textures, and the shader that applies one to the other. */

import { Lut } from "./lut.js";

/**
 * GLSL functions that apply a LUT, for shaders of your own: bind `createLutTexture` to `lut`.
 *
 * `lookTetrahedral` interpolates as the service does by default. `lookTrilinear` takes one texture
 * fetch, whose weights many GPUs round to 8 bits.
 */
export const LUT_GLSL = `
uniform highp sampler3D lut;
uniform float strength;
uniform bool trilinear;

vec3 lutAt(ivec3 point) { return texelFetch(lut, point, 0).rgb; }

vec3 lookTetrahedral(vec3 colour) {
  int last = textureSize(lut, 0).x - 1;
  vec3 position = colour * float(last);
  ivec3 near = min(ivec3(position), ivec3(last - 1));
  vec3 f = position - vec3(near);
  // From the near corner to the far one, along the axes in the order of their fractions.
  ivec3 first, last_axis;
  if (f.r >= f.g) {
    first = f.r >= f.b ? ivec3(1, 0, 0) : ivec3(0, 0, 1);
    last_axis = f.g >= f.b ? ivec3(0, 0, 1) : ivec3(0, 1, 0);
  } else {
    first = f.g >= f.b ? ivec3(0, 1, 0) : ivec3(0, 0, 1);
    last_axis = f.r >= f.b ? ivec3(0, 0, 1) : ivec3(1, 0, 0);
  }
  float largest = max(f.r, max(f.g, f.b));
  float smallest = min(f.r, min(f.g, f.b));
  float middle = f.r + f.g + f.b - largest - smallest;
  ivec3 far = near + ivec3(1);
  return lutAt(near) * (1.0 - largest) + lutAt(near + first) * (largest - middle)
    + lutAt(far - last_axis) * (middle - smallest) + lutAt(far) * smallest;
}

vec3 lookTrilinear(vec3 colour) {
  float size = float(textureSize(lut, 0).x);
  return texture(lut, (colour * (size - 1.0) + 0.5) / size).rgb;
}

vec3 applyLook(vec3 colour) {
  if (strength == 0.0) return colour;
  vec3 look = trilinear ? lookTrilinear(colour) : lookTetrahedral(colour);
  return clamp(mix(colour, look, strength), 0.0, 1.0);
}
`;

const VERTEX_SHADER = `#version 300 es
out vec2 place;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
uniform sampler2D image;
in vec2 place;
out vec4 colour;
${LUT_GLSL}
void main() {
  vec4 pixel = texture(image, place);
  colour = vec4(applyLook(pixel.rgb), pixel.a);
}`;

/**
 * Compile and link a WebGL2 program.
 *
 * @throws {Error} with the log of the compiler
 */
export function createProgram(gl, vertexSource, fragmentSource) {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, vertexSource],
    [gl.FRAGMENT_SHADER, fragmentSource],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error([gl.getProgramInfoLog(program), ...logs].join("\n"));
  }
  return program;
}

/**
 * Upload a LUT as a 3D texture.
 *
 * @param {WebGL2RenderingContext} gl
 * @param {Lut} lut
 */
export function createLutTexture(gl, lut) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_3D, texture);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
    gl.texParameteri(gl.TEXTURE_3D, side, gl.CLAMP_TO_EDGE);
  }
  gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  const { size, texels } = lut;
  const formats = new Map([
    [Uint8Array, [gl.RGBA8, gl.UNSIGNED_BYTE]],
    [Uint16Array, [gl.RGBA16F, gl.HALF_FLOAT]],
    [Float32Array, [gl.RGBA16F, gl.FLOAT]], // float32 textures are not filterable everywhere
  ]);
  const [format, type] = formats.get(texels.constructor);
  gl.texImage3D(gl.TEXTURE_3D, 0, format, size, size, size, 0, gl.RGBA, type, texels);
  return texture;
}

/**
 * Upload an image as a texture without mipmaps.
 *
 * @param {WebGL2RenderingContext} gl
 * @param {TexImageSource} image
 */
export function createImageTexture(gl, image) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, image);
  return texture;
}

/**
 * Draws an image with a look to a canvas: for a slider whose strength changes without a request.
 *
 * The image must fit into one texture; `applyLut` has no such limit.
 */
export class LutRenderer {
  /** @param {HTMLCanvasElement | OffscreenCanvas} canvas */
  constructor(canvas) {
    const options = { premultipliedAlpha: false, antialias: false, depth: false };
    const gl = canvas.getContext("webgl2", options);
    if (!gl) throw new Error("This browser has no WebGL2.");
    this.canvas = canvas;
    this.gl = gl;
    this.program = createProgram(gl, VERTEX_SHADER, FRAGMENT_SHADER);
    this.uniforms = Object.fromEntries(
      ["image", "lut", "strength", "trilinear"].map((name) => [
        name,
        gl.getUniformLocation(this.program, name),
      ]),
    );
    this.imageTexture = this.lutTexture = null;
    this.setLut(new Lut(2, new Uint8Array(32))); // a sampler needs a texture
    this.hasLut = false;
  }

  /**
   * Take an image; the canvas gets its size, unless that is not wanted.
   *
   * @param {ImageBitmap} image
   * @param {{resizeCanvas?: boolean}} options
   */
  async setImage(image, { resizeCanvas = true } = {}) {
    const { gl } = this;
    gl.deleteTexture(this.imageTexture);
    const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    const reduction = Math.min(1, limit / Math.max(image.width, image.height));
    const [width, height] = [image.width, image.height].map((it) => Math.floor(it * reduction));
    const resize = { resizeWidth: width, resizeHeight: height, premultiplyAlpha: "none" };
    const source = reduction < 1 ? await createImageBitmap(image, resize) : image;
    this.imageTexture = createImageTexture(gl, source);
    if (resizeCanvas) [this.canvas.width, this.canvas.height] = [source.width, source.height];
  }

  /** @param {Lut} lut */
  setLut(lut) {
    this.gl.deleteTexture(this.lutTexture);
    this.lutTexture = createLutTexture(this.gl, lut);
    this.hasLut = true;
  }

  /**
   * Draw the image to the canvas.
   *
   * @param {{strength?: number, interpolation?: "tetrahedral" | "trilinear"}} options strength
   *     0..1, where 0 is the image itself
   */
  render({ strength = 1, interpolation = "tetrahedral" } = {}) {
    const { gl, uniforms } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.useProgram(this.program);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.imageTexture);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_3D, this.lutTexture);
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform1i(uniforms.image, 0);
    gl.uniform1i(uniforms.lut, 1);
    gl.uniform1i(uniforms.trilinear, interpolation === "trilinear" ? 1 : 0);
    gl.uniform1f(uniforms.strength, this.hasLut ? strength : 0);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /**
   * Draw an image with a look: `setImage`, `setLut` and `render`.
   *
   * @param {ImageBitmap} image
   * @param {Lut} lut
   * @param {object} options of `render`
   */
  async show(image, lut, options) {
    this.setLut(lut);
    await this.setImage(image);
    this.render(options);
  }

  /** Release the memory of the GPU; browsers allow some 16 contexts. */
  dispose() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
