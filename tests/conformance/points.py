"""The vendor's own Python client, unmodified, against the simulator: nine points, for each profile.

Owns what the client must see. Needs a running simulator: --public URL --control URL, and the profiles to run.
"""

import argparse
import datetime
import json
import logging
import sys
import time
import traceback
import urllib.request

import pydantic
import urllib3
from runai import models
from runai.api_client import ApiClient
from runai.configuration import Configuration
from runai.exceptions import ConflictException, ForbiddenException, NotFoundException, UnprocessableEntityException
from runai.runai_client import RunaiClient

# What differs between control planes, as far as this client can tell. A name that is taken is 409; where that code is
# not documented the simulator says 500, which this client repeats until it gives up.
GONE_INSTANTLY = {"cp-2.18"}
HIDES_DELETING = {"cp-2.18", "cp-2.20"}
CANNOT_GROUP = {"cp-2.18", "cp-2.20", "cp-2.22"}
BOOTSTRAP = {"cp-3.0"}
REPEATS_CONFLICTS = {"strict-doc"}
ALL = ["cp-2.18", "cp-2.20", "cp-2.22", "cp-2.24", "cp-2.25", "cp-3.0", "strict-doc"]

STATES = ["WaitingToConnect", "Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown"]
GRACEFUL_VERSION = "2.20.1"

checks = 0


class Failed(Exception):
    """Something is not as it has to be."""


def check(good, what):
    global checks
    checks += 1
    if not good:
        raise Failed(what)


def raises(kind, call, what):
    """Calls; returns the exception of this kind, or fails."""
    try:
        result = call()
    except kind as error:
        check(True, what)
        return error
    except Exception as error:
        raise Failed(f"{what}: expected {kind.__name__}, got {type(error).__name__}: {error}") from error
    raise Failed(f"{what}: expected {kind.__name__}, got {result!r}")


