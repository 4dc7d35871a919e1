/** The controls whose choices the server offers: models, formats, and options that it may have. */

import { $, html } from "./dom.js";

const OFF = "off";
const CLEANER = "cleaner"; // the method of models for restore
const FACTORS = [2, 3, 4]; // of upscale

/** Fill the choice of models; returns them by their reference. */
export function listModels({ default: standard, models }, label) {
  const count = (name) => models.filter((model) => model.name === name).length;
  const refs = new Map();
  for (const model of models) {
    const ref = `${model.name}@${model.version}`;
    const { size, antialias } = model.thumbnail;
    refs.set(ref, { ref, thumbnail: { size, antialias }, isMapped: model.local === true });
    const text = count(model.name) > 1 ? ref : model.name;
    $("model").append(html("option", { value: ref, textContent: text }));
  }
  $("model").value = standard;
  $("model-row").hidden = models.length < 2;
  return refs;
}

export function listFormats(parameters, t) {
  const selected = $("format").value || "auto";
  const formats = parameters.format?.enum ?? ["auto", "jpeg"];
  $("format").replaceChildren(
    ...formats.map((value) =>
      html("option", { value, textContent: value === "auto" ? t("sameFormat") : value }),
    ),
  );
  $("format").value = selected;
}

export function listSizes(t) {
  const selected = $("size").value;
  $("size").replaceChildren(
    html("option", { value: "", textContent: t("original") }),
    ...[3840, 2560, 1920, 1280].map((it) => html("option", { value: it, textContent: `${it} px` })),
  );
  $("size").value = selected;
}

export function listMetadata(parameters, t) {
  const selected = $("metadata").value || "keep";
  const values = parameters.metadata?.enum ?? ["keep"];
  $("metadata").replaceChildren(
    ...values.map((value) => html("option", { value, textContent: t(value) })),
  );
  $("metadata").value = selected;
}

/**
 * Add a control for each of the options that this server has a model for.
 *
 * @param {object} parameters of `PageService.offer`
 * @param {{method: string, scale: number | null}[]} restorers of GET /models
 * @param {(key: string) => string} t
 * @param {() => void} onChange
 */
export function listExtras(parameters, restorers, t, onChange) {
  const choices = { restore: restoreChoices(restorers), upscale: upscaleChoices(restorers) };
  for (const [name, values] of Object.entries(choices)) {
    if (!(name in parameters) || !values.length) continue;
    const off = html("option", { value: OFF, textContent: t("off") });
    off.dataset.text = "off";
    const options = values.map(([value, textContent]) => html("option", { value, textContent }));
    const onchange = () => {
      if (name === "upscale" && control.value !== OFF) cleanBeforeEnlarging();
      onChange();
    };
    const properties = { id: `extra-${name}`, name, onchange };
    const control = html("select", properties, off, ...options);
    const label = html("label", { htmlFor: control.id, textContent: t(name) });
    label.dataset.text = name;
    $("extras").append(html("div", { className: "row" }, label, control));
  }
}

function restoreChoices(restorers) {
  const isThere = restorers.some(({ method }) => method === CLEANER);
  return isThere ? [["auto", "Auto"], ...[50, 100].map((it) => [it / 100, `${it}\u00a0%`])] : [];
}

/** The service applies up to two models one after the other, and reduces what is too large. */
function upscaleChoices(restorers) {
  const upscalers = restorers.filter(({ method }) => method !== CLEANER);
  const largest = Math.max(0, ...upscalers.map(({ scale }) => (scale ? scale ** 2 : Infinity)));
  return FACTORS.filter((factor) => factor <= largest).map((factor) => [factor, `${factor}×`]);
}

function extras() {
  return [...$("extras").querySelectorAll("select")];
}

/** Show what the service does by default. */
function cleanBeforeEnlarging() {
  const restore = extras().find(({ name }) => name === "restore");
  if (restore?.value === OFF) restore.value = "auto";
}

/** Return the options that were chosen, as {name: value}. */
export function changedExtras() {
  const chosen = Object.fromEntries(extras().map(({ name, value }) => [name, value]));
  if (!chosen.upscale || chosen.upscale === OFF) {
    delete chosen.upscale;
    if (chosen.restore === OFF) delete chosen.restore;
  }
  return chosen;
}
