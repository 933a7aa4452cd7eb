"""Models as ONNX graphs: one matrix product, one activation, one choice of a label."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softmax.learn.rows import dense

__all__ = ["write_onnx"]

OPSET = 17


def write_onnx(path: str | os.PathLike[str], model: Any) -> None:
    """Write a fitted regression with the outputs `label` and `probabilities`."""
    try:
        import onnx
    except ImportError:
        raise ImportError("to_onnx needs the package onnx: pip install 'softmax[onnx]'") from None
    Path(path).write_bytes(onnx_model(onnx, model).SerializeToString())


def onnx_model(onnx: Any, model: Any) -> Any:
    """Return the model as an onnx.ModelProto."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    multilabel = bool(getattr(model, "multilabel_", False))
    classes = label_values(model.classes_)
    coef, intercept = dense(model.coef_), model.intercept_
    two_sided = len(intercept) == 1 and not multilabel
    if two_sided:  # the sigmoid of a logit is the softmax of it beside 0
        coef = np.vstack([np.zeros_like(coef), coef])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    constants = {"weight": np.ascontiguousarray(coef.T), "bias": intercept, "classes": classes}
    node = helper.make_node
    nodes = [
        node("MatMul", ["X", "weight"], ["products"]),
        node("Add", ["products", "bias"], ["z"]),
    ]
    if multilabel:
        constants["zero"] = np.zeros((), coef.dtype)
        nodes += [
            node("Sigmoid", ["z"], ["probabilities"]),
            node("Greater", ["z", "zero"], ["positive"]),
            node("Cast", ["positive"], ["label"], to=onnx.TensorProto.INT64),
        ]
    else:
        nodes += [*share_nodes(helper, constants, model, two_sided)]
        nodes += [
            node("ArgMax", ["z"], ["position"], axis=1, keepdims=0),
            node("Gather", ["classes", "position"], ["label"]),
        ]
    element = helper.np_dtype_to_tensor_dtype(coef.dtype)
    text = classes.dtype.kind == "O"
    label_type = onnx.TensorProto.STRING if text else onnx.TensorProto.INT64
    value = helper.make_tensor_value_info
    label_shape = ["n", len(intercept)] if multilabel else ["n"]
    graph = helper.make_graph(
        nodes,
        type(model).__name__,
        [value("X", element, ["n", coef.shape[1]])],
        [
            value("label", label_type, label_shape),
            value("probabilities", element, ["n", len(intercept)]),
        ],
        [
            numpy_helper.from_array(array, name)
            for name, array in constants.items()
            if not (multilabel and name == "classes")
        ],
    )
    opset = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="softmax")
    onnx.checker.check_model(proto)
    return proto


def share_nodes(helper: Any, constants: dict[str, Any], model: Any, two_sided: bool) -> list[Any]:
    """Return the nodes from logits to probabilities that sum to one."""
    node = helper.make_node
    if two_sided or type(model).__name__ == "SoftmaxRegression":
        return [node("Softmax", ["z"], ["probabilities"], axis=1)]
    constants["axis"] = np.array([1])
    return [
        node("Sigmoid", ["z"], ["each"]),
        node("ReduceSum", ["each", "axis"], ["sum"], keepdims=1),
        node("Div", ["each", "sum"], ["probabilities"]),
    ]


def label_values(classes: NDArray[Any]) -> NDArray[Any]:
    """Return labels as ONNX has them: int64 or strings."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "U" or all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    raise ValueError(
        f"classes_ of dtype {classes.dtype} cannot be written as ONNX: integers or strings expected"
    )
