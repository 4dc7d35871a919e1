/** The LUT as a lattice that turns: every point moves from its own colour to that of the look. */

import { createProgram } from "../clut.js";

const POINTS = 9; // per axis
const TURN = 0.00025; // radians per millisecond
const MORPH = 900; // milliseconds from identity to look

const VERTEX_SHADER = `#version 300 es
in vec3 identity;
in vec3 look;
in float is_end; // of a line, which begins at the identity
uniform vec2 turn; // yaw and pitch in radians
uniform float aspect, amount, pixels;
out vec3 tint;
out float depth;
void main() {
  vec3 moved = clamp(mix(identity, look, amount), 0.0, 1.0);
  vec3 p = mix(identity, moved, is_end) - 0.5;
  p.xz = mat2(cos(turn.x), sin(turn.x), -sin(turn.x), cos(turn.x)) * p.xz;
  p.yz = mat2(cos(turn.y), sin(turn.y), -sin(turn.y), cos(turn.y)) * p.yz;
  float distance = 2.6 - p.z;
  depth = smoothstep(3.5, 1.8, distance);
  tint = moved;
  gl_Position = vec4(p.x * 2.9 / aspect, p.y * 2.9 + 0.14, (distance - 2.6) * 0.5, distance);
  gl_PointSize = pixels * 2.4 / distance;
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 tint;
in float depth;
uniform float line_alpha;
uniform bool points;
out vec4 colour;
void main() {
  float alpha = line_alpha;
  if (points) {
    float radius = length(gl_PointCoord - 0.5) * 2.0;
    alpha = 1.0 - smoothstep(0.75, 1.0, radius);
    if (alpha < 0.05) discard;
    alpha *= mix(0.55, 1.0, depth);
  }
  colour = vec4(tint * alpha, alpha);
}`;

export class Lattice {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.turn = [0.6, 0.42];
    this.strength = 0;
    this.amount = 0;
    this.morphBegin = 0;
    this.visible = false;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.start();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.start());
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.request();
    }).observe(canvas);
    new ResizeObserver(() => this.request()).observe(canvas);
    this.listen();
  }

  start() {
    const gl = this.canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error("WebGL2");
    this.gl = gl;
    this.program = createProgram(gl, VERTEX_SHADER, FRAGMENT_SHADER);
    this.uniforms = {};
    for (const name of ["turn", "aspect", "amount", "pixels", "line_alpha", "points"]) {
      this.uniforms[name] = gl.getUniformLocation(this.program, name);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    this.setLut(this.lut ?? null);
  }

  /** @param {import("../clut.js").Lut | null} lut null is the identity */
  setLut(lut) {
    this.lut = lut;
    const identities = [];
    for (let i = 0; i < POINTS ** 3; i++) {
      const step = (axis) => (Math.floor(i / POINTS ** axis) % POINTS) / (POINTS - 1);
      identities.push([step(0), step(1), step(2)]);
    }
    const looks = identities.map((colour) => (lut ? lut.sample(...colour) : colour));
    this.points = this.buffer(identities.flatMap((it, i) => [...it, ...looks[i], 1]));
    this.lines = this.buffer(
      identities.flatMap((it, i) => [...it, ...looks[i], 0, ...it, ...looks[i], 1]),
    );
    this.count = identities.length;
    this.morphBegin = performance.now();
    this.request();
  }

  buffer(values) {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(values), gl.STATIC_DRAW);
    let offset = 0;
    for (const [name, size] of [
      ["identity", 3],
      ["look", 3],
      ["is_end", 1],
    ]) {
      const place = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 28, offset);
      offset += 4 * size;
    }
    return array;
  }

  setStrength(strength) {
    this.strength = strength;
    this.request();
  }

  request() {
    if (this.frame || !this.visible) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = null;
      this.advance(now);
      this.draw();
    });
  }

  advance(now) {
    const progress = this.still.matches ? 1 : Math.min(1, (now - this.morphBegin) / MORPH);
    this.amount = this.strength * (1 - (1 - Math.max(0, progress)) ** 3);
    const elapsed = Math.min(100, now - (this.last ?? now));
    this.last = now;
    const turning = !this.still.matches && !this.held && !document.hidden;
    if (turning) this.turn[0] += elapsed * TURN;
    if (turning || progress < 1) this.request();
  }

  draw() {
    const { gl, canvas, uniforms } = this;
    const size = [canvas.clientWidth, canvas.clientHeight].map((it) => it * devicePixelRatio);
    const [width, height] = size.map((it) => Math.max(1, Math.round(it)));
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    gl.uniform2f(uniforms.turn, ...this.turn);
    gl.uniform1f(uniforms.aspect, width / height);
    gl.uniform1f(uniforms.amount, this.amount);
    gl.uniform1f(uniforms.pixels, height / 36);
    gl.uniform1f(uniforms.line_alpha, 0.4);
    gl.uniform1i(uniforms.points, 0);
    gl.bindVertexArray(this.lines);
    gl.drawArrays(gl.LINES, 0, 2 * this.count);
    gl.uniform1i(uniforms.points, 1);
    gl.bindVertexArray(this.points);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  turnBy(yaw, pitch) {
    this.turn[0] += yaw;
    this.turn[1] = Math.min(1.5, Math.max(-1.5, this.turn[1] + pitch));
    this.request();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.held = true;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.held) this.turnBy(event.movementX * 0.01, event.movementY * 0.01);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        this.held = false;
        this.request();
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const turns = {
        ArrowLeft: [-0.15, 0],
        ArrowRight: [0.15, 0],
        ArrowUp: [0, -0.15],
        ArrowDown: [0, 0.15],
      };
      if (!turns[event.key]) return;
      event.preventDefault();
      this.turnBy(...turns[event.key]);
    });
  }
}
