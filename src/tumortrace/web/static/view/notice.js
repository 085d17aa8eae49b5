// What a person must know of the slice that is shown, in plain words.

import {count, el} from "../dom.js";

/** Show the result of the current slice, with a warning where a person should look. */
export function mountNotice(section, viewer, scans) {
  let shown = "";
  const draw = () => {
    const parts = viewer.scan ? describe(viewer.scan, viewer.slice) : [];
    const key = JSON.stringify(parts);
    if (key === shown) return; // a screen reader would read it again
    shown = key;
    section.replaceChildren(...parts.map(box));
  };
  viewer.addEventListener("slicechange", draw);
  viewer.addEventListener("labelschange", draw);
  for (const type of ["complete", "relabel"]) scans.addEventListener(type, draw);
}

/** Boxes for a slice: {kind, title, text, reasons}. */
function describe(scan, slice) {
  const parts = [];
  const {record} = scan;
  if (scan.error && scan.error !== record?.reason) parts.push({kind: "bad", title: "This scan could not be read", text: scan.error});
  if (record?.status === "rejected") parts.push({kind: "bad", title: "This series was not segmented", reasons: split(record.reason)});
  if (slice) parts.push(describeSlice(scan, slice));
  if (record?.status === "ok" && record.review) {
    parts.push({kind: "warn", title: "Check this series before you use it", reasons: split(record.reason)});
  }
  return parts;
}

function describeSlice(scan, slice) {
  const {record} = slice;
  if (slice.edited) return {kind: "good", title: `${headline(scan, slice)}, corrected by you`};
  if (record.status === "rejected") {
    return {kind: "bad", title: "Not segmented", reasons: split(record.reason)};
  }
  if (record.status === "error") return {kind: "bad", title: "This slice could not be read", reasons: split(record.reason)};
  if (scan.annotated) return {kind: "calm", title: headline(scan, slice), text: "As in the annotation."};
  const rating = `confidence ${record.confidence.toFixed(2)}`;
  if (!record.review) return {kind: "calm", title: headline(scan, slice), text: sentence(rating)};
  const text = record.reason.includes("confidence") ? "" : sentence(rating);
  return {kind: "warn", title: `${headline(scan, slice)}: check it`, text, reasons: split(record.reason)};
}

function headline(scan, slice) {
  if (!slice.areaPx) return "No tumour found";
  return `${count(slice.counts.subarray(1).filter(Boolean).length, "lesion")}, ${scan.area(slice.areaPx)}`;
}

function split(reason) {
  return reason ? reason.split("; ").map(sentence) : [];
}

function sentence(text) {
  const start = /^[a-z]+[ ,:;]/.test(text) ? text[0].toUpperCase() : text[0]; // a file's name stays as it is
  return `${start}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function box({kind, title, text, reasons = []}) {
  const lines = [...(reasons.length === 1 ? reasons : []), text].filter(Boolean).map((line) => el("p", {text: line}));
  const list = reasons.length > 1 ? [el("ul", {}, ...reasons.map((reason) => el("li", {text: reason})))] : [];
  return el("div", {class: `box ${kind}`}, el("h3", {text: title}), ...list, ...lines);
}
