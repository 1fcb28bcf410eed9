"""The routes of the web app, for browsers and programs."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import flask
import numpy as np
from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from p2plib.data import sketch
from p2plib.errors import P2PError
from p2plib.web import files, uploads
from p2plib.web.limits import DEFAULTS, Limits, RequestError
from p2plib.web.models import Model, Models
from p2plib.web.queue import BusyError, GoneError

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response."""

SENTENCES = {
    400: "The request is malformed.",
    404: "There is nothing here.",
    405: "This method is not allowed here.",
    415: "Send the image as multipart/form-data or as JSON.",
    500: "Something went wrong on the server; its terminal says more.",
}
"""Default messages of HTTP errors."""

mimetypes.add_type("text/javascript", ".js")  # Windows may send text/plain, which `nosniff` blocks

NUMBERS = 2**31
"""Upper limit (exclusive) of seeds for noise and examples."""


class _Request(flask.Request):
    """Keeps uploads in memory, however large, so that no user file is written to disk."""

    max_form_parts = 8

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return io.BytesIO()


class _App(Flask):
    request_class = _Request


@dataclass(frozen=True)
class _Order:
    """The parameters of a translation request."""

    image: bytes
    model: str | None
    fit: bool | None
    noise: int | None


def create_app(checkpoints: Sequence[Path], examples: Path | None = None, limits: Limits = DEFAULTS) -> Flask:
    """Create the WSGI application with all models loaded. Serve it in one process with several threads.

    Args:
        checkpoints: paths for `p2plib.load`; the first one is the default.
        examples: folder of images to try the models with; None uses validation or toy images.
        limits: limits of requests.

    Raises:
        CheckpointError: a model cannot be loaded.
        DataError: `examples` holds no images.
    """
    app = _App(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=limits.body_bytes,
        MAX_FORM_MEMORY_SIZE=200_000,  # must exceed the chunks that Werkzeug reads, even of files
        MAX_FORM_PARTS=_Request.max_form_parts,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.extensions["p2plib"] = models = Models(checkpoints, examples, limits)
    for rule, function in {"/": _index, "/healthz": _health}.items():
        app.add_url_rule(rule, view_func=_given(models, function), endpoint=function.__name__)
    app.add_url_rule("/api/models", view_func=_given(models, _list), endpoint="models")
    app.add_url_rule("/api/example", view_func=_given(models, _example), endpoint="example")
    for name, function in {"translate": _translate, "preview": _preview, "sketch": _sketch}.items():
        app.add_url_rule(f"/api/{name}", view_func=_given(models, function), endpoint=name, methods=["POST"])
    app.register_error_handler(Exception, _failed)
    app.after_request(_secured)
    return app


def _given(models: Models, view: Callable[[Models], Any]) -> Callable[[], Any]:
    return lambda: view(models)


def _index(models: Models) -> str:
    return render_template("index.html", models=models.entries(), limits=models.limits, sketches=sketch.available())


def _health(models: Models) -> Response:
    return jsonify(status="ok", models=len(models), waiting=models.queue.waiting)


def _list(models: Models) -> Response:
    return jsonify(models=models.entries())


def _example(models: Models) -> Response:
    seed = _number("seed", request.args.get("seed", "0"))
    model = models.find(request.args.get("model") or None)
    image = model.examples.image(seed or 0)
    content, suffix = files.encode(image, model.kinds[0]) if not model.ordinary else (uploads.to_png(image), ".png")
    return Response(content, mimetype=files.MIMETYPES[suffix])


def _translate(models: Models) -> Response:
    models.queue.check_room()  # before anything is decoded
    order = _read_order()
    model = models.find(order.model)
    if model.ordinary:
        result, told = _run(models, model, uploads.decode(order.image, models.limits), order)
        return jsonify(generated=_url(uploads.to_png(result)), **told)
    source, target = model.kinds
    with files.kept(order.image, models.limits) as path:
        result, told = _run(models, model, files.read(path, source), order)
        content, suffix = files.encode(result, target, path)
    shown = _url(uploads.to_png(target.preview(result)))
    return jsonify(generated=shown, file=_url(content, suffix), suffix=suffix, **told)


def _run(models: Models, model: Model, image: np.ndarray, order: _Order) -> tuple[np.ndarray, dict[str, Any]]:
    """The translation of an image, and what the answer tells of it."""
    height, width = image.shape[:2]
    fit = model.check(height, width, order.fit, models.limits)
    result, seconds, waited = models.translate(model, image, order.noise, fit, _gone())
    height, width = result.shape[:2]
    times = {"seconds": round(seconds, 4), "waited": round(waited, 4)}
    return result, {"model": model.id, "width": width, "height": height, "fitted": fit, **times}


def _url(content: bytes, suffix: str = ".png") -> str:
    return f"data:{files.MIMETYPES[suffix]};base64,{base64.b64encode(content).decode()}"


def _preview(models: Models) -> Response:
    """What people see of a source, as PNG."""
    order = _read_order()
    model = models.find(order.model)
    if model.ordinary:
        return Response(uploads.to_png(uploads.decode(order.image, models.limits)), mimetype="image/png")
    source = model.kinds[0]
    with files.kept(order.image, models.limits) as path:
        return Response(uploads.to_png(source.preview(files.read(path, source))), mimetype="image/png")


def _sketch(models: Models) -> Response:
    if not sketch.available():
        raise RequestError("This server cannot draw sketches: scikit-image is not installed.", 501)
    models.queue.check_room()
    image = uploads.decode(_read_order().image, models.limits)
    drawn = models.queue.run(lambda: sketch.sketch(image), _gone()).result
    return Response(uploads.to_png(drawn), mimetype="image/png")


def _gone() -> Callable[[], bool]:
    """A function that returns whether the client disconnected, if the server knows."""
    return request.environ.get("waitress.client_disconnected", lambda: False)


def _read_order() -> _Order:
    return _json_order() if request.is_json else _form_order()


def _form_order() -> _Order:
    if request.mimetype != "multipart/form-data":
        raise RequestError(SENTENCES[415], 415)
    file, fields = request.files.get("image", request.files.get("picture")), request.form  # version 0.1: "picture"
    if file is None:
        raise RequestError("The request has no image; send it as the file field `image`.")
    return _order(file.read(), fields.get("model"), fields.get("fit"), fields.get("noise"))


def _json_order() -> _Order:
    try:
        values = request.get_json()
    except RecursionError:  # deeply nested brackets
        values = None
    if not isinstance(values, dict) or not isinstance(sent := values.get("image", values.get("picture")), str):
        raise RequestError("The request must be a JSON object with a base64 image as `image`.")
    return _order(uploads.from_base64(sent), *map(values.get, ("model", "fit", "noise")))


def _order(image: bytes, model: object, fit: object, noise: object) -> _Order:
    if not isinstance(model, str | None):
        raise RequestError("`model` must be the id of a model.")
    if fit not in (None, "", "0", "1", "false", "true", 0, 1):  # 0 and 1 are also False and True
        raise RequestError("`fit` must be 1 or 0.")
    chosen = None if fit in (None, "") else fit in ("1", "true", 1)
    return _Order(image, model or None, chosen, _number("noise", noise))


def _number(name: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < NUMBERS):
        raise RequestError(f"`{name}` must be a whole number from 0 to {NUMBERS - 1}.")
    return int(text)


def _failed(error: Exception) -> Response:
    """Answer every error with one sentence, in JSON for programs or plain text for mistyped addresses."""
    status, sentence = _status(error)
    if status == 500:
        current_app.logger.error("%s %s failed", request.method, request.path, exc_info=error)
    if request.path.startswith("/api/"):
        response = jsonify(error=sentence)
    else:
        response = Response(f"{sentence}\n", mimetype="text/plain")
    response.status_code = status
    if isinstance(error, BusyError):
        response.headers["Retry-After"] = str(error.retry_after)
    if status == 405 and isinstance(error, HTTPException):
        response.headers.update({name: value for name, value in error.get_headers() if name == "Allow"})
    return response


def _status(error: Exception) -> tuple[int, str]:
    if isinstance(error, BusyError | GoneError):
        return 503, str(error)
    if isinstance(error, RequestError):
        return error.status, str(error)
    if isinstance(error, P2PError):  # for example, noise with an exported model
        return 422, str(error)
    if isinstance(error, HTTPException) and error.code:
        if error.code == 413:
            return 413, uploads.too_many_bytes(current_app.extensions["p2plib"].limits)
        return error.code, SENTENCES.get(error.code, f"{error.name}.")
    return 500, SENTENCES[500]


def _secured(response: Response) -> Response:
    response.headers.update(SECURITY)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
