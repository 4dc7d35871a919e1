/** The strip of photos below the one that is shown. */

import { $, html } from "./dom.js";

/**
 * Show the photos, if there is more than one.
 *
 * @param {import("./photo.js").Photo[]} photos
 * @param {import("./photo.js").Photo | null} selected
 * @param {(photo: import("./photo.js").Photo) => void} onSelect
 */
export function showAlbum(photos, selected, onSelect) {
  $("album").hidden = photos.length < 2;
  const known = new Map([...$("album").children].map((item) => [item.photo, item]));
  const items = photos.map((photo) => known.get(photo) ?? createItem(photo, onSelect));
  $("album").replaceChildren(...items);
  for (const { photo, firstChild: button } of items) {
    button.setAttribute("aria-current", String(photo === selected));
  }
}

function createItem(photo, onSelect) {
  const canvas = html("canvas");
  const { name } = photo;
  const button = html("button", { type: "button", title: name, ariaLabel: name }, canvas);
  button.onclick = () => onSelect(photo);
  photo.drawMiniature(canvas);
  return Object.assign(html("li", {}, button), { photo });
}
