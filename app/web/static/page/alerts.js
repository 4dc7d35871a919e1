/** Messages: errors with a second try, the state of the work, and the question for the API key. */

import { ServiceError } from "../clut.js";
import { $ } from "./dom.js";
import { t } from "./strings.js";

const TITLES = {
  400: "errorLook",
  401: "errorKey",
  403: "errorKey",
  404: "errorLook",
  413: "errorLarge",
  415: "errorFormat",
  422: "errorDamaged",
  429: "errorQuota",
  503: "errorBusy",
  504: "errorBusy",
};
const TITLES_OF_TYPES = {
  "/problems#bad-parameter": "errorOther",
  "/problems#too-many-pixels": "errorLarge",
  "/problems#too-much-memory": "errorLarge",
};

/** Tell screen readers, and nobody else, what has happened. */
export function announce(text) {
  $("status").textContent = text;
}

/**
 * Show an error.
 *
 * @param {unknown} error what was thrown, or the key of a text
 * @param {(() => void) | null} retry is offered as a button
 */
export function showError(error, retry = null) {
  const [title, detail] = describe(error);
  $("alert-title").textContent = t(title);
  $("alert-detail").textContent = detail;
  $("retry").hidden = !retry;
  $("retry").onclick = () => {
    hideError();
    retry();
  };
  $("alert").hidden = false;
}

export function hideError() {
  $("alert").hidden = true;
}

function describe(error) {
  if (typeof error === "string") return [error, ""];
  if (error?.message === "WebGL2") return ["errorWebgl", ""];
  if (error instanceof ServiceError) {
    const title = TITLES_OF_TYPES[error.problem.type] ?? TITLES[error.status] ?? "errorOther";
    return [title, error.message];
  }
  if (error instanceof TypeError) return ["errorOffline", ""]; // fetch throws it
  return ["errorOther", String(error?.message ?? error)];
}

/**
 * Ask for an API key.
 *
 * @param {string | null} refused a key that the server does not accept
 * @returns {Promise<string | null>} null if the dialog is cancelled
 */
export function askForKey(refused) {
  const [dialog, input] = [$("key-dialog"), $("key")];
  $("key-cancel").onclick = () => dialog.close("");
  $("key-text").textContent = t(refused ? "errorKey" : "keyText");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      resolve(dialog.returnValue === "given" ? input.value.trim() : null);
      input.value = "";
    };
  });
}
