// Undo and redo: the steps of one scan, each the changed pixels of one slice. Nothing is ever dropped but what a new
// step replaces after an undo.

import {applyRuns, diffLabels} from "./labels.js";

export class History {
	constructor(steps = [], position = steps.length) {
		this.steps = steps; // {index, name, runs}
		this.position = position; // number of steps that are done
	}

	get canUndo() { return this.position > 0; }
	get canRedo() { return this.position < this.steps.length; }

	// Note a step that is done already; returns null if nothing changed.
	add(index, name, before, after) {
		const runs = diffLabels(before, after);
		if (!runs.length) return null;
		const step = {index, name, runs};
		this.steps.length = this.position;
		this.steps.push(step);
		this.position++;
		return step;
	}

	// `labelsOf(index)` returns the labels of a slice, which are changed in place. Returns the step, or null.
	undo(labelsOf) {
		if (!this.canUndo) return null;
		const step = this.steps[--this.position];
		applyRuns(labelsOf(step.index), step.runs, {undo: true});
		return step;
	}

	redo(labelsOf) {
		if (!this.canRedo) return null;
		const step = this.steps[this.position++];
		applyRuns(labelsOf(step.index), step.runs);
		return step;
	}

	// Whether any step concerns a slice, done or undone.
	touches(index) { return this.steps.some((step) => step.index === index); }

	// Bring the done steps of one slice onto its first labels, in place.
	replay(index, labels) {
		this.steps.slice(0, this.position).forEach((step) => { if (step.index === index) applyRuns(labels, step.runs); });
	}
}
