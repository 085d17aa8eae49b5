"""The routes of the server."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

import tumortrace
from tumortrace.errors import TumortraceError, installed
from tumortrace.inference.card import read_card
from tumortrace.inference.model import SHIPPED, Model
from tumortrace.json_csv import Document
from tumortrace.web import examples
from tumortrace.web.answering import answer, choose_media_type
from tumortrace.web.corrections import ANNOTATED, MASK, PROMPTED
from tumortrace.web.engine import Engine
from tumortrace.web.exchange import annotate, export
from tumortrace.web.guard import Guard
from tumortrace.web.limits import RefusalError
from tumortrace.web.pointing import GREY, PICTURE
from tumortrace.web.replies import reply_document, reply_file, reply_refusal
from tumortrace.web.requests import UploadReply
from tumortrace.web.runs import list_runs, read_curves
from tumortrace.web.sample import SAMPLE_NAME, encode_sample
from tumortrace.web.uploads import FILE, PROMPT

STATIC = "static"
"""Folder of the page within this package."""


_INTERFACE = ("/api/", "/v2/", "/healthz")

_SEGMENT_NAMES = (FILE, GREY, "model", "pixels", "probability", PROMPT, PICTURE)
_EXPORT_NAMES = (FILE, MASK, PROMPTED, ANNOTATED, "to")
"""Names that fields and query of a request may have."""

_NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
"""FastAPI's OpenTelemetry, all off, whatever the environment says. Versions before it had any pass over this."""


