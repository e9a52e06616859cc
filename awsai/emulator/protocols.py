"""rest-json, json-1.1 and query: from a request to parameters, from an output to a response.

Sources: https://smithy.io/2.0/aws/protocols/ (rest-json, json-1.1, query).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from awsai.emulator import eventstream, shapes
from awsai.emulator.errors import AwsError
from awsai.emulator.exchange import Request, Response
from awsai.emulator.operations import Operation
from awsai.emulator.shapes import Shape

Params = dict[str, Any]

_CONTENT_TYPES = {
    "rest-json": "application/json",
    "json": "application/x-amz-json-1.1",
    "query": "text/xml",
}


# --- Requests ----------------------------------------------------------------------------------


def read(operation: Operation, labels: Mapping[str, str], request: Request) -> Params:
    """The parameters of a request, checked against the operation's model.

    Raises:
        AwsError: SerializationException or ValidationException.
    """
    shape = operation.input
    if shape is None:
        return {}
    match operation.protocol:
        case "json":
            params = shapes.decode(shape, _json(request.body))
        case "query":
            form = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
            params = _from_form(shape, form, "")
        case _:
            params = _from_parts(shape, labels, request) | _from_body(shape, request)
    check(shape, params)
    return params  # type: ignore[no-any-return]  # decode gives what the shape says


def check(shape: Shape, params: Params) -> None:
    """Raises: AwsError, ValidationException, naming everything that is wrong."""
    if found := shapes.problems(shape, params):
        count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
        raise AwsError("ValidationException", f"{count}: {'; '.join(found)}")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "The body is not JSON.") from None


def _from_parts(shape: Shape, labels: Mapping[str, str], request: Request) -> Params:
    """What the path, the query string and the headers carry."""
    params: Params = {}
    for name, member in shape.members.items():
        wire_name = shapes.wire_name(name, member)
        match member.serialization.get("location"):
            case "uri":
                params[name] = shapes.decode_text(member, labels[wire_name])
            case "querystring":
                found = [text for key, text in request.query if key == wire_name]
                if found and member.type_name == "list":
                    params[name] = [shapes.decode_text(member.member, text) for text in found]
                elif found:
                    params[name] = shapes.decode_text(member, found[0])
            case "header" if wire_name.lower() in request.headers:
                params[name] = shapes.decode_text(member, request.headers[wire_name.lower()])
            case _:
                pass
    return params


def _from_body(shape: Shape, request: Request) -> Params:
    payload = shape.serialization.get("payload")
    if payload is None:
        return {
            name: value
            for name, value in shapes.decode(shape, _json(request.body)).items()
            if "location" not in shape.members[name].serialization
        }
    member = shape.members[payload]
    if member.type_name == "blob":
        return {payload: request.body}
    return {payload: shapes.decode(member, _json(request.body))}


def _from_form(shape: Shape, form: Mapping[str, str], prefix: str) -> Any:
    """The value under a prefix of a form: `Tags.member.1.Key` is a member of a structure in a list."""
    if shape.type_name == "structure":
        below = f"{prefix}." if prefix else ""
        return {
            name: _from_form(member, form, below + name)
            for name, member in shape.members.items()
            if any(f"{key}.".startswith(f"{below}{name}.") for key in form)
        }
    if shape.type_name != "list":
        return shapes.decode_text(shape, form.get(prefix, ""))
    items: list[Any] = []
    while any(f"{key}.".startswith(f"{prefix}.member.{len(items) + 1}.") for key in form):
        items.append(_from_form(shape.member, form, f"{prefix}.member.{len(items) + 1}"))
    return items


# --- Responses ---------------------------------------------------------------------------------


def write(operation: Operation, output: Params, request_id: str) -> Response:
    """The response to an operation that succeeded; the event stream of an output is left to add."""
    shape = operation.output
    content_type = (
        eventstream.CONTENT_TYPE if operation.stream else _CONTENT_TYPES[operation.protocol]
    )
    headers = {"x-amzn-RequestId": request_id, "Content-Type": content_type}
    status = int(operation.model.http.get("responseCode", HTTPStatus.OK))
    if shape is None:
        return Response(status=status, headers=headers)
    if operation.protocol == "query":
        body = _xml(operation, shape, output, request_id)
        return Response(status=status, headers=headers, body=body)
    body_members = {}
    for name, value in output.items():
        member = shape.members[name]
        if value is None:
            continue
        if member.serialization.get("location") == "header":
            text = shapes.encode_text(member, value, times="rfc822")
            headers[shapes.wire_name(name, member)] = text
        else:
            body_members[name] = value
    body = _body(shape, body_members) if operation.stream is None else b""
    return Response(status=status, headers=headers, body=body)


def refuse(operation: Operation | None, error: AwsError, request_id: str) -> Response:
    """The response to an operation that failed, or to a request for no operation at all."""
    shape = operation.error(error.code) if operation else None
    modelled = shape.metadata.get("error", {}).get("httpStatusCode") if shape else None
    status = modelled or error.status
    headers = {
        "x-amzn-RequestId": request_id,
        "x-amzn-ErrorType": error.code,
        "Content-Type": _CONTENT_TYPES[operation.protocol if operation else "rest-json"],
    }
    if operation and operation.protocol == "query":
        return Response(status=status, headers=headers, body=_xml_error(error, status, request_id))
    # Some services spell it `Message`, and each client reads only what its model says.
    name = "Message" if shape is not None and "Message" in shape.members else "message"
    body = {"__type": error.code, name: error.message, **error.detail}
    return Response(status=status, headers=headers, body=json.dumps(body).encode())


def _body(shape: Shape, output: Params) -> bytes:
    payload = shape.serialization.get("payload")
    if payload is None:
        return json.dumps(shapes.encode(shape, output)).encode()
    member = shape.members[payload]
    if member.type_name == "blob":
        content: bytes = output[payload]
        return content
    return json.dumps(shapes.encode(member, output[payload])).encode()


def _xml(operation: Operation, shape: Shape, output: Params, request_id: str) -> bytes:
    namespace = operation.model.service_model.metadata["xmlNamespace"]
    root = ElementTree.Element(f"{operation.name}Response", xmlns=namespace)
    _fill(ElementTree.SubElement(root, shape.serialization["resultWrapper"]), shape, output)
    metadata = ElementTree.SubElement(root, "ResponseMetadata")
    ElementTree.SubElement(metadata, "RequestId").text = request_id
    return ElementTree.tostring(root)


def _fill(element: ElementTree.Element, shape: Shape, output: Params) -> None:
    for name, value in output.items():
        member = shape.members[name]
        child = ElementTree.SubElement(element, name)
        if member.type_name == "structure":
            _fill(child, member, value)
        else:
            child.text = shapes.encode_text(member, value, times="iso8601")


def _xml_error(error: AwsError, status: int, request_id: str) -> bytes:
    root = ElementTree.Element("ErrorResponse")
    fault = ElementTree.SubElement(root, "Error")
    sender = "Receiver" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    for name, text in (("Type", sender), ("Code", error.code), ("Message", error.message)):
        ElementTree.SubElement(fault, name).text = text
    ElementTree.SubElement(root, "RequestId").text = request_id
    return ElementTree.tostring(root)
