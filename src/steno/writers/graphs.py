"""Graphs of models, made by the packages that know them, kept as TensorFlow's GraphDef."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.media.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Iterable


def of_torch(model: Any, input_to_model: Any, verbose: bool, use_strict_trace: bool) -> Bundle:
    """A torch module's graph, traced here: it can be traced nowhere else.

    Raises:
        UsageError: torch or tensorboard is missing, or the module cannot be traced.
    """
    try:
        from torch.utils.tensorboard._pytorch_graph import graph
    except ImportError as error:
        raise UsageError(f"add_graph needs torch and tensorboard: pip install torch tensorboard ({error})") from error
    if input_to_model is None:
        raise UsageError("add_graph needs input_to_model, a tensor or a tuple of tensors that the model is traced with")
    try:
        with warnings.catch_warnings():
            # That torch traces in a way it has deprecated is no business of the one who asks for a graph.
            warnings.simplefilter("ignore", DeprecationWarning)
            definition, trace = graph(model, input_to_model, verbose, use_strict_trace)
    except Exception as error:
        raise UsageError(f"add_graph: the model cannot be traced: {error}") from error
    return _bundle(definition.SerializeToString(), trace.SerializeToString())


def of_onnx(path: Any) -> Bundle:
    """An ONNX model's graph.

    Raises:
        UsageError: the package onnx is missing, or the file is no model.
    """
    try:
        onnx = import_module("onnx")
    except ImportError as error:
        raise UsageError("add_onnx_graph needs the package onnx, which is not installed: pip install onnx") from error
    name = _file("add_onnx_graph", path)
    try:
        graph = onnx.load(name, load_external_data=False).graph
    except Exception as error:
        raise UsageError(f"add_onnx_graph: {name} cannot be read: {error}") from error
    nodes: list[tuple[str, str, list[str]]] = [(one.name, "Variable", []) for one in graph.input]
    made = {output: node.name or node.output[0] for node in graph.node for output in node.output}
    nodes += [
        (node.name or node.output[0], node.op_type, [made.get(one, one) for one in node.input if one])
        for node in graph.node
    ]
    return _bundle(_graph_def(nodes), None)


def of_openvino(path: Any) -> Bundle:
    """An OpenVINO model's graph, from the XML of its intermediate form, which needs no package.

    Raises:
        UsageError: the file is no model.
    """
    from xml.etree import ElementTree as ET

    name = _file("add_openvino_graph", path)
    try:
        root = ET.parse(name).getroot()
        layers = {one.attrib["id"]: (one.attrib["name"], one.attrib["type"]) for one in root.iterfind("layers/layer")}
        inputs: dict[str, list[str]] = {}
        for edge in root.iterfind("edges/edge"):
            inputs.setdefault(edge.attrib["to-layer"], []).append(layers[edge.attrib["from-layer"]][0])
    except (ET.ParseError, KeyError, OSError) as error:
        raise UsageError(f"add_openvino_graph: {name} is no model in OpenVINO's XML: {error!r}") from error
    if not layers:
        raise UsageError(f"add_openvino_graph: {name} has no layers")
    return _bundle(_graph_def([(title, kind, inputs.get(id, [])) for id, (title, kind) in layers.items()]), None)


def _file(method: str, path: Any) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        raise UsageError(f"{method} takes a path, not {type(path).__name__}") from None
    if not os.path.isfile(name):
        raise UsageError(f"{method}: there is no file {name}")
    return str(name)


def _graph_def(nodes: Iterable[tuple[str, str, Iterable[str]]]) -> bytes:
    """GraphDef { 1 node { 1 name | 2 op | 3 input } | 4 versions { 1 producer } }."""
    out = b""
    for name, kind, inputs in nodes:
        body = _field(1, name) + _field(2, kind) + b"".join(_field(3, one) for one in inputs)
        out += b"\x0a" + _varint(len(body)) + body
    return out + b"\x22\x02\x08\x16"


def _field(number: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bundle(graph: bytes, trace: bytes | None) -> Bundle:
    import numpy as np

    arrays = {"graph": np.frombuffer(graph, np.uint8)}
    if trace:
        arrays["trace"] = np.frombuffer(trace, np.uint8)
    return Bundle("graph", arrays, {})
