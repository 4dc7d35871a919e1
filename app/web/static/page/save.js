/** What is on the screen as a request: to download it, as a command, and as a link. */

import { zip } from "./zip.js";

// Those of app/imaging/codecs; tests/web/test_page_policy.py compares them.
const SUFFIXES = { jpeg: "jpg", tiff: "tif" }; // of formats whose name is another
const OWN = /\.(jpe?g|a?png|webp|avif|jxl|tiff?|gif)$/i; // suffixes of files whose format is kept

/** The query of POST /enhance, without what is the default. */
export function enhanceQuery({ look, strength, format, size, metadata, extras }) {
  const query = new URLSearchParams({ look: look.token });
  if (strength < 100) query.set("strength", String(strength / 100));
  if (format !== "auto") query.set("format", format);
  if (size) query.set("max_side", size);
  if (metadata !== "keep") query.set("metadata", metadata);
  for (const [name, value] of Object.entries(extras)) query.set(name, value);
  return query;
}

/** Return the name of the result for a photo, in a format as the media type names it. */
export function enhancedName(name, format) {
  return `${name.replace(/\.[^.]*$/, "") || "photo"}-enhanced.${SUFFIXES[format] ?? format}`;
}

/**
 * Enhance many photos one after the other, and return them as one archive.
 *
 * @param {import("./photo.js").Photo[]} photos
 * @param {(photo: import("./photo.js").Photo) => Promise<{name: string, blob: Blob}>} enhance
 * @param {(done: number) => void} onProgress
 */
export async function makeArchive(photos, enhance, onProgress) {
  const results = [];
  const used = new Set();
  for (const photo of photos) {
    onProgress(results.length + 1);
    const result = await enhance(photo);
    let { name } = result;
    for (let i = 2; used.has(name); i++) name = result.name.replace(/(\.\w+)$/, `-${i}$1`);
    used.add(name);
    results.push({ ...result, name });
  }
  return { name: "enhanced.zip", blob: await zip(results) };
}

/** Let the browser save a file. */
export function saveFile({ name, blob }) {
  const address = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** The command line that makes the photo on the screen, for a POSIX shell. */
export function curlCommand(service, name, query) {
  const format = query.get("format") ?? name.match(OWN)?.[1].toLowerCase() ?? "jpg";
  const key = service.key ? ' -H "Authorization: Bearer $CLUT_KEY"' : "";
  const address = new URL(`enhance?${query}`, service.base);
  return (
    `curl -f${key} --data-binary ${quote(`@${name}`)} ` +
    `${quote(address)} -o ${quote(enhancedName(name, format))}`
  );
}

function quote(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

/** The address of this page with a look. */
export function lookLink(token, strength) {
  const link = new URL(location.pathname, location.href);
  link.searchParams.set("look", token);
  if (strength < 100) link.searchParams.set("strength", String(strength / 100));
  return String(link);
}

/** The address of this page without its look. */
export function addressWithoutLook() {
  const address = new URL(location.href);
  for (const name of ["look", "strength"]) address.searchParams.delete(name);
  return String(address);
}
