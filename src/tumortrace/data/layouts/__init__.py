"""The layouts of a dataset folder: which picture has which truth."""
