// Undo and redo: the steps of one scan, each the changed pixels of one slice.

import {applyRuns, diffLabels} from "./labels.js";

export const ACCEPT = "Accept mask"; // a step that changes nothing
const PROMPTED = ["Box", "Click", "Carried box"]; // names of steps

export class History {
	constructor(steps = [], position = steps.length) {
		this.steps = steps; // {index, name, runs}
		this.position = position; // number of steps that are done
	}

	get canUndo() { return this.position > 0; }
	get canRedo() { return this.position < this.steps.length; }

	// Note a step that is done already; returns null if nothing changed, and nothing was accepted.
	add(index, name, before, after) {
		const runs = diffLabels(before, after);
		if (!runs.length && name !== ACCEPT) return null;
		const step = {index, name, runs};
		this.steps.length = this.position;
		this.steps.push(step);
		this.position++;
		return step;
	}

	// `labelsOf(index)` returns labels, which are changed in place.
	undo(labelsOf) {
		const {index, runs} = this.steps[--this.position];
		applyRuns(labelsOf(index), runs, {undo: true});
	}

	redo(labelsOf) {
		const {index, runs} = this.steps[this.position++];
		applyRuns(labelsOf(index), runs);
	}

	// The done steps of one slice.
	doneOn(index) { return this.steps.slice(0, this.position).filter((step) => step.index === index); }

	// Bring them onto its first labels, in place.
	replay(index, labels) { for (const {runs} of this.doneOn(index)) applyRuns(labels, runs); }

	// Note on a slice what its steps make of it.
	mark(slice) {
		const done = this.doneOn(slice.index);
		slice.edited = done.length > 0;
		slice.accepted = done.every(({name}) => name === ACCEPT);
		slice.prompted = done.some(({name}) => PROMPTED.includes(name));
		slice.fixed = this.steps.some(({index}) => index === slice.index);
	}
}
