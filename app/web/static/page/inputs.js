/** Where photos come from: files, drops and the clipboard. */

import { $ } from "./dom.js";

/** @param {(files: Iterable<File>) => void} addPhotos */
export function listenForPhotos(addPhotos) {
  for (const id of ["open", "choose"]) $(id).onclick = () => $("files").click();
  for (const id of ["files", "capture"]) {
    $(id).onchange = () => {
      addPhotos($(id).files);
      $(id).value = "";
    };
  }
  addEventListener("paste", (event) => addPhotos(event.clipboardData?.files ?? []));
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    addPhotos(event.dataTransfer.files);
  });
}
