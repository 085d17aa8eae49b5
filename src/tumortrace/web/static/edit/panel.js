// The tools that correct a mask.

/** Mount the tools into a section of the page. */
export function mountPanel(section) {
  section.hidden = true;
}
