// Small helpers to build the page.

/** Create an element with properties (`class`, `text`, `on` and attributes) and children. */
export function el(tag, {text, on = {}, ...attributes} = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  if (text !== undefined) element.textContent = text;
  for (const [type, handler] of Object.entries(on)) element.addEventListener(type, handler);
  element.append(...children);
  return element;
}

export const find = (selector, root = document) => root.querySelector(selector);

const FORMATS = [0, 1, 2].map((maximumFractionDigits) => new Intl.NumberFormat("en", {maximumFractionDigits}));

/** A number with three significant digits, or as it is from 100 on. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return FORMATS[size >= 100 ? 0 : size >= 10 ? 1 : 2].format(value);
}

/** "1 slice", "3 slices". */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Set a property, unless it is so already: what is set is laid out and painted anew. */
export function put(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Call a function once nothing has asked for it for a tenth of a second: not while a person scrolls. */
export function onceStill(callback) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(callback, 100);
  };
}

/** Call a function at most once a frame. */
export function onceAFrame(callback) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      callback();
    });
  };
}
