// Unfinished work in the browser (IndexedDB), so that it survives a killed tab. One piece of work is one scan: its files,
// the first labels of each slice that was changed (`bases`), every step, and how many of them are done. Each stroke is one
// transaction; undone steps stay until they are replaced.

import {applyRuns, diffLabels} from "./labels.js";

const NAME = "tumortrace", VERSION = 1;
const STORES = ["work", "files", "bases", "steps"];

// Open the store; null where the browser has none.
export async function openStore() {
	try {
		const request = indexedDB.open(NAME, VERSION);
		request.onupgradeneeded = () => {
			for (const store of STORES) request.result.createObjectStore(store);
		};
		return new Store(await settle(request));
	} catch {
		return null;
	}
}

class Store {
	constructor(database) { Object.assign(this, {database, claimed: new Set()}); }

	// Whether this tab alone writes a piece of work, from now until it is closed; another one may hold it. Without locks,
	// as on a page that is not this machine's own, every tab takes itself for the only one.
	async claim(key) {
		if (this.claimed.has(key) || !navigator.locks) return true;
		const held = await new Promise((resolve) => {
			navigator.locks.request(`${NAME} ${key}`, {ifAvailable: true}, (lock) => {
				resolve(Boolean(lock));
				return lock && new Promise(() => {});
			});
		});
		if (held) this.claimed.add(key);
		return held;
	}

	// All pieces of work, the latest first: {key, scan, name, changed (ms since 1970), done (steps; 0 where all are undone)}.
	async list() {
		const all = await settle(this.database.transaction("work").objectStore("work").getAll());
		return all.sort((one, other) => other.changed - one.changed);
	}

	// Write the step at a place as the last one, with `base` (packed) if it is the first of its slice. A stroke that is
	// still being drawn is written as well, and later replaced. Returns whether the work was there: another tab may have
	// forgotten it.
	async saveStep(work, place, step, base = null) {
		let before;
		await this.write(["work", "bases", "steps"], (stores) => {
			before = stores.work.count(work.key);
			stores.work.put({...work, done: place + 1, changed: Date.now()}, work.key);
			stores.steps.delete(IDBKeyRange.bound([work.key, place + 1], [work.key, Infinity]));
			stores.steps.put(step, [work.key, place]);
			if (base) stores.bases.put(base, [work.key, step.index]);
		});
		return before.result > 0;
	}

	// Note how many steps are done, after an undo, a redo or a cancelled stroke.
	savePosition(work, done) {
		return this.write(["work"], (stores) => {
			const before = stores.work.count(work.key);
			before.onsuccess = () => before.result && stores.work.put({...work, done, changed: Date.now()}, work.key);
		});
	}

	saveFiles(key, files) {
		return this.write(["files"], (stores) => { stores.files.put(files, key); });
	}

	// All of one piece of work: {work, files, steps, bases: Map of slice to packed labels}.
	async load(key) {
		const range = IDBKeyRange.bound([key, 0], [key, Infinity]);
		const stores = openStores(this.database.transaction(STORES), STORES);
		const [work, files, steps, keys, bases] = await Promise.all([
			stores.work.get(key), stores.files.get(key), stores.steps.getAll(range), stores.bases.getAllKeys(range),
			stores.bases.getAll(range),
		].map(settle));
		return {work, files: files ?? [], steps, bases: new Map(keys.map(([, index], at) => [index, bases[at]]))};
	}

	forget(key) {
		const range = IDBKeyRange.bound([key, 0], [key, Infinity]);
		return this.write(STORES, (stores) => {
			stores.work.delete(key); stores.files.delete(key); stores.bases.delete(range); stores.steps.delete(range);
		});
	}

	write(names, change) {
		return new Promise((resolve, reject) => {
			const transaction = this.database.transaction(names, "readwrite");
			transaction.oncomplete = resolve;
			transaction.onerror = transaction.onabort = () => reject(transaction.error);
			change(openStores(transaction, names));
		});
	}
}

const openStores = (transaction, names) =>
	Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)]));

const settle = (request) => new Promise((resolve, reject) => {
	request.onsuccess = () => resolve(request.result);
	request.onerror = () => reject(request.error);
});

export function packLabels(labels) {
	return {length: labels.length, runs: diffLabels(new Uint8Array(labels.length), labels)};
}

export function unpackLabels({length, runs}) {
	const labels = new Uint8Array(length);
	applyRuns(labels, runs);
	return labels;
}
