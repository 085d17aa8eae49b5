"""What ``/openapi.json`` says of each route: parameters, replies, examples."""

from __future__ import annotations

from typing import Any

Route = dict[str, Any]

_DIGEST = "9f2c" * 16

_LESION = {
    "area_px": 412, "area_mm2": 226.9, "centroid_xy": [141.2, 97.6], "bbox_xyxy": [130, 86, 153, 110],
    "diameter_px": 27.3, "diameter_mm": 20.3, "confidence": 0.93,
}  # fmt: skip

_IMAGE = {
    "file": "scan.nii.gz", "slice_index": 11, "mask": "scan_mask.nii.gz", "status": "ok", "reason": "", "tumour": True,
    "confidence": 0.88, "review": False, "plane": "axial", "plane_confidence": 0.97, "contrast": "T1 with contrast",
    "contrast_confidence": 0.91, "area_px": 412, "area_mm2": 226.9, "lesions": [_LESION], "seconds": 0.08,
    "mask_png": "iVBORw0KGgo...",
}  # fmt: skip

_VOLUME = {
    "file": "scan.nii.gz", "mask": "scan_mask.nii.gz", "status": "ok", "reason": "",
    "volume_mm3": 1229.1, "slices": 24, "slices_with_tumour": 2, "largest_diameter_mm": 20.3, "review": False,
    "lesions": [{"volume_mm3": 1229.1, "centroid_mm": [12.1, -31.8, 44.0], "first_slice": 11, "last_slice": 12,
                 "confidence": 0.93}],
}  # fmt: skip

_DOCUMENT = {
    "model": {"name": "default", "sha256": _DIGEST, "threshold": 0.5},
    "images": [_IMAGE],
    "volumes": [_VOLUME],
    "skipped": [],
}

_LINES = (
    '{"type":"start","model":{...},"items":[{"item":0,"kind":"volume","name":"series","slices":24,...}],"skipped":[]}\n'
    '{"type":"slice","item":0,"slice_index":0,"record":{...},"mask_png":"..."}\n'
    '{"type":"volume","item":0,"record":{...},"changed":[]}\n'
    '{"type":"end","seconds":2.1}\n'
)


def _error(description: str, example: str, *, limit: str = "") -> Route:
    document = {"error": example} | ({"limit": limit} if limit else {})
    properties = {"error": {"type": "string"}, "limit": {"type": "string"}}
    schema = {"type": "object", "required": ["error"], "properties": properties}
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": document}},
    }


def _reply(description: str, example: object, **others: object) -> Route:
    content: dict[str, object] = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"description": description, "content": {**content, **others}}


def _flag(name: str, description: str) -> Route:
    schema = {"type": "integer", "enum": [0, 1], "default": 0}
    return {"name": name, "in": "query", "description": description, "schema": schema}


_BINARY = {"schema": {"type": "string", "format": "binary"}}

FORBIDDEN = _error(
    "Another site asks, or a wrong host.", "Origin: https://x.test: another site; open this server's own page"
)
BUSY = _error(
    "The queue is full, or the server ends; see Retry-After.",
    "the server is busy with 32 requests; try again in 3 s",
    limit="queue",
)
TOO_LARGE = _error(
    "A limit on bytes, parts or pixels is exceeded.",
    "scan.png: 9000 x 9000 pixels, more than the limit of 25,000,000; send a smaller picture",
    limit="pixels",
)

_PROMPT: Route = {
    "type": "string", "contentMediaType": "application/json",
    "description": "A loose box and clicks on one picture, or a box on one slice of a series, as JSON.",
    "example": '{"box_xyxy": [120, 80, 190, 150], "points_xy": [[130, 90]], "labels": [1]}',
}  # fmt: skip

SEGMENT: Route = {
    "responses": {
        200: _reply(
            "Records as results.json has them, with masks; a rejected picture has its status here.",
            _DOCUMENT,
            **{
                "application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES},
                "image/png": _BINARY, "image/jpeg": _BINARY, "application/dicom": _BINARY, "application/gzip": _BINARY,
            },
        ),
        400: _error(
            "The request is malformed, or its prompt does not fit.",
            "the request has no file; send a picture or scan as the field 'file'",
        ),
        403: FORBIDDEN,
        404: _error("A picture is not kept any more.", "picture=9f2c: not kept any more; send it again as 'file'"),
        406: _error("No such reply to these files.", "application/dicom is no reply to this kind of file (picture)"),
        408: _error("The request arrives too slowly.", "the body took longer than 300 s; send fewer files"),
        413: TOO_LARGE,
        415: _error("Nothing of it can be read.", "notes.txt: not a picture that can be decoded; give a JPEG file"),
        422: _error("A mask was asked for; the picture was rejected.", "cat.jpg: no mask, the picture was rejected"),
        501: _error(
            "The library for this kind of file is not installed.",
            "pydicom is needed to read DICOM files; install it with: pip install 'tumortrace[formats]'",
        ),
        503: BUSY,
    },
    "openapi_extra": {
        "parameters": [
            _flag("pixels", "Also send the grey values of each slice."),
            _flag("probability", "Also send the probability of tumour of each pixel."),
            {
                "name": "model", "in": "query", "description": "Model to segment with.",
                "schema": {"type": "string", "enum": ["default", "fast"], "default": "default"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "file": {
                                "type": "array",
                                "items": {"type": "string", "format": "binary"},
                                "description": "Pictures, DICOM files, zips of a series, NIfTI files.",
                            },
                            "prompt": _PROMPT,
                            "grey": {
                                "type": "string", "format": "binary",
                                "description": "zlib data of a slice as pixels=1 gives it, in place of a file.",
                            },
                            "picture": {
                                "type": "string",
                                "description": "Hash of a picture that an earlier prompt sent, in place of the file.",
                            },
                        },
                    },
                    "encoding": {"file": {"contentType": "application/octet-stream"}},
                }
            },
        },
    },
}  # fmt: skip


