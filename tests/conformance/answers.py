"""Answers of the simulator, judged by a validator that is not ours.

Reads the file that the simulator's own tests write with OPENAPI_ANSWERS, one answer a line, and the published schemas.
"""

import collections
import json
import pathlib
import sys

from openapi_schema_validator import OAS30Validator, oas30_format_checker

HERE = pathlib.Path(__file__).parent


def lay_over(target, patch):
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            lay_over(target[key], value)
        else:
            target[key] = value


def document():
    whole = json.loads((HERE / "clusters-openapi.json").read_text())
    lay_over(whole, json.loads((HERE / "reference-pages.json").read_text()))
    # `status` may be null, but the document says so beside `allOf` only, not in the part that it is made of.
    whole["components"]["schemas"]["ClusterReportedStatus"]["nullable"] = True
    for part in whole["components"]["schemas"]["ClusterDisplayedStatus"]["allOf"]:
        part["nullable"] = True
    return whole


def schema_of(whole, answer):
    """The schema of the answer's body; None means no body. Codes that are not listed carry the common error."""
    responses = whole["paths"][answer["path"]][answer["method"]]["responses"]
    response = responses.get(str(answer["status"]))
    if response is None:
        return {"$ref": "#/components/schemas/Error"}
    if "$ref" in response:
        response = whole["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    if "content" not in response:
        return None
    if answer["path"].endswith("cluster-install-info") and "bootstrapToken" in (answer["body"] or ""):
        return {"$ref": "#/components/schemas/ClusterInstallationInfoResponse30"}
    return response["content"]["application/json"]["schema"]


def problems(whole, answer):
    schema = schema_of(whole, answer)
    if schema is None:
        return [] if answer["body"] is None else ["a body where none belongs"]
    if answer["body"] is None or answer["contentType"] != "application/json":
        return [f"no JSON: {answer['contentType']}"]
    validator = OAS30Validator({**schema, "components": whole["components"]}, format_checker=oas30_format_checker)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.loads(answer["body"]))]


def main():
    whole = document()
    answers = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    codes, bad = collections.Counter(), 0
    for answer in answers:
        codes[answer["status"]] += 1
        found = problems(whole, answer)
        bad += bool(found)
        for problem in found:
            print(f"  FAILED {answer['context']}: {answer['method']} {answer['path']} {answer['status']}: {problem}")
    counted = ", ".join(f"{number} x {code}" for code, number in sorted(codes.items()))
    operations = {(answer["method"], answer["path"]) for answer in answers}
    print(f"openapi: {len(answers)} answers of {len(operations)} operations, {bad} do not fit ({counted})")
    return 1 if bad or not answers else 0


if __name__ == "__main__":
    sys.exit(main())
