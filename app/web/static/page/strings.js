/** The texts of the page in the language of the browser. `{name}` is replaced by a value. */

import { html } from "./dom.js";
import de from "./strings/de.js";
import en from "./strings/en.js";
import es from "./strings/es.js";
import fr from "./strings/fr.js";
import zh from "./strings/zh.js";

const LANGUAGES = {
  en: ["English", en],
  de: ["Deutsch", de],
  fr: ["Français", fr],
  es: ["Español", es],
  zh: ["中文", zh],
};

let language = "en";

/** Return a text in the language of the page. */
export function t(key, values = {}) {
  const text = LANGUAGES[language][1][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Write a number with one decimal, as the language of the page does. */
export function number(value) {
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return value.toLocaleString(language, digits);
}

/** Fill a choice of languages, each under its own name. */
export function listLanguages(select) {
  for (const [value, [textContent]] of Object.entries(LANGUAGES)) {
    select.append(html("option", { value, textContent, lang: value }));
  }
}

/** Return the first language of the browser that the page has. */
export function preferredLanguage() {
  const codes = navigator.languages.map((tag) => tag.split("-")[0]);
  return codes.find((code) => code in LANGUAGES) ?? "en";
}

/** Write all texts of the page in a language. */
export function setLanguage(code) {
  language = code;
  document.documentElement.lang = code;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
}
