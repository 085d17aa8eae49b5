"""Model files from strangers: what they are is known before ONNX Runtime sees them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from contextlib import suppress
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.errors import ModelError
from tumortrace.inference import model as models
from tumortrace.inference import onnx_file
from tumortrace.inference.model import open_model
from tumortrace.inference.onnx_file import read_onnx, seal

RECIPE = {"tumortrace.recipe": "{}"}


def make(*, nodes=None, tensors=(), opsets=(("", 17),), metadata=RECIPE, functions=()) -> onnx.ModelProto:
    nodes = [oh.make_node("Identity", ["images"], ["logits"])] if nodes is None else nodes
    values = [oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("images", "logits")]
    graph = oh.make_graph(nodes, "g", values[:1], values[1:], list(tensors))
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid(*each) for each in opsets], functions=functions)
    oh.set_model_props(model, dict(metadata))
    return model


def external(name: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=name, data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def constant(tensor: onnx.TensorProto) -> onnx.NodeProto:
    return oh.make_node("Constant", [], ["c"], value=tensor)


def branch(node: onnx.NodeProto, *, depth: int = 1) -> onnx.NodeProto:
    for _ in range(depth):
        node = oh.make_node("If", ["x"], ["y"], then_branch=oh.make_graph([node], "inner", [], []))
    return node


def sparse(part: str = "values") -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(dims=[4], **{part: external("v")})


def make_sparse() -> onnx.ModelProto:
    model = make()
    model.graph.sparse_initializer.append(sparse())
    return model


def without(field: str) -> onnx.TensorProto:
    tensor = external("w")
    tensor.ClearField(field)
    return tensor


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (make(tensors=[external("w")]), r"its weights lie in another file \(external data\)"),
        (make(nodes=[constant(external("w"))]), r"its weights lie in another file \(external data\)"),
        (make(nodes=[branch(constant(external("w")), depth=2)]), r"its weights lie in another file \(external data\)"),
        (make(tensors=[without("data_location")]), r"its weights lie in another file \(external data\)"),
        (make(tensors=[without("external_data")]), r"its weights lie in another file \(external data\)"),
        (make_sparse(), r"its weights lie in another file \(external data\)"),
        *(
            (make(nodes=[oh.make_node("A", [], ["c"], a=value)]), r"its weights lie in another file \(external data\)")
            for value in (
                sparse(),
                sparse("indices"),
                [sparse()],
                [external("w")],
                [oh.make_graph([constant(external("w"))], "inner", [], [])],
            )
        ),
        (make(nodes=[branch(constant(onnx.TensorProto()), depth=17)]), "its graphs are nested too deeply"),
        (make(nodes=[oh.make_node("Identity", ["a"], ["b"], domain="evil")]), "it needs operators of 'evil'"),
        (make(nodes=[branch(oh.make_node("Identity", ["a"], ["b"], domain="evil"))]), "it needs operators of 'evil'"),
        (make(opsets=[("", 17), ("evil", 1)]), "it needs operators of 'evil'"),
        (
            make(nodes=[oh.make_node("A", ["a"], ["b"], domain="com.microsoft")]),
            "it needs operators of 'com.microsoft'",
        ),
        (make(functions=[oh.make_function("f", "F", [], [], [], [])]), "it defines functions of its own"),
        (make(opsets=[]), "names no operator set"),
        (make(opsets=[("ai.onnx.ml", 3)]), "names no operator set"),
        (make(metadata={}), "no recipe of tumortrace in its metadata"),
        (onnx.ModelProto(ir_version=8), "it holds no graph"),
    ],
)
def test_what_is_refused(model, reason):
    with pytest.raises(ModelError, match=reason) as raised:
        read_onnx(model.SerializeToString())
    assert "\n" not in str(raised.value)


def test_what_is_read():
    found = read_onnx(make(opsets=[("ai.onnx", 20)], metadata={**RECIPE, "a": "ü"}).SerializeToString())
    assert found.opsets == {"": 20}
    assert found.metadata == {**RECIPE, "a": "ü"}


def test_what_need_not_be_refused():
    tensor = onnx.TensorProto(data_location=onnx.TensorProto.DEFAULT)  # as where weights were taken in again
    nodes = [oh.make_node("A", ["a"], ["b"], axis=-1, alpha=0.5), branch(constant(tensor), depth=16)]
    model = make(nodes=nodes, tensors=[tensor], opsets=[("", 17), ("ai.onnx.ml", 3), ("com.microsoft", 1)])
    model.producer_name = "abcd{"  # where the header of a safetensors file begins
    data = model.SerializeToString()
    assert data[8:9] == b"{"
    unknown = b"\xa1\x06" + b"\xff" * 8 + b"\xa5\x06" + b"\xff" * 4  # fields 100 of eight bytes and of four
    assert read_onnx(data + unknown).opsets == {"": 17, "ai.onnx.ml": 3, "com.microsoft": 1}
    for cut in (1, 5, 7, 15):
        with pytest.raises(ModelError, match="not an ONNX model"):
            read_onnx((data + unknown)[:-cut])


def test_a_file_of_endlessly_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch):
    data = make(nodes=[]).SerializeToString()
    parts = b"\xa0\x06\x00" * 40
    monkeypatch.setattr(onnx_file, "_MOST_FIELDS", 40)
    assert read_onnx(data).opsets == {"": 17}
    with pytest.raises(ModelError, match="it has more parts than any network"):
        read_onnx(data + parts)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (pickle.dumps({"weights": [1.0]}), "not an ONNX model but a pickle, which may hold code"),
        (zipped(), "not an ONNX model but a zip, as torch saves checkpoints"),
        (safetensors.numpy.save({"w": np.zeros(3)}), "not an ONNX model but a safetensors file"),
        (b"", r"not an ONNX model \(it holds no graph\)"),
        (b"\xff" * 99, r"not an ONNX model \(its bytes are of another format, or damaged\)"),
        (b"Dear colleague,", r"not an ONNX model \(its bytes are of another format, or damaged\)"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, kind: str):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=rf"model\.onnx: {kind}.*; give a file that tumortrace exported"):
        open_model(str(tmp_path / "model.onnx"))


def test_an_operator_set_that_the_runtime_lacks_is_named(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(make(opsets=[("", 99)]).SerializeToString())
    with pytest.raises(ModelError, match=r"it needs operator set 99, and this onnxruntime knows those up to \d+\)"):
        open_model(str(path))


def test_a_seal_holds_until_a_byte_changes():
    data = seal(make().SerializeToString())
    assert read_onnx(data).metadata["tumortrace.recipe"] == "{}"
    assert onnx.load_from_string(data).metadata_props[-1].key == "tumortrace.sha256"
    key = data.index(b"tumortrace.sha256")
    for place in set(range(len(data))) - set(range(key, key + 17)):  # under another key, it is no seal
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ModelError):
            read_onnx(bytes(changed))
    with pytest.raises(ModelError, match="its bytes have changed since it was exported"):
        read_onnx(data + b"\x12\x01x")  # another field behind the seal


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(data: bytes):
    with pytest.raises(ModelError) as raised:
        read_onnx(data)
    assert "\n" not in str(raised.value)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(place: int, value: int):
    data = bytearray(MODEL)
    data[place % len(data)] = value
    with suppress(ModelError):
        read_onnx(bytes(data))


MODEL = make(nodes=[branch(constant(oh.make_tensor("w", 1, [2], [1.0, 2.0])))]).SerializeToString()


def copy_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("fast.onnx", "fast.json"):
        shutil.copy(Path(str(resources.files("tumortrace"))) / "weights" / name, folder / name)
    monkeypatch.setattr(models.resources, "files", lambda _: tmp_path)
    return folder


def test_a_shipped_model_is_the_one_of_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = copy_weights(tmp_path, monkeypatch)
    assert open_model("fast").sha256 == json.loads((folder / "fast.json").read_bytes())["sha256"]
    data = bytearray((folder / "fast.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "fast.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"fast\.onnx: not the model of this version .*; install tumortrace again"):
        open_model("fast")


@pytest.mark.parametrize("content", [None, b"{}", b""])
def test_a_shipped_model_needs_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None):
    folder = copy_weights(tmp_path, monkeypatch)
    (folder / "fast.json").unlink() if content is None else (folder / "fast.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"fast\.json: the card of the model is missing or damaged; install"):
        open_model("fast")
