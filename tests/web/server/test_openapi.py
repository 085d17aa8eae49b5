"""The server keeps to its OpenAPI document, whatever is sent to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tumortrace.web.app import _EXPORT_NAMES, _SEGMENT_NAMES, make_app
from tumortrace.web.engine import Engine

EXAMPLES = 40
"""Requests to each route."""

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]

LEFT_OUT = {
    "positive_data_acceptance": "a file of random bytes fits the document and is no picture: 415 is right",
    "negative_data_rejection": "a value that a URL cannot tell from a right one, such as 1 and '1', is served",
    "missing_required_header": "the document requires none",
    "ignored_auth": "the server has no accounts",
    "use_after_free": "the server stores nothing",
    "ensure_resource_availability": "the server stores nothing",
}
"""Checks of schemathesis that do not apply, each with the reason."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    opened = Engine("fast")
    yield opened
    opened.shut_down()


def test_every_reply_is_one_that_the_document_states(engine: Engine):
    schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(engine, host="testserver"))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:

        @seed(0)
        @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        ask()


@pytest.mark.parametrize(("path", "names"), [("/api/segment", _SEGMENT_NAMES), ("/api/export", _EXPORT_NAMES)])
def test_the_document_names_every_field_that_a_route_takes(engine: Engine, path: str, names: tuple[str, ...]):
    route = schemathesis.openapi.from_asgi("/openapi.json", make_app(engine, host="testserver")).raw_schema["paths"]
    post = route[path]["post"]
    fields = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {*fields, *(parameter["name"] for parameter in post["parameters"])} == set(names)
