// Wiring: what is dropped goes to the server, what comes back to the viewer and the panels around it.

import {fetchJson, fetchSample} from "./api.js";
import {count, el, find, on, onceStill, put} from "./dom.js";
import {hasAnnotations} from "./edit/downloads.js";
import {EDIT_KEYS} from "./edit/keyboard.js";
import {mountPanel} from "./edit/panel.js";
import {collectChosen, collectDropped} from "./files.js";
import {ScanList} from "./scan.js";
import {Uploads} from "./uploads.js";
import {mountCases} from "./view/cases.js";
import {mountCorners, mountDisplay, mountTools, nextDoubtful} from "./view/controls.js";
import {mountCurves} from "./view/curves.js";
import {pressKey} from "./view/gestures.js";
import {mountKeys} from "./view/keys.js";
import {mountNotice} from "./view/notice.js";
import {mountStrip} from "./view/strip.js";
import {mountLesions, mountSlices} from "./view/tables.js";
import {Viewer} from "./view/viewer.js";

export const scans = new ScanList();
export const uploads = new Uploads(scans);
export const viewer = new Viewer(find(".viewer"), say);
let moved = false; // whether the person did anything since the scan was opened

// First of its listeners, so that all others find the viewer at the new scan.
on(scans, "select", ({detail: {scan, index}}) => {
	find("#welcome").hidden = Boolean(scan);
	find("#work").hidden = !scan;
	moved = false;
	viewer.open(scan, index);
});

const order = mountCases(find("#cases"), viewer, scans);
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
mountOpening();
mountDropping();
mountProgress(find("#progress"));
mountImprove(find("#edit"), find("#improve"));

on(scans, "slice", ({detail: {scan, slice}}) => viewer.receive(scan, slice.index));
on(scans, "relabel", ({detail: scan}) => scan === viewer.scan && viewer.forget(scan.ready));
on(scans, "complete", ({detail: scan}) => {
	if (scan !== viewer.scan) return;
	if (viewer.window.automatic) viewer.resetWindow();
	if (!moved) viewer.show(scan.largest);
});
on(globalThis, "keydown pointerdown wheel", ({target}) => {
	moved ||= find("#work").contains(target);
	put(find("#say"), "className", "hidden");
}, {capture: true, passive: true});
on(viewer, "slicechange", onceStill(announce, 400));
for (const source of [uploads, find("#edit")]) on(source, "message", ({detail: {text, kind}}) => tell(text, kind));
on(document, "keydown", press);
fetchJson("api/model").then(({name}) => (find("#model").textContent = `Model: ${name}`), () => {});

function mountOpening() {
	const open = {
		files: () => find("#files").click(), folder: () => find("#folder").click(), keys: () => find("#keys").showModal(),
		sample: () => fetchSample().then((file) => begin(collectChosen({files: [file]})), (error) => tell(error.message)),
	};
	for (const button of document.querySelectorAll("[data-open]")) on(button, "click", open[button.dataset.open]);
	for (const input of [find("#files"), find("#folder")]) {
		on(input, "change", () => {
			begin(collectChosen(input));
			input.value = "";
		});
	}
	on(find("#edit"), "open", ({detail: {files}}) => begin({files, hidden: 0}));
}

function mountDropping() {
	const drop = find("#drop");
	on(document, "dragover drop dragleave", (event) => {
		drop.hidden = event.type === "dragleave" ? !event.relatedTarget || drop.hidden : event.type === "drop";
		if (event.type === "dragleave" || !event.dataTransfer?.types.includes("Files")) return;
		event.preventDefault();
		if (event.type === "drop") collectDropped(event.dataTransfer).then(begin, ({message}) => tell(message));
	});
}

async function begin({files, hidden}) {
	find("#messages").replaceChildren();
	if (hidden) tell(`Skipped ${count(hidden, "hidden file")}.`, "note");
	on(scans, "select", () => viewer.host.focus({preventScroll: true}), {once: true});
	await uploads.start(files, (await hasAnnotations(files)) ? {url: "api/annotations"} : {});
}

function mountProgress(section) {
	const bar = find("progress", section);
	on(find("button", section), "click", () => {
		for (const upload of uploads.running) upload.cancel();
		say("Cancelled.");
		viewer.host.focus({preventScroll: true});
	});
	on(uploads, "change", () => {
		const all = [...uploads.running], sum = (of) => all.reduce((total, one) => total + of(one), 0);
		const done = sum((one) => one.done), total = sum((one) => one.total), files = sum((one) => one.files.length);
		section.hidden = !all.length;
		find("p", section).textContent = total ? `${done} of ${count(total, "slice")}` : `Sending ${count(files, "file")}`;
		if (total) Object.assign(bar, {max: total, value: done});
		else bar.removeAttribute("value");
	});
}

function tell(text, kind = "error") {
	const close = el("button", {"aria-label": "Dismiss", text: "×", on: {click: () => line.remove()}});
	const line = el("li", {class: kind}, el("span", {text}), close);
	find("#messages").append(line);
}

// Tell a screen reader a sentence, and show it until the next key or click unless what it says is shown already.
function say(text, shown = "") {
	Object.assign(find("#say"), {textContent: text, className: shown});
}

// After a dataset was downloaded: the command that trains on it.
function mountImprove(section, dialog) {
	const command = find("code", dialog);
	on(section, "dataset", ({detail: {name}}) => {
		find("strong", dialog).textContent = name;
		command.textContent = `tumortrace improve ${name.replace(/\.zip$/, "")} --out runs/mine`;
		dialog.showModal();
	});
	on(find("[type=button]", dialog), "click", () => {
		navigator.clipboard?.writeText(command.textContent);
		say("Copied.");
	});
}

function press(event) {
	if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
	if (event.target !== document.body && !viewer.host.contains(event.target)) return;
	if (event.key === "?") find("#keys").showModal();
	else if (pressKey(viewer, event)) event.preventDefault();
	else if (/^n$/i.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
		nextDoubtful(viewer, scans, order(), event.shiftKey ? -1 : 1);
	}
}

// Say which slice is shown, once scrolling stops.
function announce() {
	const {slice, count: slices, index} = viewer;
	if (!slice || slices < 2) return;
	const {kind, word} = slice.state;
	const found = kind === "bad" ? word : slice.areaPx ? "tumour" : "no tumour";
	say(`Slice ${index + 1} of ${slices}: ${found}${kind === "warn" ? ", check it" : ""}.`, "hidden");
}
