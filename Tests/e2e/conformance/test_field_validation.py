"""Unknown and duplicate fields: the cases about built-in kinds of upstream's test/e2e/apimachinery/field_validation.go."""

import pytest

DEPLOYMENTS = "apps/v1/deployments"


def deployment(metadata="", spec=""):
    return (
        '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "dep", %s "labels": {"app": "web"}},'
        ' "spec": {%s "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},'
        ' "spec": {"containers": [{"name": "web", "image": "web:latest"}]}}}}'
    ) % (metadata, spec)


BAD_SPEC = '"unknownField": "foo", "replicas": 0, "replicas": 0,'
BAD_FIELDS = ['unknown field "spec.unknownField"', 'duplicate field "spec.replicas"']


def test_unknown_and_duplicate_fields_are_found(space):
    """FieldValidation should detect unknown and duplicate fields of a typed object"""
    body = deployment(spec=BAD_SPEC)
    strict = {"fieldManager": "field_validation_mgr", "fieldValidation": "Strict"}
    status = space.refused(400, "BadRequest", "POST", DEPLOYMENTS, body, **strict)
    assert "strict decoding error: " + ", ".join(BAD_FIELDS) in status["message"], status["message"]
    warned = space.send("POST", DEPLOYMENTS, body, dryRun="All", fieldValidation="Warn")
    assert warned.code == 201
    assert warned.headers.get_all("Warning") == [f'299 - "{text.replace(chr(34), chr(92) + chr(34))}"' for text in BAD_FIELDS]
    ignored = space.send("POST", DEPLOYMENTS, body, dryRun="All", fieldValidation="Ignore")
    assert ignored.code == 201 and ignored.headers.get("Warning") is None
    assert space.gone(DEPLOYMENTS, "dep")


def test_unknown_metadata_is_found(space):
    """FieldValidation should detect unknown metadata fields of a typed object"""
    status = space.refused(
        400, "BadRequest", "POST", DEPLOYMENTS, deployment(metadata='"unknownMeta": "foo",'), fieldValidation="Strict"
    )
    assert 'strict decoding error: unknown field "metadata.unknownMeta"' in status["message"]


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch", "json-patch", "apply-patch"])
def test_patches_are_validated_like_bodies(space, kind):
    """Beside the conformance cases: strict patches name the fields that the result does not have."""
    space.create(DEPLOYMENTS, deployment(spec='"replicas": 0,'))
    bodies = {
        "merge-patch": '{"spec": {"unknownField": 1}}',
        "strategic-merge-patch": '{"spec": {"unknownField": 1}}',
        "json-patch": '[{"op": "add", "path": "/spec/unknownField", "value": 1}]',
        "apply-patch": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: dep}\nspec: {unknownField: 1}\n",
    }
    content = {"Content-Type": f"application/{kind}+" + ("yaml" if kind == "apply-patch" else "json")}
    answer = space.send(
        "PATCH", DEPLOYMENTS, bodies[kind], name="dep", headers=content, fieldValidation="Strict", fieldManager="m"
    )
    text = answer.json["message"]
    if kind == "apply-patch":
        assert answer.code == 400 or answer.code == 500, answer
        assert ".spec.unknownField: field not declared in schema" in text
    else:
        assert answer.code == 422 or answer.code == 400, answer
        assert 'unknown field "spec.unknownField"' in text