def _parts(fields: dict[str, str], texts: dict[str, str] | None = None, *, required: tuple[str, ...]) -> Route:
    """The body of a request: a list of files for each of the fields, and one text for each of the others."""
    binary = {"type": "string", "format": "binary"}
    properties: dict[str, object] = {
        name: {"type": "array", "items": binary, "description": text} for name, text in fields.items()
    }
    properties |= {name: {"type": "string", "description": text} for name, text in (texts or {}).items()}
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


_EXPORT_BODY = _parts(
    {
        "file": "Pictures and scans as they were segmented, named GROUP/PATH; files of a group are opened together.",
        "mask": "Lesion numbers of a slice: 8-bit grey PNG, GROUP/ITEM/SLICE.png; or zlib data, a byte a pixel, "
        "SLICE.zlib. At least one mask or prompted is needed.",
        "prompted": "The same, in place of mask, where a box began the mask.",
    },
    {"annotated": "Numbers of the groups that were opened together with annotations, separated by commas, as in 0,2."},
    required=("file",),
)

EXPORT: Route = {
    "responses": {
        200: {"description": "The file.", "content": {"application/octet-stream": _BINARY}},
        400: _error("Masks and files do not fit.", "0/0/12.png: 64 x 64 pixels, and its slice has 256 x 256"),
        403: FORBIDDEN,
        413: TOO_LARGE,
        415: _error("A mask or file cannot be read.", "0/0/12.png: no PNG file; send lesion numbers as 8-bit grey PNG"),
        503: BUSY,
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "to", "in": "query", "required": True, "description": "Format.",
                "schema": {"type": "string", "enum": ["png", "via", "coco", "nifti", "seg", "dataset"]},
            },
        ],
        "requestBody": _EXPORT_BODY,
    },
}  # fmt: skip

ANNOTATIONS: Route = {
    "responses": {
        200: {
            "description": "The slices with the masks of the annotations, a document a line.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES}},
        },
        400: _error("The request is malformed.", "the request has no file; send a picture or scan as the field 'file'"),
        403: FORBIDDEN,
        413: TOO_LARGE,
        415: _error(
            "No annotation fits.", "a.json: b.png: there is no such picture; open it together with its picture"
        ),
        503: BUSY,
    },
    "openapi_extra": {
        "requestBody": _parts({"file": "Pictures and scans, and annotations of them."}, required=("file",))
    },
}

MODEL: Route = {
    "responses": {
        200: _reply("The model.", {"name": "default", "sha256": _DIGEST, "threshold": 0.5, "card": {}}),
        403: FORBIDDEN,
    }
}

SAMPLE: Route = {
    "responses": {200: {"description": "sample.nii.gz", "content": {"application/gzip": _BINARY}}, 403: FORBIDDEN}
}

HEALTH: Route = {"responses": {200: _reply("The server runs.", {"status": "ok", "version": "0.1.0"}), 403: FORBIDDEN}}

RUNS: Route = {"responses": {200: _reply("Names, the last written first.", {"runs": ["mine"]}), 403: FORBIDDEN}}

CURVES: Route = {
    "responses": {
        200: _reply(
            "A value an epoch; null where it was not measured.",
            {"epochs": [1, 2], "curves": {"train_loss": [0.81, 0.52], "val_dice": [None, 0.71]}},
        ),
        403: FORBIDDEN,
        404: _error("There is no such run.", "mine: no such run; ask /api/runs for their names"),
    }
}

READY: Route = {
    "responses": {
        200: _reply("The server takes requests.", {"ready": True}),
        503: _reply("The server ends.", {"ready": False}),
    }
}

METADATA: Route = {
    "responses": {
        200: _reply(
            "Inputs and outputs of the network.",
            {
                "name": "default",
                "versions": [_DIGEST[:12]],
                "platform": "onnxruntime_onnx",
                "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 256, 256]}],
                "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2, 256, 256]}],
            },
        ),
        404: _error("No such model.", "other: no such model; ask for default or fast"),
    }
}
