"""One training, from prepared slices to an ONNX file."""
