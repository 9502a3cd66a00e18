"""HTTPS to a node's API with no client library in between: requests, refusals, watches, as any program on the wire.

    api = Api(node)                                     # the administrator of the kubeconfig
    made = api.create("v1/configmaps", {...}, namespace="x")
    api.refused(409, "AlreadyExists", "POST", "v1/configmaps", {...}, namespace="x")
    with api.watch("v1/configmaps", namespace="x", labelSelector="a=b") as events:
        events.next()                                   # ("ADDED", {...})

A resource is written as its discovery names it: group/version/plural, without a group for the core.
"""

import base64
import concurrent.futures
import contextlib
import ctypes
import http.client
import json
import os
import queue
import socket
import ssl
import threading
import time
import urllib.parse

import yaml
from harness import Failed

CLONE_NEWNET = 0x40000000
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"


class Inside:
    """A thread in a network namespace that opens sockets there; a socket stays where it was made."""

    def __init__(self, path):
        self.path = path
        self.thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, initializer=self._enter)

    def _enter(self):
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def connect(self, address, timeout=30):
        return self.thread.submit(socket.create_connection, address, timeout).result()


class Response:
    def __init__(self, code, headers, body):
        self.code, self.headers, self.body = code, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.code} {self.body[:2000]!r}>"


class Connection(http.client.HTTPSConnection):
    def __init__(self, inside, address, context, timeout):
        super().__init__(*address, context=context, timeout=timeout)
        self._create_connection = lambda to, timeout, source: inside.connect(to, timeout)


class Unexpected(Failed):
    def __init__(self, method, path, response):
        self.response = response
        super().__init__(f"{method} {path}: {response.code} {response.body[:3000].decode(errors='replace')}")


def credentials(node):
    """The administrator's certificate, key and CA as files."""
    folder = os.path.join(node.dir, "admin-files")
    if not os.path.isdir(folder):
        os.makedirs(folder, mode=0o700)
        with open(node.kubeconfig) as f:
            config = yaml.safe_load(f)
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        for name, data in (
            ("crt", user["client-certificate-data"]), ("key", user["client-key-data"]),
            ("ca", cluster["certificate-authority-data"]),
        ):  # fmt: skip
            with open(os.path.join(folder, name), "wb") as f:
                f.write(base64.b64decode(data))
    return folder


def url(resource, namespace=None, name=None, sub=None, query=None):
    """The path of a resource "group/version/plural", or of anything that starts with a slash."""
    if resource.startswith("/"):
        path = resource
    else:
        parts = resource.split("/")
        path = ("/api/" if len(parts) == 2 else "/apis/") + "/".join(parts[:-1])
        if namespace is not None:
            path += "/namespaces/" + namespace
        path += "/" + parts[-1]
    for part in (name, sub):
        if part is not None:
            path += "/" + part
    query = {k: v for k, v in (query or {}).items() if v is not None}
    for key, value in query.items():
        if value is True or value is False:
            query[key] = str(value).lower()
    return path + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")


