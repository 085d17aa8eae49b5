// Files that a person dropped or chose, folders included, each with its path.

/** Files of a drop: {files: [{file, path}], hidden: number}. Must be called within the drop event. */
export async function collectDropped(transfer) {
  // Entries are valid only until the event handler returns, so all are taken before anything is awaited.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) if (entry) await collect(entry, found);
  return sorted(found);
}

/** Files of an input element: {files: [{file, path}], hidden: number}. */
export function collectChosen(input) {
  return sorted([...input.files].map((file) => ({file, path: file.webkitRelativePath || file.name})));
}

/** Identity of a case: stays the same when the same files are opened again. */
export async function identify(files, item) {
  const text = files.map(({file, path}) => `${path}|${file.size}|${file.lastModified}`).join("\n");
  const data = new TextEncoder().encode(`${item}\n${text}`);
  if (!crypto.subtle) return simpleHash(data);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...digest.subarray(0, 16)].map((value) => value.toString(16).padStart(2, "0")).join("");
}

async function collect(entry, found) {
  if (entry instanceof File) found.push({file: entry, path: entry.name});
  else if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({file, path: entry.fullPath.replace(/^\//, "")});
  } else {
    for (const child of await readFolder(entry)) await collect(child, found);
  }
}

/** All entries of a folder; a reader hands them out in portions of at most 100. */
async function readFolder(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}

/** Files in the order of their paths; those that systems hide are counted and not sent. */
function sorted(all) {
  const isHidden = ({path}) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
  const files = all.filter((one) => !isHidden(one));
  files.sort((a, b) => a.path.localeCompare(b.path, "en", {numeric: true}));
  return {files, hidden: all.length - files.length};
}

/** FNV-1a, where the page is not in a secure context and the browser therefore has no SHA-256. */
function simpleHash(data) {
  let hash = 0xcbf29ce484222325n;
  for (const value of data) hash = ((hash ^ BigInt(value)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(32, "0");
}
