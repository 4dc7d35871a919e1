/** What a look is shown on until there is a photo. */

/** A chart of all hues over lightness, above a ramp of grays. */
export function colourChart() {
  const [width, height, ramp] = [1200, 800, 120];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  for (let x = 0; x < width; x++) {
    const hue = (360 * x) / width;
    const column = context.createLinearGradient(0, 0, 0, height - ramp);
    for (let i = 0; i <= 8; i++) column.addColorStop(i / 8, `hsl(${hue} 65% ${95 - 11 * i}%)`);
    context.fillStyle = column;
    context.fillRect(x, 0, 1, height - ramp);
    context.fillStyle = `hsl(0 0% ${(100 * x) / width}%)`;
    context.fillRect(x, height - ramp, 1, ramp);
  }
  return canvas.transferToImageBitmap();
}
