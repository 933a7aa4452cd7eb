"""Models to files and back: safetensors for this package, ONNX for serving."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from softmax.learn.estimator import LinearClassifier
from softmax.learn.model_io import SavedModel, read_model, write_model
from softmax.learn.rows import dense

__all__ = ["SavedAsFile"]

PARAMETERS = (
    "C",
    "l1_ratio",
    "fit_intercept",
    "label_smoothing",
    "tol",
    "max_iter",
    "warm_start",
    "early_stopping",
    "validation_fraction",
)


class SavedAsFile(LinearClassifier):
    """`save`, `load` and `to_onnx` of a fitted model."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as safetensors; an existing file is replaced at once or not at all.

        Parameters
        ----------
        path : path-like
            Where to write.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        parameters = {name: getattr(self, name) for name in PARAMETERS}
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in parameters.items()}
        if plain["C"] == np.inf:
            plain["C"] = "inf"  # JSON has no infinity
        write_model(
            path,
            SavedModel(
                coef=dense(self.coef_),
                intercept=self.intercept_,
                classes=self.classes_,
                parameters=plain,
                n_iter=self.n_iter_,
                duality_gap=self.duality_gap_,
                history=self.history_,
                feature_names=None if names is None else names.tolist(),
                estimator=type(self).__name__,
                multilabel=bool(getattr(self, "multilabel_", False)),
            ),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path-like
            A safetensors file.

        Returns
        -------
        The estimator, fitted.

        Raises
        ------
        ValueError
            Where the file is not a whole, unchanged model of this kind and a known version.
        """
        saved = read_model(path, cls.__name__)
        model = cls()
        try:
            parameters: dict[str, Any] = dict(saved.parameters)
            if parameters.get("C") == "inf":
                parameters["C"] = np.inf
            model.set_params(**parameters)
            model._check_parameters()
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{os.fspath(path)!r} is not a usable model file: {reason}") from None
        model.coef_, model.intercept_ = saved.coef, saved.intercept
        model.classes_ = saved.classes
        model.n_features_in_ = saved.coef.shape[1]
        if saved.feature_names is not None:
            model.feature_names_in_ = np.array(saved.feature_names, object)
        model.n_iter_, model.duality_gap_ = saved.n_iter, saved.duality_gap
        model.history_ = saved.history
        model.multilabel_ = saved.multilabel
        return model

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the model for ONNX runtimes, with the outputs `label` and `probabilities`.

        Parameters
        ----------
        path : path-like
            Where to write. The graph has one input, `X`, of shape (n_samples, n_features) and the
            dtype of `coef_`.

        Raises
        ------
        ImportError
            Where the package `onnx` is not installed.
        ValueError
            Where the classes are neither integers nor strings.
        """
        from softmax.learn.onnx_export import write_onnx

        check_is_fitted(self)
        write_onnx(path, self)