class Simulator:
    """The control API of the simulator."""

    def __init__(self, public, control):
        self.public, self.control = public, control
        # The control port is on this machine, whatever proxy the environment names.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.control}/__sim/{path}", data, headers, method=method)
        with self.opener.open(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def fresh(self, profile):
        """An empty control plane of this profile with every setting at its default, and the clock at now."""
        config = self.call("GET", "config")
        self.call("PUT", "config", {key: None for key in config} | {"profile": profile})
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        self.call("POST", "reset", {"now": now})

    def configure(self, **settings):
        self.call("PUT", "config", settings)

    def fault(self, operation, action, times=None):
        rule = {"match": {"operation": operation}, "action": action}
        self.call("POST", "faults", rule if times is None else rule | {"times": times})

    def clear_faults(self):
        self.call("DELETE", "faults")

    def agent(self, uuid, **command):
        self.call("POST", f"clusters/{uuid}/agent", command)

    def advance(self, seconds):
        self.call("POST", "clock/advance", {"seconds": seconds})

    def requests(self, operation):
        return [entry for entry in self.call("GET", "journal") if entry["operation"] == operation]

    def named(self, name):
        return [one for one in self.call("GET", "clusters") if one["name"] == name and one["deletedAt"] is None]


class Point:
    """What a point has at hand."""

    def __init__(self, sim, profile):
        self.sim, self.profile = sim, profile
        self.clusters = self.client()

    def client(self):
        configuration = Configuration(
            client_id="operator", client_secret="operator-secret", runai_base_url=self.sim.public
        )
        return RunaiClient(ApiClient(configuration)).organizations.clusters

    def create(self, name, **fields):
        request = models.ClusterCreationRequest(name=name, **fields)
        answer = self.clusters.create_cluster(request)
        check(answer.status_code == 201, f"create of {name}: {answer.status_code}")
        return answer.data["uuid"]

    def names(self, **parameters):
        return [one["name"] for one in self.clusters.get_clusters(**parameters).data]

    def conflict(self, call, what):
        if self.profile in REPEATS_CONFLICTS:
            raises(urllib3.exceptions.MaxRetryError, call, what)
        else:
            raises(ConflictException, call, what)


def client_and_list(point):
    check(point.names() == [], "an empty list")
    point.create("one")
    check(point.names() == ["one"], "a list without parameters, which sends a bare '?'")
    check(point.names(verbosity="full", include_requested_for_delete=True) == ["one"], "a list with both parameters")
    metadata = point.clusters.get_clusters(verbosity="metadata").data[0]
    check("status" not in metadata, "verbosity=metadata has no status")
    grants = {entry["body"]["grantType"] for entry in point.sim.requests("token")}
    check(grants == {"app_token"}, f"the client logs in with {grants}")
    for shape, error in [("opaque", IndexError), ("jwt-no-exp", ValueError), ("jwt-urlsafe-chars", ValueError)]:
        point.sim.configure(token={"format": shape})
        raises(error, point.client, f"this client cannot read a token of format {shape}")


def create_read_update_list(point):
    sim, clusters = point.sim, point.clusters
    uuid = point.create("model", domain="https://model.example.com", version=GRACEFUL_VERSION)
    answer = clusters.create_cluster({"name": "dict"})
    check((answer.status_code, answer.data["name"]) == (201, "dict"), "create from a dict")
    updated = clusters.update_cluster(uuid, models.ClusterUpdateRequest(name="renamed"))
    check((updated.status_code, updated.data) == (204, None), "update answers 204 without data")
    cluster = models.DisplayedCluster.from_dict(clusters.get_cluster_by_uuid(uuid).data)
    check((cluster.name, cluster.domain) == ("renamed", "https://model.example.com"), "read after update")
    check(cluster.version == GRACEFUL_VERSION, "the requested version is shown")
    check(sorted(point.names()) == ["dict", "renamed"], "list after update")
    for nulls in ["omit", "null"]:
        sim.configure(nullStyle=nulls)
        seen = set()
        for state in STATES:
            seen.add(in_state(point, f"{state}-{nulls}", state))
        check(seen == set(STATES), f"states seen: {sorted(seen)}")
        for data in clusters.get_clusters(include_requested_for_delete=True).data:
            models.DisplayedCluster.from_dict(data)


def in_state(point, name, state):
    """Brings a new cluster into a state; returns the one that the client reads."""
    sim, uuid = point.sim, point.create(name, version=GRACEFUL_VERSION)
    if state != "WaitingToConnect":
        sim.agent(uuid, action="start")
    if state == "Disconnected":
        sim.agent(uuid, action="pause")
        sim.advance(121)
    if state == "MissingPrerequisites":
        sim.agent(uuid, action="dependency", name="prometheus", available=False)
    if state == "ServiceIssues":
        sim.agent(uuid, action="operand", name="cluster-sync", ready=False)
    if state == "Unknown":
        sim.agent(uuid, action="report", unreadable=True)
    data = point.clusters.get_cluster_by_uuid(uuid).data
    return models.DisplayedCluster.from_dict(data).status.state.value


def graceful_delete(point):
    sim, clusters = point.sim, point.clusters
    uuid = point.create("leaving", version=GRACEFUL_VERSION)
    sim.agent(uuid, action="start")
    answer = clusters.delete_cluster(uuid)
    if point.profile in GONE_INSTANTLY:
        check((answer.status_code, answer.data) == (204, None), "every deletion is instant before 2.19")
    else:
        check((answer.status_code, answer.data["code"]) == (202, 202), "a graceful deletion answers 202")
        cluster = models.DisplayedCluster.from_dict(clusters.get_cluster_by_uuid(uuid).data)
        check(cluster.delete_requested_at is not None, "deleteRequestedAt is set")
        check(point.names() == [], "hidden from the default list")
        shown = [] if point.profile in HIDES_DELETING else ["leaving"]
        check(point.names(include_requested_for_delete=True) == shown, f"include_requested_for_delete shows {shown}")
        sim.advance(20)
    raises(NotFoundException, lambda: clusters.get_cluster_by_uuid(uuid), "gone")
    check(point.names(include_requested_for_delete=True) == [], "gone from the list")


def force_delete(point):
    uuid = point.create("forced", version=GRACEFUL_VERSION)
    answer = point.clusters.delete_cluster(uuid, force=True)
    check((answer.status_code, answer.data) == (204, None), "a forced deletion answers 204 without data")
    check(point.sim.requests("delete")[-1]["query"] == "force=true", "the client spells it in lower case")
    raises(NotFoundException, lambda: point.clusters.get_cluster_by_uuid(uuid), "gone")


def install_info(point):
    uuid = point.create("installed")
    url = "https://cluster.example.com:8443/some/path"
    answer = point.clusters.get_cluster_install_info_by_uuid(uuid, "2.20", remote_cluster_url=url)
    check(answer.status_code == 200, "install information")
    check(f"cluster.url={url} " in answer.data["installationStr"], "the URL arrives as it was given")
    parse = lambda: models.ClusterInstallationInfoResponse.from_dict(answer.data)
    if point.profile in BOOTSTRAP:
        raises(pydantic.ValidationError, parse, "the model of 2.x asks for clientSecret, which 3.0 does not give")
        check(answer.data["bootstrapToken"].count(".") == 2, "a bootstrap token in its place")
    else:
        check(len(parse().client_secret) == 32, "parsed, with the client secret")
    again = point.clusters.get_cluster_install_info_by_uuid(uuid, "2.20").data
    check(again.get("clientSecret") == answer.data.get("clientSecret"), "the secret stays the same")


def metrics(point):
    sim, uuid = point.sim, point.create("measured")
    sim.agent(uuid, action="start")
    sim.advance(600)
    end = datetime.datetime.fromisoformat(sim.call("GET", "clock")["now"].replace("Z", "+00:00"))
    start = end - datetime.timedelta(minutes=10)
    two = [models.MetricsType.TOTAL_GPU, models.MetricsType.ALLOCATED_GPU]
    naive = [moment.replace(tzinfo=None) for moment in (start, end)]
    answers = []
    for begin, finish in [(start, end), naive]:
        answer = point.clusters.get_cluster_metrics(uuid, begin, finish, two, number_of_samples=5)
        measurements = models.GroupedMetricsResponse.from_dict(answer.data).measurements
        check([one.type for one in measurements] == ["TOTAL_GPU", "ALLOCATED_GPU"], "two metrics in one request")
        check(all(len(one.values) >= 4 for one in measurements), "values while the agent was live")
        answers.append(answer.data)
    check(answers[0] == answers[1], "a time without an offset is UTC")
    grouped = lambda: point.clusters.get_cluster_metrics(uuid, start, end, two[1:], group_by="Nodepool")
    if point.profile in CANNOT_GROUP:
        error = raises(Exception, grouped, "groupBy is refused before 2.23")
        check(getattr(error, "status", None) == 400, f"groupBy before 2.23: {error!r}")
    else:
        measurements = models.GroupedMetricsResponse.from_dict(grouped().data).measurements
        check({one.groups[0].key for one in measurements} == {"Nodepool"}, "grouped by node pool")


def errors(point):
    sim, clusters = point.sim, point.clusters
    uuid = point.create("taken")
    point.conflict(lambda: clusters.create_cluster({"name": "taken"}), "a taken name")
    unknown = "00000000-0000-4000-8000-000000000000"
    raises(NotFoundException, lambda: clusters.get_cluster_by_uuid(unknown), "404")
    if point.profile not in CANNOT_GROUP:
        end = datetime.datetime.now(datetime.timezone.utc)
        start = end - datetime.timedelta(hours=1)
        kinds = [models.MetricsType.TOTAL_GPU]
        call = lambda: clusters.get_cluster_metrics(uuid, start, end, kinds, group_by="Nodepool")
        raises(UnprocessableEntityException, call, "422")
    sim.call("POST", "apply", {"type": "permissionLoss", "actions": ["delete"]})
    raises(ForbiddenException, lambda: clusters.delete_cluster(uuid), "403")
    sim.call("POST", "apply", {"type": "permissionLoss", "actions": []})
    before, started = len(sim.requests("list")), time.monotonic()
    sim.fault("list", {"type": "throttle", "retryAfter": {"seconds": 1}}, times=1)
    check(point.names() == ["taken"], "the list comes after a 429")
    check(1.0 <= time.monotonic() - started < 10, "after about the second that Retry-After asks for")
    check(len(sim.requests("list")) == before + 2, "with one repetition")
    before = len(sim.requests("list"))
    sim.fault("list", {"type": "status", "code": 401})
    raises(urllib3.exceptions.MaxRetryError, point.names, "401 for ever")
    check(len(sim.requests("list")) == before + 4, "this client tries four times")


def short_tokens(point):
    point.sim.configure(token={"ttlSeconds": 30})
    clusters = point.client()
    before = len(point.sim.requests("token"))
    for _ in range(3):
        clusters.get_clusters()
    check(len(point.sim.requests("token")) == before + 3, "one token request for each request")


def lost_answers(point):
    """What a client that repeats a POST gets, and why one has to look before it creates."""
    sim = point.sim
    lost = {"type": "reset", "phase": "post"}
    sim.fault("create", lost, times=1)
    point.conflict(lambda: point.create("unique"), "the repetition meets the first cluster")
    check(len(sim.named("unique")) == 1, "one cluster with unique names")
    sim.configure(names={"unique": "off"})
    sim.fault("create", lost, times=1)
    point.create("twice")
    check(len(sim.named("twice")) == 2, "two clusters without")
    creates = [entry for entry in sim.requests("create") if (entry["body"] or {}).get("name") == "twice"]
    check([entry["committed"] for entry in creates] == [True, True], "both POSTs were committed")


POINTS = [
    ("client, list without and with parameters", client_and_list),
    ("create, read, update, list in every state", create_read_update_list),
    ("graceful deletion", graceful_delete),
    ("forced deletion", force_delete),
    ("install information", install_info),
    ("metrics", metrics),
    ("errors by type, 429 and 401", errors),
    ("a token of 30 seconds", short_tokens),
    ("a POST whose answer is lost", lost_answers),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("profiles", nargs="*", help="all if none is given")
    arguments = parser.parse_args()
    # The client announces every repetition.
    logging.disable(logging.WARNING)
    sim = Simulator(arguments.public, arguments.control)
    passed = failed = 0
    for profile in arguments.profiles or ALL:
        print(f"{profile}:")
        for number, (title, body) in enumerate(POINTS, start=1):
            before, started = checks, time.monotonic()
            try:
                sim.fresh(profile)
                body(Point(sim, profile))
            except Exception as error:
                failed += 1
                print(f"  FAILED {number} {title}: {error}", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc(file=sys.stdout)
            else:
                passed += 1
                took = time.monotonic() - started
                print(f"  ok     {number} {title} ({checks - before} checks, {took:.1f} s)", flush=True)
    print(f"runapy: {passed + failed} points, {passed} passed, {failed} failed, {checks} checks")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