class Api:
    """One identity. `headers` go with every request (a token, impersonation); `certificate=False` leaves it out."""

    def __init__(self, node, headers=None, certificate=True, timeout=60, address=None):
        self.node, self.headers, self.timeout = node, dict(headers or {}), timeout
        self.inside = node.__dict__.setdefault("_inside", None) or Inside(node.netns.path)
        node._inside = self.inside
        self.address = address or ("127.0.0.1", 6443)
        folder = credentials(node)
        self.context = ssl.create_default_context(cafile=folder + "/ca")
        if certificate:
            self.context.load_cert_chain(folder + "/crt", folder + "/key")
        self.certificate = certificate
        self.local = threading.local()

    def being(self, **headers):
        """The same server as someone else: `being(Authorization="Bearer ...")`, `being(Impersonate_User="jane")`."""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return Api(self.node, {**self.headers, **named}, certificate="Authorization" not in named and self.certificate)

    def nobody(self):
        return Api(self.node, certificate=False)

    def connection(self, timeout=None):
        return Connection(self.inside, self.address, self.context, timeout or self.timeout)

    def raw(self, method, path, body=None, headers=None):
        """Any request; the connection is kept for the next one of this thread."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        sent = {**self.headers, **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", JSON)
        for attempt in (1, 2):
            kept = getattr(self.local, "connection", None)
            used = kept or self.connection()
            self.local.connection = None
            try:
                used.request(method, path, body, sent)
                answer = used.getresponse()
                response = Response(answer.status, answer.headers, answer.read())
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                used.close()
                if kept is None:
                    raise
                continue  # A kept connection may have been closed meanwhile.
            if answer.will_close:
                used.close()
            else:
                self.local.connection = used
            return response

    def send(self, method, resource, body=None, namespace=None, name=None, sub=None, headers=None, **query):
        return self.raw(method, url(resource, namespace, name, sub, query), body, headers)

    def expect(self, codes, method, resource, body=None, **kw):
        response = self.send(method, resource, body, **kw)
        if response.code not in codes:
            raise Unexpected(method, resource, response)
        return response.json

    # What is done to objects

    def create(self, resource, body, **kw):
        return self.expect((201,), "POST", resource, body, **kw)

    def get(self, resource, name=None, **kw):
        return self.expect((200,), "GET", resource, name=name, **kw)

    def items(self, resource, **kw):
        return self.get(resource, **kw).get("items") or []

    def update(self, resource, body, name=None, **kw):
        return self.expect((200,), "PUT", resource, body, name=name or body["metadata"]["name"], **kw)

    def patch(self, resource, name, body, kind=MERGE, codes=(200,), **kw):
        return self.expect(codes, "PATCH", resource, body, name=name, headers={"Content-Type": kind}, **kw)

    def apply(self, resource, body, manager="test", **kw):
        return self.patch(
            resource, body["metadata"]["name"], body, APPLY, codes=(200, 201), fieldManager=manager, **kw
        )

    def delete(self, resource, name=None, body=None, **kw):
        return self.expect((200, 202), "DELETE", resource, body, name=name, **kw)

    def refused(self, code, reason, method, resource, body=None, **kw):
        """The request must be answered with this Status; returns it."""
        response = self.send(method, resource, body, **kw)
        if response.code != code:
            raise Unexpected(method, f"{resource} (wanted {code} {reason})", response)
        status = response.json
        assert status["kind"] == "Status" and status["apiVersion"] == "v1" and status["status"] == "Failure", status
        assert (status["code"], status["reason"]) == (code, reason), status
        return status

    def gone(self, resource, name, **kw):
        return self.send("GET", resource, name=name, **kw).code == 404

    def change(self, resource, name, edit, sub=None, **kw):
        """Reads, lets `edit` change the object in place, and writes until nobody came between."""
        for _ in range(50):
            current = self.get(resource, name, **kw)
            edit(current)
            response = self.send("PUT", resource, current, name=name, sub=sub, **kw)
            if response.code == 200:
                return response.json
            if response.code != 409:
                raise Unexpected("PUT", resource, response)
        raise Failed(f"{resource} {name}: always changed by someone else")

    @contextlib.contextmanager
    def watch(self, resource, timeout=60, namespace=None, **query):
        connection = self.connection(timeout)
        try:
            path = url(resource, namespace, query={"watch": True, **query})
            connection.request("GET", path, headers=self.headers)
            connection.sock.settimeout(timeout)
            answer = connection.getresponse()
            if answer.status != 200:
                raise Unexpected("WATCH", path, Response(answer.status, answer.headers, answer.read()))
            yield Events(answer, timeout)
        finally:
            if connection.sock:
                # Not closed: the thread that reads still holds it, and ends by this.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


class Events:
    """What a watch sends, one after the other; a thread reads, so that waiting for nothing breaks nothing."""

    def __init__(self, answer, timeout):
        self.answer, self.timeout = answer, timeout
        self.lines = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while line := self.answer.readline():
                self.lines.put(line)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # Closed, by either side.
        self.lines.put(None)

    def next(self, timeout=None):
        """(type, object), or None at the end of the stream."""
        try:
            line = self.lines.get(timeout=timeout or self.timeout)
        except queue.Empty:
            raise Failed("no event arrived") from None
        if line is None:
            self.lines.put(None)
            return None
        event = json.loads(line)
        return event["type"], event["object"]

    def until(self, what, wanted, timeout=60):
        """The first event of the type (or tuple of types) whose object `wanted` accepts."""
        deadline = time.monotonic() + timeout
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self.next(left)
            except Failed:
                break
            if event is None:
                raise Failed(f"the watch ended; seen: {seen}")
            seen.append((event[0], event[1].get("metadata", {}).get("name"), event[1].get("reason")))
            if event[0] in (what if isinstance(what, tuple) else (what,)) and wanted(event[1]):
                return event[1]
        raise Failed(f"no {what} event; seen: {seen[-30:]}")

    def none(self, seconds=0.5):
        """Nothing arrives for a while."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return
        raise Failed(f"an event arrived: {line[:300]!r}")


class Space:
    """An API whose requests about namespaced resources go to one namespace."""

    def __init__(self, api, name):
        self.api, self.name = api, name

    def __getattr__(self, method):
        call = getattr(self.api, method)
        return lambda resource, *args, **kw: call(resource, *args, **{"namespace": self.name, **kw})

    def being(self, **headers):
        return Space(self.api.being(**headers), self.name)
