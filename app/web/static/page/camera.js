/** Take a photo: phones open their camera, other computers show its picture in a dialog. */

import { showError } from "./alerts.js";
import { $ } from "./dom.js";

/** @param {(file: File) => void} onPhoto */
export async function takePhoto(onPhoto) {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) {
    $("capture").click();
    return;
  }
  const [dialog, video] = [$("camera-dialog"), $("video")];
  let stream;
  try {
    const size = { width: { ideal: 4096 }, height: { ideal: 2160 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: size });
  } catch {
    showError("errorCamera");
    return;
  }
  video.srcObject = stream;
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  $("camera-cancel").onclick = () => dialog.close();
  $("shutter").onclick = async () => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    dialog.close();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    onPhoto(new File([blob], "photo.jpg", { type: blob.type }));
  };
  $("shutter").disabled = true; // until there is a picture
  dialog.showModal();
  await video.play();
  $("shutter").disabled = false;
}
