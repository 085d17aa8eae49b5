"""tumortrace: from annotated 2D brain-MRI slices to a tumour segmenter whose every number can be believed."""

__version__ = "0.1.0"
