"""The layouts of a dataset folder: which picture has which truth, and what is left over."""
