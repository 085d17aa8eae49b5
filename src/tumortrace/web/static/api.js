// Requests to the server. Errors carry one line for the user.

const MOST_TRIES = 5;

// Segment files, or read annotations of them (`url`): call `onMessage`, awaited, with each message of the reply.
export async function segment(files, {url = "api/segment", prompt, signal, onMessage}) {
	const body = new FormData();
	if (prompt) body.append("prompt", prompt);
	for (const {file, path} of files) body.append("file", file, path);
	const headers = {Accept: "application/x-ndjson"};
	const response = await send(prompt ? url : `${url}?pixels=1&probability=1`, {method: "POST", body, headers, signal});
	await readLines(response.body, signal, onMessage);
}

export const fetchJson = async (url) => (await send(url)).json();

export async function fetchSample() {
	const response = await send("api/sample");
	return new File([await response.blob()], "sample.nii.gz", {lastModified: 0});
}

// Send a request; a busy server (503) is asked again after the time that it names.
export async function send(url, options = {}) {
	for (let tries = 1; ; tries++) {
		const response = await fetch(url, options).catch((error) => {
			if (options.signal?.aborted) throw error;
			throw new Error("The server does not answer. Check that tumortrace serve is still running.");
		});
		if (response.ok) return response;
		if (response.status !== 503 || tries === MOST_TRIES) {
			const {error} = await response.json().catch(() => ({}));
			throw new Error(error ?? `The server answered with status ${response.status}.`);
		}
		await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(response.headers.get("retry-after")) || 1)));
	}
}

async function readLines(body, signal, onMessage) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let parts = [];
	for (let {done, value} = await reader.read(); !done; {done, value} = await reader.read()) {
		const lines = value.split("\n");
		parts.push(lines.shift());
		for (const line of lines) {
			const text = parts.join("");
			parts = [line];
			if (text) await onMessage(JSON.parse(text));
			signal?.throwIfAborted();
		}
	}
	if (parts.join("")) throw new Error("The connection to the server broke off. Drop the files again.");
}
