"""ONNX Runtime as a peer: every operation is a graph of one to three nodes."""

from functools import partial
from typing import Any, ClassVar

import numpy as np

from benchmarks.cases import Arrays
from benchmarks.peer import Call, Into, Peer


class OnnxRuntime(Peer):
    """One session for each graph; `out` is an output bound beforehand."""

    name = "ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    nodes: ClassVar = {
        "softmax": ("Softmax",),
        "log_softmax": ("LogSoftmax",),
        "logsumexp": ("ReduceLogSumExp",),
        "sigmoid": ("Sigmoid",),
        "log_sigmoid": ("Neg", "Softplus", "Neg"),
        "softplus": ("Softplus",),
    }
    takes_out = frozenset(
        (name, variant) for name in nodes for variant in ("plain", "masked", "tempered")
    )

    def __init__(self, threads: int):
        super().__init__(threads)
        import onnx
        import onnxruntime

        self.onnx, self.runtime, self.threads = onnx, onnxruntime, threads
        self.functions = {name: partial(self._chain, kinds) for name, kinds in self.nodes.items()}

    def plain(self, operation: str, a: Arrays, into: Into) -> Call:
        return self._run(self.functions[operation](a), {"x": a.x}, into)

    def masked(self, operation: str, a: Arrays, into: Into) -> Call:
        where = self.onnx.helper.make_node("Where", ["mask", "x", "low"], ["masked"])
        nodes = [where, *self.functions[operation](a, source="masked")]
        inputs = {"x": a.x, "mask": a.mask, "low": np.full(1, -np.inf, a.dtype)}
        return self._run(nodes, inputs, into)

    def tempered(self, operation: str, a: Arrays, into: Into) -> Call:
        divide = self.onnx.helper.make_node("Div", ["x", "temperature"], ["tempered"])
        nodes = [divide, *self.functions[operation](a, source="tempered")]
        inputs = {"x": a.x, "temperature": np.full(1, a.temperature, a.dtype)}
        return self._run(nodes, inputs, into)

    def _chain(self, kinds: tuple[str, ...], a: Arrays, source: str = "x") -> list[Any]:
        """Nodes one after another, from `source` to y."""
        axis = a.axis % a.x.ndim
        attributes = {"ReduceLogSumExp": {"axes": [axis], "keepdims": 0}}
        attributes |= {kind: {"axis": axis} for kind in ("Softmax", "LogSoftmax")}
        names = [source, *(f"t{i}" for i in range(1, len(kinds))), "y"]
        return [
            self.onnx.helper.make_node(kind, [before], [after], **attributes.get(kind, {}))
            for kind, before, after in zip(kinds, names[:-1], names[1:], strict=True)
        ]

    def _session(self, nodes: list[Any], inputs: dict[str, np.ndarray]) -> Any:
        helper = self.onnx.helper

        def describe(name: str, array: np.ndarray, rank: int) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            return helper.make_tensor_value_info(name, kind, [None] * rank)

        x = inputs["x"]
        result = describe("y", x, x.ndim - (nodes[-1].op_type == "ReduceLogSumExp"))
        described = [describe(name, array, array.ndim) for name, array in inputs.items()]
        graph = helper.make_graph(nodes, "graph", described, [result])
        # 13 is the first opset whose Softmax works along an axis.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it cannot do arrives as an exception
        return self.runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, nodes: list[Any], inputs: dict[str, np.ndarray], into: Into) -> Call:
        session = self._session(nodes, inputs)
        if not into:
            return partial(session.run, None, inputs)  # a list of one array
        binding, out = session.io_binding(), into["out"]
        # The binding knows addresses only, so the closure below keeps the arrays alive.
        held = {name: self.runtime.OrtValue.ortvalue_from_numpy(x) for name, x in inputs.items()}
        held["y"] = self.runtime.OrtValue.ortvalue_from_numpy(out)
        for name in inputs:
            binding.bind_ortvalue_input(name, held[name])
        binding.bind_ortvalue_output("y", held["y"])

        def bound(held: Any = held) -> np.ndarray:
            session.run_with_iobinding(binding)
            return out

        return bound
