// The banner that offers saved work: all of it, then that of the open scans.

import {count, el, on} from "../dom.js";
import {openStore} from "./store.js";

const MOST_OFFERS = 4;

export async function mountBanner(panel) {
	const {editor} = panel, {scans} = editor;
	const banner = el("section", {class: "edit-banner good", "aria-label": "Saved work", hidden: true});
	document.querySelector("main").before(banner);
	editor.attach(await openStore());
	if (!editor.store) return panel.tell("This browser stores nothing: download the mask before you close the page.");
	const state = {panel, banner, wanted: new Map(), dismissed: new Set()}; // wanted: key of work by the scan it waits for
	on(scans, "change", ({detail: scan}) => bring(state, scan));
	on(editor, "saved", () => { state.forget.hidden = false; });
	state.forget = el("button", {class: "edit-link", text: "Forget saved work", hidden: true,
		on: {click: () => forgetAll(state)}});
	panel.status.after(state.forget);
	return showOffers(state);
}

async function bring(state, scan) {
	const key = state.wanted.get(scan.id);
	if (key && state.panel.editor.scans.items.includes(scan)) {
		state.wanted.delete(scan.id);
		await state.panel.editor.restore(scan, key);
	}
	await showOffers(state);
}

async function showOffers(state) {
	const {panel: {editor}, banner, dismissed} = state, {scans, states} = editor;
	const all = await editor.store.list();
	state.forget.hidden = !all.length;
	const open = new Map(scans.items.map((scan) => [scan.id, scan]));
	const used = new Set(scans.items.map((scan) => states.get(scan)?.work.key));
	const offers = all.filter(({key, scan, done}) =>
		done && !dismissed.has(key) && !used.has(key) && (!open.size || state.all || open.has(scan)));
	const more = offers.length - MOST_OFFERS;
	banner.replaceChildren(...offers.slice(0, MOST_OFFERS).map((work) => buildOffer(state, work, open.get(work.scan))),
		more > 0 ? `and ${more} more` : "");
	banner.hidden = !offers.length;
}

function buildOffer(state, {key, scan: id, name, changed, done}, scan) {
	const {panel} = state, {editor} = panel;
	const when = new Date(changed).toLocaleString("en", {dateStyle: "medium", timeStyle: "short"});
	const button = (text, style, act) => el("button", {class: style, text, on: {click: async () => {
		await act();
		await showOffers(state);
	}}});
	const restore = async () => {
		await editor.restore(scan, key);
		if (editor.stateOf(scan).work.key !== key) state.dismissed.add(key); // a copy of what another tab works on
	};
	return el("div", {class: "row edit-offer"},
		el("p", {}, el("strong", {text: "Unfinished correction"}), ` of ${name}: ${count(done, "step")}, ${when}.`),
		button("Restore", "button small main", () => (scan ? restore() : reopen(state, key, id))),
		button("Forget", "button small", () => confirm(`Delete the saved correction of ${name}?`) && editor.forget([key])),
		button("Not now", "edit-link", () => state.dismissed.add(key)));
}

async function reopen(state, key, id) {
	const {panel, wanted, dismissed} = state;
	const {files} = await panel.editor.store.load(key);
	if (!files.length) return panel.fire("message", {text: "The files of this work were not stored. Open them to restore it."});
	state.all = true; // the other offers stay
	wanted.set(id, key);
	dismissed.add(key);
	return panel.fire("open", {files});
}

async function forgetAll(state) {
	const {panel} = state;
	if (!confirm("Delete all saved work from this browser?")) return;
	await panel.editor.forget((await panel.editor.store.list()).map(({key}) => key));
	await showOffers(state);
	panel.tell("Saved work was deleted from this browser.");
}
