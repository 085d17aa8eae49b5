// Files that a person dropped or chose, folders included, each with its path.

// Files of a drop: {files: [{file, path}], hidden: number}. Its entries end with the drop event, so all are taken first.
export async function collectDropped({items}) {
	const entries = [...items].map((item) => item.kind === "file" && (item.webkitGetAsEntry?.() ?? item.getAsFile()));
	const found = [];
	for (const entry of entries) if (entry) await collect(entry, found);
	return sorted(found);
}

export function collectChosen({files}) {
	return sorted([...files].map((file) => ({file, path: file.webkitRelativePath || file.name})));
}

async function collect(entry, found) {
	if (entry instanceof File) found.push({file: entry, path: entry.name});
	else if (entry.isFile) {
		const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
		found.push({file, path: entry.fullPath.slice(1)});
	} else {
		const reader = entry.createReader();
		const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
		for (let some = await read(); some.length; some = await read()) { // a folder comes in portions of at most 100
			for (const child of some) await collect(child, found);
		}
	}
}

// Files in the order of their paths; those that systems hide are counted and not sent.
function sorted(all) {
	const files = all.filter(({path}) => !/(^|\/)(\.|__MACOSX)/.test(path));
	files.sort((a, b) => a.path.localeCompare(b.path, "en", {numeric: true}));
	return {files, hidden: all.length - files.length};
}

// Identity of a case: an FNV-1a hash of the paths, sizes and dates of its files.
export function identify(files, item) {
	const text = files.map(({file, path}) => `${path}|${file.size}|${file.lastModified}`).join("\n");
	let hash = 0xcbf29ce484222325n;
	for (const value of new TextEncoder().encode(`${item}\n${text}`)) {
		hash = BigInt.asUintN(64, (hash ^ BigInt(value)) * 0x100000001b3n);
	}
	return hash.toString(16);
}
