/** Mouse, touch, wheel and keys on the photo: they move the split, zoom and pan. */

const PAN_STEP = 60; // CSS pixels, of an arrow key
const SPLIT_STEPS = {
  ArrowLeft: -0.02,
  ArrowDown: -0.02,
  ArrowRight: 0.02,
  ArrowUp: 0.02,
  PageDown: -0.1,
  PageUp: 0.1,
  Home: -1,
  End: 1,
};

export class Gestures {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.pointers = new Map(); // those that are down, with their places
    const { stage, handle } = viewer;
    stage.addEventListener("pointerdown", (event) => this.onDown(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) {
      stage.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    stage.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.onKey(event));
    handle.addEventListener("keydown", (event) => this.onHandleKey(event));
  }

  pointOf({ clientX, clientY }) {
    const { left, top } = this.viewer.stage.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  onDown(event) {
    if (event.target.closest("button") || event.button > 0) return;
    const { stage, handle, fits } = this.viewer;
    stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.pointOf(event));
    this.movesSplit = fits || handle.contains(event.target);
    if (this.movesSplit && this.pointers.size === 1) this.moveSplit(event);
  }

  moveSplit(event) {
    this.viewer.setSplit(this.pointOf(event)[0] / this.viewer.stage.clientWidth);
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const point = this.pointOf(event);
    if (this.pointers.size > 1) this.pinch(event.pointerId, before, point);
    else if (this.movesSplit) this.moveSplit(event);
    else this.viewer.panBy(point[0] - before[0], point[1] - before[1]);
    this.pointers.set(event.pointerId, point);
  }

  /** One of two fingers has moved. */
  pinch(id, before, point) {
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    const distance = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
    this.viewer.panBy((point[0] - before[0]) / 2, (point[1] - before[1]) / 2);
    const middle = [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
    this.viewer.zoomBy(distance(point) / Math.max(1, distance(before)), middle);
  }

  onDoubleClick(event) {
    if (event.target.closest("button")) return;
    if (this.viewer.fits) this.viewer.showPixels(this.pointOf(event));
    else this.viewer.fit();
  }

  onWheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode ? 16 * event.deltaY : event.deltaY;
    // The gesture of a touchpad arrives as a wheel with small steps and the control key.
    this.viewer.zoomBy(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)), this.pointOf(event));
  }

  onKey(event) {
    const { viewer } = this;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== viewer.stage) return;
    const actions = {
      "+": () => viewer.zoomIn(),
      "=": () => viewer.zoomIn(),
      "-": () => viewer.zoomOut(),
      0: () => viewer.fit(),
      1: () => viewer.showPixels(),
      ArrowLeft: () => viewer.panBy(PAN_STEP, 0),
      ArrowRight: () => viewer.panBy(-PAN_STEP, 0),
      ArrowUp: () => viewer.panBy(0, PAN_STEP),
      ArrowDown: () => viewer.panBy(0, -PAN_STEP),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  onHandleKey(event) {
    const step = SPLIT_STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.viewer.setSplit(this.viewer.split + step);
  }
}
