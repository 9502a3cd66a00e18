import itertools
import os

import harness
import harness_images
import pytest
from http_api import Api, Space


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests start containers: run them as root", returncode=1)
    if not os.path.exists(harness.BINARY):
        pytest.exit(f"{harness.BINARY} is missing: make build", returncode=1)


BUSYBOX = "docker.io/library/busybox:test"


def import_images(node):
    folder = os.path.join(node.data, "agent", "images")
    layer = harness_images.busybox_layer()
    harness_images.docker_archive(os.path.join(folder, "busybox.tar"), BUSYBOX, [layer])
    web = harness_images._tar([("www/index.html", "file", b"hello\n", 0o644)])
    harness_images.docker_archive(
        os.path.join(folder, "web.tar.gz"), "docker.io/library/web:test", [layer, web],
        {"Env": ["PATH=/bin"], "Entrypoint": ["httpd", "-f", "-p", "8080", "-h", "/www"]}, compress="gz",
    )  # fmt: skip


@pytest.fixture(scope="session")
def node():
    """The node that most tests share; each test uses a namespace of its own."""
    node = harness.Node("e2e").create()
    try:
        import_images(node)
        node.start()
        yield node
    finally:
        node.destroy()


@pytest.fixture
def own_node(request):
    """A node for tests that kill or misconfigure it."""
    node = harness.Node("own", kubectl="1.36").create()
    try:
        import_images(node)
        yield node
    finally:
        node.destroy()


_counter = 0


@pytest.fixture
def ns(node):
    """A fresh namespace, as a kubectl bound to it."""
    global _counter
    _counter += 1
    name = f"t{_counter}"
    node.kubectl("create", "namespace", name)
    yield NamespacedKubectl(node, name)
    node.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(scope="session")
def api(node):
    """The administrator, over HTTPS of the session's node."""
    return Api(node)


_numbers = itertools.count(1)


@pytest.fixture
def space(api):
    """A fresh namespace over HTTPS: requests about namespaced resources go there."""
    name = f"space-{next(_numbers)}"
    api.create("v1/namespaces", {"metadata": {"name": name}})
    yield Space(api, name)
    api.send("DELETE", "v1/namespaces", name=name)


@pytest.fixture
def unique():
    """A name that no other test uses, for objects outside namespaces; what starts with it is the test's."""
    return f"unique-{next(_numbers)}"


class NamespacedKubectl:
    def __init__(self, node, name):
        self.node, self.name = node, name

    def __call__(self, *args, **kw):
        return self.node.kubectl("-n", self.name, *args, **kw)

    def apply(self, text):
        return self("apply", "-f", "-", input=text)

    def jsonpath(self, *args):
        return self("get", *args[:-1], "-o", "jsonpath=" + args[-1]).stdout


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name in ("node", "own_node", "cluster"):
            if name in item.funcargs:
                report.sections.append((f"log of {name}", item.funcargs[name].tail(40)))


@pytest.fixture(scope="module")
def cluster():
    """A server and, as tests ask for them with `cluster.agent(number)`, agents that have joined it."""
    cluster = Cluster("join")
    try:
        yield cluster
    finally:
        cluster.destroy()


class Cluster:
    def __init__(self, name, flags=()):
        self.switch = harness.Switch(name).create()
        self.agents = {}
        self.server = harness.Node(name, flags, switch=self.switch).create()
        try:
            import_images(self.server)
            self.server.start()
        except BaseException:
            self.destroy()
            raise

    def agent(self, number=2, start=True, **kw):
        """The agent node-<number>; made, started and Ready the first time."""
        if number not in self.agents:
            agent = self.agents[number] = harness.Agent(self.server, number, **kw).create()
            import_images(agent)
            if start:
                agent.start()
        return self.agents[number]

    def tail(self, n):
        return "".join(f"--- {m.role} {m.node_name}\n{m.tail(n)}" for m in [self.server, *self.agents.values()])

    def destroy(self):
        for agent in self.agents.values():
            agent.destroy()
        self.server.destroy()
        self.switch.delete()
