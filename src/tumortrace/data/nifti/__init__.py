"""NIfTI files: bytes, header, geometry, voxels, and the volume made of them."""
