// Requests to the server. Every function takes an AbortSignal; errors carry one line for the user.

const MOST_TRIES = 5;

/** Segment files, or read annotations of them (`url`). Calls `onMessage` (awaited) with each message of the stream, in order. */
export async function segment(files, {url = "api/segment", signal, onMessage}) {
  const form = new FormData();
  for (const {file, path} of files) form.append("file", file, path);
  const headers = {Accept: "application/x-ndjson"};
  const response = await send(`${url}?pixels=1&probability=1`, {method: "POST", body: form, headers, signal});
  await readLines(response.body, signal, onMessage);
}

/** The model's card: {name, threshold, ...}. */
export async function fetchModel(signal) {
  return (await send("api/model", {signal})).json();
}

/** The generated sample series as a File. */
export async function fetchSample(signal) {
  const response = await send("api/sample", {signal});
  const named = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") ?? "");
  return new File([await response.blob()], named?.[1] ?? "sample.nii.gz", {lastModified: 0});
}

/** Names of the runs whose curves may be shown; none where the server was started without a folder of runs. */
export async function fetchRuns(signal) {
  return (await (await send("api/runs", {signal})).json()).runs;
}

/** Curves of a run: {epochs: [...], curves: {name: [...]}}. */
export async function fetchMetrics(name, signal) {
  return (await send(`api/runs/${encodeURIComponent(name)}/metrics`, {signal})).json();
}

/** Send a request; a busy server (503) is asked again after the time that it names. */
async function send(url, options) {
  for (let tries = 1; ; tries++) {
    const response = await fetch(url, options).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Check that tumortrace serve is still running.");
    });
    if (response.ok) return response;
    if (response.status !== 503 || tries === MOST_TRIES) throw new Error(await explain(response));
    await wait(1000 * (Number(response.headers.get("retry-after")) || 1), options.signal);
  }
}

async function explain(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Call `onMessage` with each line of JSON; stops at once when the signal aborts. */
async function readLines(body, signal, onMessage) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    const lines = value.split("\n");
    for (const line of lines.slice(0, -1)) {
      const text = parts.join("") + line;
      parts = [];
      if (text) await onMessage(JSON.parse(text));
      signal?.throwIfAborted();
    }
    parts.push(lines.at(-1));
  }
  if (parts.join("").trim()) throw new Error("The connection to the server broke off. Drop the files again.");
}
