// Small helpers to build the page.

// Create an element with properties (`text`, `on` and attributes) and children.
export function el(tag, {text, on: handlers = {}, ...attributes} = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
	}
	if (text !== undefined) element.textContent = text;
	for (const [type, handler] of Object.entries(handlers)) on(element, type, handler);
	element.append(...children);
	return element;
}

// A drawing of SVG elements, for the eyes alone.
export function drawing(viewBox, content) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	element.setAttribute("viewBox", viewBox);
	element.setAttribute("aria-hidden", "true");
	element.innerHTML = content;
	return element;
}

// A target of events that carry a `detail`.
export class Source extends EventTarget {
	tell(type, detail) { this.dispatchEvent(new CustomEvent(type, {detail})); }
}

export const find = (selector, root = document) => root.querySelector(selector);

// Listen for events of several types, which spaces divide.
export function on(target, types, handler, options) {
	for (const type of types.split(" ")) target.addEventListener(type, handler, options);
}

const FORMATS = [0, 1, 2].map((maximumFractionDigits) => new Intl.NumberFormat("en", {maximumFractionDigits}));

// A number with three significant digits, or without fraction from 100 on.
export function short(value) {
	const size = Math.abs(value);
	return FORMATS[size >= 100 ? 0 : size >= 10 ? 1 : 2].format(value);
}

// "1 slice", "3 slices".
export const count = (number, noun) => `${FORMATS[0].format(number)} ${noun}${number === 1 ? "" : "s"}`;

// Set a property, unless it is so already: what is set is laid out and painted anew.
export function put(element, name, value) {
	if (element[name] !== value) element[name] = value;
}

// Call a function once nothing has asked for it for some time: not while a person scrolls.
export function onceStill(callback, ms = 100) {
	let timer = 0;
	return () => {
		clearTimeout(timer);
		timer = setTimeout(callback, ms);
	};
}

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
