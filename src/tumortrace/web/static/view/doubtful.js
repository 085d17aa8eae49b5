// Jumping to the next slice that a person should check.

/**
 * Show the next (step 1) or previous (step -1) doubtful slice of all that is open, round the end.
 * Cases are walked in the given order. Returns whether there is one.
 */
export function nextDoubtful(viewer, scans, order, step) {
  const all = order.flatMap((scan) => scan.slices.map((slice, index) => ({scan, slice, index})));
  const here = all.findIndex((one) => one.scan === viewer.scan && one.index === viewer.index);
  for (let away = 1; away <= all.length; away++) {
    const {scan, slice, index} = all[(here + step * away + all.length * 2) % all.length];
    if (!slice?.doubtful || slice.edited) continue;
    if (scan === viewer.scan) viewer.show(index);
    else scans.select(scan, index);
    return true;
  }
  viewer.say("No doubtful slice.");
  return false;
}
