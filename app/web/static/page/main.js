/** The page: photos come in, looks are predicted and drawn, results go out. */

import { copy, download } from "./actions.js";
import { showAlbum } from "./album.js";
import { announce, hideError, showError } from "./alerts.js";
import { takePhoto } from "./camera.js";
import { colourChart } from "./chart.js";
import { $ } from "./dom.js";
import { Figures } from "./figures.js";
import { listenForPhotos } from "./inputs.js";
import { Lattice } from "./lattice.js";
import { LocalService, showMode } from "./local.js";
import * as options from "./options.js";
import { Photo } from "./photo.js";
import * as save from "./save.js";
import { PageService } from "./server.js";
import { listLanguages, preferredLanguage, setLanguage, t } from "./strings.js";
import { Viewer } from "./viewer.js";

const query = new URLSearchParams(location.search);
const isLocal = query.get("local") === "1";
const service = new (isLocal ? LocalService : PageService)(new URL("../..", import.meta.url));
const state = {
  photos: [],
  selected: null,
  models: new Map(),
  parameters: {},
  ready: null, // when the models and parameters are known
  linked: null, // the look of the address
  look: null, // the one on the screen
  drawing: null, // when WebGL has started
  turn: 0, // counts what was started, so that late results of earlier ones are dropped
  preview: 0, // counts previews likewise
};

let viewer, figures;

function start() {
  showMode(isLocal);
  listLanguages($("language"));
  $("language").onchange = () => useLanguage($("language").value);
  useLanguage(preferredLanguage());
  state.drawing = startDrawing();
  state.drawing.catch(showError);
  listen();
  const strength = Number(query.get("strength") ?? 1);
  if (strength >= 0 && strength <= 1) $("strength").value = String(Math.round(100 * strength));
  if (query.has("look")) openLink(query.get("look"));
}

/** WebGL takes a while to start, so the page is painted before. */
async function startDrawing() {
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  viewer = new Viewer($("stage"), $("photo"), $("split"), showZoom);
  figures = new Figures();
  new Lattice($("hero"));
  showStrength();
}

/** Ask the server once, with the first photo, what it offers. */
function whenReady() {
  state.ready ??= loadOptions().catch((error) => {
    state.ready = null;
    throw error;
  });
  return state.ready;
}

async function loadOptions() {
  const { models, parameters } = await service.offer();
  state.models = options.listModels(models);
  state.parameters = parameters;
  options.listExtras(state.parameters, models.restoration, t, () => refresh());
  listChoices();
}

function listChoices() {
  options.listFormats(state.parameters, t);
  options.listSizes(t);
  options.listMetadata(state.parameters, t);
}

function useLanguage(code) {
  $("language").value = code;
  setLanguage(code);
  listChoices();
  showPhotos();
  showTexts();
  figures?.write();
}

/** Show a look that needs no photo, on a chart of colours until there is one. */
async function openLink(token) {
  const turn = ++state.turn;
  try {
    state.linked = await service.getLook(token);
    if (turn !== state.turn) return;
    if (!state.selected) await show(null);
  } catch (error) {
    showError(error, () => openLink(token));
  }
}

function showPhotos() {
  showAlbum(state.photos, state.selected, show);
}

/** Take photos: new ones are added to the album, and the first of them is shown. */
function addPhotos(files) {
  const photos = [...files].map((file) => new Photo(file));
  if (!photos.length) return;
  state.photos.push(...photos);
  showPhotos();
  show(photos[0]);
}

/** Show a photo, or the colour chart if there is none. */
async function show(photo) {
  const turn = ++state.turn;
  const isCurrent = () => turn === state.turn;
  if (state.selected && state.selected !== photo) state.selected.image = null;
  state.selected = photo;
  state.look = null;
  figures?.clear();
  hideError();
  setBusy(true);
  const wasEmpty = document.body.dataset.state === "welcome";
  document.body.dataset.state = photo ? "photo" : "chart";
  if (wasEmpty) $("split").focus({ preventScroll: true, focusVisible: false });
  showPhotos();
  showTexts();
  if (photo) announce(t("working", { name: photo.name }));
  try {
    await state.drawing;
    const image = photo ? await photo.decode(service) : colourChart();
    if (!isCurrent()) return;
    await viewer.setImage(image);
    await useLook(await lookOf(photo), image, isCurrent);
    if (photo && isCurrent()) announce(t("done", { name: photo.name }));
  } catch (error) {
    if (isCurrent()) fail(photo, error);
  } finally {
    if (isCurrent()) setBusy(false);
  }
}

/** A photo that never had a picture is removed; it would only stay in the way. */
function fail(photo, error) {
  if (photo?.image === null && error.status === 415) {
    state.photos = state.photos.filter((it) => it !== photo);
    state.selected = null;
    if (state.photos.length) show(state.photos[0]);
    else if (state.linked) show(null);
    else document.body.dataset.state = "welcome";
    showPhotos();
    showError(error);
  } else {
    showError(error, () => show(photo));
  }
}

