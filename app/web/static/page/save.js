/** What is on the screen as a request: to download it, as a command, and as a link. */

import { zip } from "./zip.js";

const SUFFIXES = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/avif": "avif",
  "image/jxl": "jxl",
  "image/tiff": "tif",
};
const PREVIEW_SIDE = 4096; // pixels
const OWN = /\.(jpe?g|png|webp|avif|jxl|tiff?)$/i; // suffixes of files whose format is kept

/** The query of POST /enhance, without what is the default. */
export function enhanceQuery({ token, strength, format, size, metadata, extras }) {
  const query = new URLSearchParams({ look: token });
  if (strength < 100) query.set("strength", String(strength / 100));
  if (format !== "auto") query.set("format", format);
  if (size) query.set("max_side", size);
  if (metadata !== "keep") query.set("metadata", metadata);
  for (const [name, value] of Object.entries(extras)) query.set(name, value);
  return query;
}

/**
 * Enhance a photo on the server.
 *
 * @returns {Promise<{name: string, blob: Blob}>}
 */
export async function fetchEnhanced(service, file, query) {
  const response = await service.request(`enhance?${query}`, { method: "POST", body: file });
  const blob = await response.blob();
  return { name: enhancedName(file.name, SUFFIXES[blob.type] ?? "jpg"), blob };
}

/**
 * Let the server draw a photo for the screen, enlarged or not.
 *
 * @returns {Promise<ImageBitmap>}
 */
export async function fetchPreview(service, file, query) {
  query.set("format", "jpeg");
  query.set("max_side", Math.floor(PREVIEW_SIDE / Number(query.get("upscale") ?? 1)));
  return createImageBitmap((await fetchEnhanced(service, file, query)).blob);
}

function enhancedName(name, suffix) {
  return `${name.replace(/\.[^.]*$/, "") || "photo"}-enhanced.${suffix}`;
}

/** Enhance many photos one after the other, and return them as one archive. */
export async function fetchArchive(service, photos, queryOf, onProgress) {
  const results = [];
  const used = new Set();
  for (const photo of photos) {
    onProgress(results.length + 1);
    const result = await fetchEnhanced(service, photo.file, await queryOf(photo));
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
  const suffix = SUFFIXES[`image/${format}`] ?? format;
  const key = service.key ? ' -H "Authorization: Bearer $CLUT_KEY"' : "";
  const address = new URL(`enhance?${query}`, service.base);
  return (
    `curl -f${key} --data-binary ${quote(`@${name}`)} ` +
    `${quote(address)} -o ${quote(enhancedName(name, suffix))}`
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