def make_app(engine: Engine, *, host: str, runs: Path | None = None) -> ASGIApp:
    """Make the application: routes, page and the door before them.

    Args:
        engine: Queue, threads and models.
        host: Address or name that the server listens on.
        runs: Folder of runs whose curves may be shown.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with _decode_apart(engine.workers):
            yield
        engine.shut_down()

    app = FastAPI(
        title="tumortrace",
        version=tumortrace.__version__,
        summary="Brain-MR slices and scans in, tumour masks out. Research use only, not a medical device.",
        telemetry=_NO_TELEMETRY,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_routes(app, engine)
    _add_runs(app, engine, runs)
    app.add_exception_handler(TumortraceError, _reply_error)
    app.add_exception_handler(HTTPException, _reply_http_error)
    app.add_exception_handler(Exception, _reply_bug)
    mimetypes.add_type("text/javascript", ".js")  # some systems know it by another name, and browsers refuse that
    page = _Page(directory=str(resources.files("tumortrace.web") / STATIC), html=True)
    app.router.routes.append(_PageMount("/", page))
    return Guard(app, host=host)


def _decode_apart(workers: int) -> AbstractContextManager[object]:
    """Let compressed scans be decoded in processes of their own, one a thread, where the library for them is there."""
    if not installed("formats"):
        return nullcontext()
    from tumortrace.data.dicom.apart import decode_apart  # noqa: PLC0415 - an extra

    return decode_apart(workers)


def _add_routes(app: FastAPI, engine: Engine) -> None:
    @app.post("/api/segment", **examples.SEGMENT)
    async def segment(request: Request) -> Response:
        """Segment pictures, DICOM files, zips of a series, or NIfTI files."""
        media_type = choose_media_type(request.headers.get("accept", ""))
        return UploadReply(engine, partial(answer, engine=engine, media_type=media_type), names=_SEGMENT_NAMES)

    @app.post("/api/export", **examples.EXPORT)
    async def export_masks(_request: Request) -> Response:
        """Make a file of corrected masks: PNG, VIA, COCO, NIfTI, DICOM-SEG, or a dataset to train on."""
        return UploadReply(engine, partial(export, engine=engine), names=_EXPORT_NAMES)

    @app.post("/api/annotations", **examples.ANNOTATIONS)
    async def annotations(_request: Request) -> Response:
        """Read masks and annotations that are sent together with their pictures and scans."""
        return UploadReply(engine, partial(annotate, engine=engine), names=_SEGMENT_NAMES)

    @app.get("/api/model", **examples.MODEL)
    async def model() -> Response:
        """Describe the model: name, hash, recipe, data, scores, limits and licence."""
        return reply_document(await engine.run(_describe_model, engine))

    @app.get("/api/sample", **examples.SAMPLE)
    async def sample() -> Response:
        """Return a generated series with a tumour, so that everything can be tried without data."""
        data = await engine.run(encode_sample)
        return reply_file(data, media_type="application/gzip", name=SAMPLE_NAME)

    @app.head("/healthz", include_in_schema=False)  # as load balancers ask
    @app.get("/healthz", **examples.HEALTH)
    async def health() -> Response:
        """Say that the server runs."""
        return reply_document({"status": "ok", "version": tumortrace.__version__})

    @app.head("/v2/health/ready", include_in_schema=False)
    @app.get("/v2/health/ready", **examples.READY)
    async def ready() -> Response:
        """Say whether the server takes requests, as the Open Inference Protocol asks."""
        return reply_document({"ready": engine.is_open}, status=200 if engine.is_open else 503)

    @app.get("/v2/models/{name}", **examples.METADATA)
    async def metadata(name: str) -> Response:
        """Describe inputs and outputs of a model, as the Open Inference Protocol asks."""
        try:
            segmenter = await engine.run(engine.segmenter, name)
        except RefusalError:
            return reply_refusal(RefusalError(404, f"{name[:100]}: no such model; ask for default or fast"))
        return reply_document(_describe_tensors(name, segmenter.model))


def _add_runs(app: FastAPI, engine: Engine, folder: Path | None) -> None:
    @app.get("/api/runs", **examples.RUNS)
    async def runs() -> Response:
        """List the trainings whose curves may be shown; none without ``serve --runs``."""
        return reply_document({"runs": await engine.run(list_runs, folder)})

    @app.get("/api/runs/{name}/metrics", **examples.CURVES)
    async def curves(name: str) -> Response:
        """Return the curves of a training, also while it runs."""
        return reply_document(await engine.run(read_curves, folder, name))


def _describe_model(engine: Engine) -> Document:
    model = engine.segmenter().model
    return {
        "name": model.name,
        "sha256": model.sha256,
        "threshold": model.recipe.threshold,
        "models": ["default", *(name for name in SHIPPED if name not in ("default", engine.served))],
        "version": tumortrace.__version__,
        "purpose": "research use only, not a medical device",
        "limits": asdict(engine.limits),
        "recipe": asdict(model.recipe),
        "card": read_card(model) or model.card,
    }


def _describe_tensors(name: str, model: Model) -> Document:
    height, width = model.recipe.size_hw
    return {
        "name": name,
        "versions": [model.sha256[:12]],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 1, height, width]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2, height, width]}],
    }


async def _reply_error(_request: Request, error: Exception) -> Response:
    return reply_refusal(error if isinstance(error, RefusalError) else RefusalError(501, str(error)))


async def _reply_http_error(request: Request, error: Exception) -> Response:
    """Reply to a wrong path or method in the form of all other errors."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the only kind that comes here
    detail = str(error.detail).lower()
    reply = reply_refusal(RefusalError(error.status_code, f"{request.method} {request.url.path[:200]}: {detail}"))
    reply.headers.update(error.headers or {})
    return reply


async def _reply_bug(_request: Request, error: Exception) -> Response:
    """Reply to what should never happen; its traceback goes to the log."""
    return reply_refusal(RefusalError(500, f"a fault of the server ({type(error).__name__}); its log says more"))


class _PageMount(Mount):
    """The place of the page: all paths but those of the interface, whose wrong methods are 405 and not 404."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["path"].startswith(_INTERFACE):
            return Match.NONE, {}
        return super().matches(scope)


class _Page(StaticFiles):
    """The files of the page; a browser asks each time whether they have changed."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:  # noqa: ANN401
        reply = super().file_response(full_path, stat_result, scope, status_code)
        reply.headers["Cache-Control"] = "no-cache"
        return reply
