"""What the operator says of a tenant, and what the vendor's own Python client says: the same.

Owns the comparison. Needs the tenant's URL and a directory with what the operator said: `inventory.json`, as its
command of that name prints it, `published.json`, the Secrets that it published, decoded, and `measured.json`, the
metrics of a cluster that it shows to Prometheus, with the window that it asked for.
"""

import datetime
import json
import pathlib
import re
import sys
import urllib.parse

from runai.api_client import ApiClient
from runai.configuration import Configuration
from runai.models.metrics_type import MetricsType
from runai.runai_client import RunaiClient

checks = 0


def same(ours, theirs, what):
    global checks
    checks += 1
    if ours != theirs:
        sys.exit(f"{what}: the operator says {ours!r}, the client {theirs!r}")


def moment(text):
    return None if text is None else datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def registrations(clusters, inventory):
    """Every registration, those that are being deleted included, field by field."""
    theirs = {one["uuid"]: one for one in clusters.get_clusters(include_requested_for_delete=True).data}
    ours = {one["uuid"]: one for one in inventory["registrations"]}
    same(sorted(ours), sorted(theirs), "uuids")
    same(inventory["counts"]["total"], len(theirs), "how many")
    for uuid, one in ours.items():
        their = theirs[uuid]
        for field in ["name", "domain", "version"]:
            same(one.get(field), their.get(field), f"{field} of {uuid}")
        same(one["state"], their["status"]["state"], f"state of {uuid}")
        for field in ["createdAt", "lastLiveness"]:
            same(moment(one.get(field)), moment(their.get(field)), f"{field} of {uuid}")
        same(one["kind"] == "deleting", their.get("deleteRequestedAt") is not None, f"deletion of {uuid}")
        same(inventory["tenantId"], their["tenantId"], f"tenant of {uuid}")
    return {one["state"] for one in ours.values()}, sum(one["kind"] == "deleting" for one in ours.values())


def install_information(clusters, secret):
    """A published Secret, and the vendor's own install command for the same cluster and version."""
    uuid, url = secret["uuid"], secret["clusterUrl"]
    info = clusters.get_cluster_install_info_by_uuid(uuid, secret["version"], remote_cluster_url=url).data
    for field in ["clientSecret", "chartRepoURL", "repositoryName"]:
        same(secret[field], info[field], f"{field} of {uuid}")
    command = info["installationStr"]
    settings = dict(re.findall(r"--set (\S+?)=(\S+)", command))
    values = {f"{part}.{key}": value for part, keys in secret["values"].items() for key, value in keys.items()}
    same(values, settings, f"Helm values of {uuid}")
    same(secret["version"], re.search(r'--version="(.*)"', command)[1], f"version of {uuid}")


def metrics(clusters, measured):
    """The numbers that the operator shows, and those that the client gets for the same window: the latest of each series."""
    query = dict(urllib.parse.parse_qsl(measured["query"]))
    kinds = sorted({one["type"] for one in measured["series"]})
    same(kinds, sorted(query["metricType"].split(",")), "types of metrics")
    samples = int(query["numberOfSamples"])
    start, end = moment(query["start"]), moment(query["end"])
    types = [MetricsType(kind) for kind in kinds]
    answer = clusters.get_cluster_metrics(measured["uuid"], start, end, types, number_of_samples=samples).data
    theirs = {}
    for one in answer["measurements"]:
        labels = tuple(sorted((one.get("labels") or {}).items()))
        latest = max(one["values"], key=lambda value: moment(value["timestamp"]))
        theirs[one["type"], labels] = float(latest["value"])
    ours = {(one["type"], tuple(sorted(one["labels"].items()))): one["value"] for one in measured["series"]}
    same(ours, theirs, "metrics")
    return len(ours)


def main():
    public, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    read = lambda name: json.loads((directory / name).read_text())
    configuration = Configuration(client_id="operator", client_secret="operator-secret", runai_base_url=public)
    clusters = RunaiClient(ApiClient(configuration)).organizations.clusters
    states, deleting = registrations(clusters, read("inventory.json"))
    published = read("published.json")
    for secret in published:
        install_information(clusters, secret)
    series = metrics(clusters, read("measured.json"))
    print(
        f"agreed: {len(states)} states, {deleting} being deleted, {len(published)} install credentials, "
        f"{series} series, {checks} checks"
    )


if __name__ == "__main__":
    main()
