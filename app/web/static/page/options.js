/** The controls whose choices the server offers: models, formats, and options that it may have. */

import { $, html } from "./dom.js";

const EXTRAS = ["local", "restore", "upscale"]; // shown where POST /enhance has them
const FACTORS = [2, 3, 4]; // of upscale

/** Fill the choice of models; returns them by their reference. */
export function listModels({ default: standard, models }, label) {
  const count = (name) => models.filter((model) => model.name === name).length;
  const refs = new Map();
  for (const model of models) {
    const ref = `${model.name}@${model.version}`;
    const { size, antialias } = model.thumbnail;
    refs.set(ref, { ref, thumbnail: { size, antialias } });
    const text = count(model.name) > 1 ? ref : model.name;
    $("model").append(html("option", { value: ref, textContent: text }));
  }
  $("model").value = standard;
  $("model-row").hidden = models.length < 2;
  return refs;
}

/** Return the parameters of POST /enhance by name, as schemas. */
export function enhanceParameters(openapi) {
  const { parameters } = openapi.paths["/enhance"].post;
  return Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]));
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

export function listMetadata(t) {
  const selected = $("metadata").value || "keep";
  $("metadata").replaceChildren(
    ...["keep", "safe", "strip"].map((value) => html("option", { value, textContent: t(value) })),
  );
  $("metadata").value = selected;
}

/**
 * Add a control for each of the options that this server has.
 *
 * @param {object} parameters of `enhanceParameters`
 * @param {{scale: number | null}[]} restorers the models that upscale uses, of GET /models
 * @param {(key: string) => string} t
 * @param {() => void} onChange
 */
export function listExtras(parameters, restorers, t, onChange) {
  for (const name of EXTRAS.filter((it) => it in parameters)) {
    const control = name === "upscale" ? upscaleControl(restorers) : createControl(parameters[name]);
    if (!control) continue;
    Object.assign(control, { id: `extra-${name}`, name });
    control.addEventListener("change", onChange);
    const label = html("label", { htmlFor: control.id, textContent: t(name) });
    label.dataset.text = name;
    $("extras").append(html("div", { className: "row" }, label, control));
  }
}

/** The service applies up to two models one after the other, and reduces what is too large. */
function upscaleControl(restorers) {
  const largest = Math.max(0, ...restorers.map(({ scale }) => (scale ? scale ** 2 : Infinity)));
  const factors = FACTORS.filter((factor) => factor <= largest);
  if (!factors.length) return null;
  const off = html("option", { value: "1", textContent: "–" });
  const options = factors.map((value) => html("option", { value, textContent: `${value}×` }));
  return Object.assign(html("select", {}, off, ...options), { standard: "1" });
}

function createControl(schema) {
  const kinds = [schema, ...(schema.anyOf ?? [])];
  const choices = kinds.find((it) => it.enum)?.enum;
  const standard = schema.default ?? "";
  if (choices) {
    const options = choices.map((value) => html("option", { value, textContent: value }));
    const none = html("option", { value: "", textContent: "–" });
    const select = html("select", {}, ...(choices.includes(standard) ? [] : [none]), ...options);
    select.value = standard;
    return Object.assign(select, { standard: String(standard) });
  }
  if (kinds.some((it) => it.type === "boolean")) {
    return Object.assign(html("input", { type: "checkbox" }), { standard: "false" });
  }
  const { minimum = "", maximum = "" } = kinds.find((it) => it.minimum !== undefined) ?? {};
  const input = html("input", { type: "number", min: minimum, max: maximum, step: "any" });
  input.value = standard;
  return Object.assign(input, { standard: String(standard) });
}

/** Return the options that were changed, as {name: value}. */
export function changedExtras() {
  const extras = {};
  for (const control of $("extras").querySelectorAll("input, select")) {
    const value = control.type === "checkbox" ? String(control.checked) : control.value;
    if (value !== control.standard) extras[control.name] = value;
  }
  return extras;
}
