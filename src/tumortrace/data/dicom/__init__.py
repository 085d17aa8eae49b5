"""DICOM files as volumes: headers, pixels, geometry and series."""