async function lookOf(photo) {
  await whenReady();
  if (state.linked) return state.linked;
  const shared = document.querySelector("input[name=album]:checked").value === "first";
  return (shared ? state.photos[0] : photo).look(service, state.models.get($("model").value));
}

async function useLook(look, image, isCurrent) {
  if (!isCurrent()) return;
  state.look = look;
  viewer.setLut(look.lut);
  figures.show(look.lut, image);
  await refresh(isCurrent);
}

/** Let the server draw the photo where an option does more than a LUT. */
async function refresh(isCurrent = () => true) {
  showTexts();
  const turn = ++state.preview;
  const { selected } = state;
  if (!selected || !state.look) return;
  const isMapped = state.models.get(state.look.model)?.isMapped;
  if (!isMapped && !Object.keys(options.changedExtras()).length) {
    viewer.setOther(null);
    setBusy(false);
    return;
  }
  const isLatest = () => isCurrent() && turn === state.preview && state.selected === selected;
  setBusy(true);
  try {
    const preview = await service.preview(selected.file, await choicesFor(selected));
    if (isLatest()) viewer.setOther(preview);
  } catch (error) {
    if (isLatest()) showError(error, () => refresh());
  } finally {
    if (isLatest()) setBusy(false);
  }
}

async function enhance(photo) {
  return service.enhance(photo.file, await choicesFor(photo));
}

async function choicesFor(photo) {
  return currentChoices(await lookOf(photo));
}

function currentChoices(look) {
  return {
    look,
    strength: Number($("strength").value),
    format: $("format").value || "auto",
    size: $("size").value,
    metadata: $("metadata").value || "keep",
    extras: options.changedExtras(),
  };
}

function showStrength() {
  const percent = Number($("strength").value);
  $("strength").style.setProperty("--value", `${percent}%`);
  $("strength-value").textContent = String(percent);
  viewer.setStrength(percent / 100);
  figures.setStrength(percent / 100);
  showTexts();
}

/** Write what depends on the photo, the look and the choices. */
function showTexts() {
  const { photos, look, selected } = state;
  $("photo").ariaLabel = t("beforeAfter", { name: selected?.name ?? t("chart") });
  $("download-all").textContent = t("downloadAll", { count: photos.length });
  $("download-all").hidden = photos.length < 2;
  $("album-look").hidden = photos.length < 2 || Boolean(state.linked);
  $("linked").hidden = !state.linked;
  $("model").disabled = Boolean(state.linked);
  $("save").hidden = !selected;
  $("metadata-row").hidden = selected && !service.keepsMetadata(selected.file, $("format").value);
  for (const id of ["download", "download-all", "copy-link", "copy-curl"]) $(id).disabled = !look;
  $("share").hidden = isLocal && !look?.token; // a look has a token of the server, or none
  if (!look?.token) {
    $("link").value = $("curl").value = "";
    return;
  }
  const choices = currentChoices(look);
  $("link").value = save.lookLink(look.token, choices.strength);
  $("curl").value = save.curlCommand(
    service,
    selected?.name ?? "photo.jpg",
    save.enhanceQuery(choices),
  );
}

function showZoom(zoom, fits) {
  $("zoom-fit").textContent = t("zoomed", { percent: Math.round(100 * zoom) });
  $("zoom-fit").disabled = fits;
}

function setBusy(busy) {
  $("busy").hidden = !busy;
  $("stage").setAttribute("aria-busy", String(busy));
}

async function downloadAll() {
  const { photos } = state;
  return save.makeArchive(photos, enhance, (done) => {
    const text = t("saving", { done, count: photos.length });
    $("download-all").textContent = text;
    announce(text);
  });
}

function listen() {
  listenForPhotos(addPhotos);
  $("photograph").onclick = () => takePhoto((file) => addPhotos([file]));
  $("strength").oninput = showStrength;
  $("strength").onchange = () => refresh();
  $("model").onchange = () => show(state.selected);
  $("unlink").onclick = () => {
    state.linked = null;
    history.replaceState(null, "", save.addressWithoutLook());
    if (state.selected) show(state.selected);
    else document.body.dataset.state = "welcome";
  };
  for (const radio of document.querySelectorAll("input[name=album]")) {
    radio.onchange = () => show(state.selected);
  }
  for (const id of ["format", "size", "metadata"]) $(id).onchange = showTexts;
  $("download").onclick = () => download($("download"), () => enhance(state.selected));
  $("download-all").onclick = () => download($("download-all"), downloadAll).then(showTexts);
  $("copy-link").onclick = () => copy($("link"));
  $("copy-curl").onclick = () => copy($("curl"));
  $("zoom-in").onclick = () => viewer.zoomIn();
  $("zoom-out").onclick = () => viewer.zoomOut();
  $("zoom-fit").onclick = () => viewer.fit();
  $("dismiss").onclick = hideError;
}

start();
