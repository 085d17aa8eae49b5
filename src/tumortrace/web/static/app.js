// Wiring: what is dropped goes to the server, what comes back to the viewer and the panels around it.

import {fetchModel, fetchSample} from "./api.js";
import {count, el, find} from "./dom.js";
import {hasAnnotations} from "./edit/downloads.js";
import {EDIT_KEYS} from "./edit/keyboard.js";
import {mountPanel} from "./edit/panel.js";
import {collectChosen, collectDropped} from "./files.js";
import {ScanList} from "./scan.js";
import {Uploads} from "./uploads.js";
import {mountCases} from "./view/cases.js";
import {mountCorners, mountDisplay, mountTools} from "./view/controls.js";
import {mountCurves} from "./view/curves.js";
import {nextDoubtful} from "./view/doubtful.js";
import {pressKey} from "./view/gestures.js";
import {mountKeys} from "./view/keys.js";
import {mountNotice} from "./view/notice.js";
import {mountStrip} from "./view/strip.js";
import {mountLesions, mountSlices} from "./view/tables.js";
import {Viewer} from "./view/viewer.js";

const scans = new ScanList();
const uploads = new Uploads(scans);
const viewer = new Viewer(find(".viewer"), say);
let moved = false; // whether the person did anything since the scan was opened

// First of its listeners, so that all others find the viewer at the new scan.
scans.addEventListener("select", ({detail: {scan, index}}) => {
  find("#welcome").hidden = Boolean(scan);
  find("#work").hidden = !scan;
  moved = false;
  viewer.open(scan, index ?? bestSlice(scan));
});

const order = mountCases(find("#cases"), scans);
mountCorners(viewer.host, viewer);
mountStrip(find(".strip"), viewer, scans);
mountTools(find(".tools"), viewer, scans, order);
mountNotice(find("#notice"), viewer, scans);
mountLesions(find("#lesions"), viewer, scans);
mountDisplay(find("#display"), viewer, scans);
mountSlices(find("#slices"), viewer, scans);
mountPanel(find("#edit"), viewer, scans);
mountKeys(find("#keys"), EDIT_KEYS);
mountCurves(find("#runs"));

scans.addEventListener("slice", ({detail: {scan, slice}}) => viewer.receive(scan, slice.index));
scans.addEventListener("complete", ({detail: scan}) => {
  if (scan !== viewer.scan) return;
  if (viewer.window.automatic) viewer.resetWindow();
  if (!moved) viewer.show(bestSlice(scan));
});
for (const type of ["keydown", "pointerdown", "wheel"]) {
  find("#work").addEventListener(type, () => (moved = true), {capture: true, passive: true});
}
scans.addEventListener("relabel", ({detail: scan}) => scan === viewer.scan && viewer.forget(scan.ready));
viewer.addEventListener("slicechange", announceSoon);

mountOpening();
mountDropping();
mountProgress(find("#progress"));
mountMessages(find("#messages"));
mountImprove(find("#edit"), find("#improve"));
find("#edit").addEventListener("open", ({detail: {files}}) => begin({files, hidden: 0}));
document.addEventListener("keydown", pressed);
showModel();

/** Slice that a scan is opened at: the one with the largest mask. */
function bestSlice(scan) {
  if (!scan) return 0;
  const areas = scan.slices.map((slice) => slice?.areaPx ?? 0);
  return Math.max(0, areas.indexOf(Math.max(...areas)));
}

export {scans, uploads, viewer};

function mountOpening() {
  const open = {
    files: () => find("#files").click(),
    folder: () => find("#folder").click(),
    sample: () => openSample(),
    keys: () => find("#keys").showModal(),
  };
  for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", open[button.dataset.open]);
  for (const input of [find("#files"), find("#folder")]) {
    input.addEventListener("change", () => {
      begin(collectChosen(input));
      input.value = "";
    });
  }
}

async function openSample() {
  try {
    const file = await fetchSample();
    await begin({files: [{file, path: file.name}], hidden: 0});
  } catch (error) {
    tell(error.message);
  }
}

async function begin({files, hidden}) {
  find("#messages").replaceChildren();
  if (hidden) tell(`Skipped ${count(hidden, "hidden file")}.`, "note");
  scans.addEventListener("select", () => viewer.host.focus({preventScroll: true}), {once: true});
  await uploads.start(files, (await hasAnnotations(files)) ? {url: "api/annotations"} : {});
}

function mountDropping() {
  const drop = find("#drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  document.addEventListener("drop", async (event) => {
    drop.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    begin(await collectDropped(event.dataTransfer));
  });
}

function mountProgress(section) {
  const bar = find("progress", section);
  find("button", section).addEventListener("click", () => {
    uploads.cancel();
    say("Cancelled.");
    viewer.host.focus({preventScroll: true});
  });
  uploads.addEventListener("change", () => {
    const all = [...uploads.running];
    const [done, total] = ["done", "total"].map((key) => all.reduce((sum, one) => sum + one[key], 0));
    const files = all.reduce((sum, one) => sum + one.files.length, 0);
    section.hidden = !all.length;
    find("p", section).textContent = total ? `${done} of ${count(total, "slice")}` : `Sending ${count(files, "file")}`;
    if (total) [bar.max, bar.value] = [total, done];
    else bar.removeAttribute("value");
  });
}

function mountMessages(list) {
  uploads.addEventListener("message", ({detail: {text, kind}}) => tell(text, kind));
  list.addEventListener("click", (event) => event.target.closest("button")?.closest("li").remove());
}

function tell(text, kind = "error") {
  const close = el("button", {type: "button", "aria-label": "Dismiss", text: "×"});
  find("#messages").append(el("li", {class: kind}, el("span", {text}), close));
}

function mountImprove(section, dialog) {
  const command = find("code", dialog);
  section.addEventListener("dataset", ({detail: {name}}) => {
    find("strong", dialog).textContent = name;
    command.textContent = `tumortrace improve ${name.replace(/\.zip$/, "")} --out runs/mine`;
    dialog.showModal();
  });
  find("[value=copy]", dialog).addEventListener("click", (event) => {
    event.preventDefault();
    navigator.clipboard?.writeText(command.textContent);
    say("Copied.");
  });
}

function pressed(event) {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const inside = viewer.host.contains(event.target);
  if (!inside && event.target !== document.body) return;
  const doubtful = event.key.toLowerCase() === "n" && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key === "?") find("#keys").showModal();
  else if (pressKey(viewer, event)) event.preventDefault();
  else if (doubtful && viewer.scan) nextDoubtful(viewer, scans, order(), event.shiftKey ? -1 : 1);
}

let announcing = 0;

/** Say which slice is shown, once the person stops scrolling. */
function announceSoon() {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    const {slice} = viewer;
    if (!slice || viewer.count < 2) return;
    const {record} = slice;
    const state = record.status !== "ok" ? "not segmented" : slice.areaPx ? "tumour" : "no tumour";
    say(`Slice ${viewer.index + 1} of ${viewer.count}: ${state}${slice.doubtful ? ", check it" : ""}.`);
  }, 400);
}

function say(text) {
  find("#say").textContent = text;
}

async function showModel() {
  try {
    const {name} = await fetchModel();
    find("#model").textContent = `Model: ${name}`;
  } catch {
    find("#model").textContent = "";
  }
}
