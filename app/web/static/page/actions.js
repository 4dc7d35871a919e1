/** Buttons that save a file or copy a text. */

import { announce, hideError, showError } from "./alerts.js";
import { saveFile } from "./save.js";
import { t } from "./strings.js";

/**
 * Save the file that a button asks for.
 *
 * @param {HTMLButtonElement} button is disabled meanwhile
 * @param {() => Promise<{name: string, blob: Blob}>} work
 */
export async function download(button, work) {
  button.disabled = true;
  hideError();
  try {
    const file = await work();
    saveFile(file);
    announce(t("saved", { name: file.name }));
  } catch (error) {
    showError(error, () => download(button, work));
  } finally {
    button.disabled = false;
  }
}

/** Copy the text of a field; without permission it is selected, so that a key copies it. */
export async function copy(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    announce(t("copied"));
  } catch {
    // It stays selected.
  }
}
