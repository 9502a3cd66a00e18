"""Kinds of admission and of flow control as API objects: upstream's flowcontrol.go, webhook.go (discovery),
validatingadmissionpolicy.go and mutatingadmissionpolicy.go (API operations). What they rule comes later."""

from operations import api_operations, condition, discovered

GROUP = "admissionregistration.k8s.io/v1/"


def test_flow_schemas(api, unique):
    """API priority and fairness should support FlowSchema API operations"""
    body = {"spec": {
        "matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                   "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}],
    }}  # fmt: skip

    def change(found):
        found["spec"]["matchingPrecedence"] = 9999
        return lambda got: got["spec"]["matchingPrecedence"] == 9999

    status = [condition("PatchStatusFailed", "False")], [condition("StatusUpdateFailed", "False")]
    api_operations(
        api, None, "flowcontrol.apiserver.k8s.io/v1/flowschemas", "FlowSchema", body, change, unique,
        ({"conditions": status[0]}, {"conditions": status[0] + status[1]}),
    )  # fmt: skip


def test_priority_levels(api, unique):
    """API priority and fairness should support PriorityLevelConfiguration API operations"""
    body = {"spec": {
        "type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
    }}  # fmt: skip

    def change(found):
        found["spec"]["limited"]["nominalConcurrencyShares"] = 4
        return lambda got: got["spec"]["limited"]["nominalConcurrencyShares"] == 4

    first = condition("PatchStatusFailed", "False")
    api_operations(
        api, None, "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations", "PriorityLevelConfiguration", body,
        change, unique, ({"conditions": [first]}, {"conditions": [first, condition("StatusUpdateFailed", "False")]}),
    )  # fmt: skip


def test_webhook_configurations_are_discovered(api):
    """AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents"""
    for plural, kind in (
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    ):
        discovered(api, GROUP + plural, kind, False)


RULES = {"resourceRules": [{
    "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"],
}], "namespaceSelector": {"matchLabels": {"conformance": "nowhere"}}}  # fmt: skip
VALIDATION = {"spec": {
    "failurePolicy": "Ignore", "matchConstraints": RULES,
    "validations": [{"expression": "object.spec.replicas <= 100", "message": "too many"}],
}}  # fmt: skip
MUTATION = {"spec": {
    "failurePolicy": "Ignore", "reinvocationPolicy": "Never", "matchConstraints": RULES,
    "mutations": [{"patchType": "ApplyConfiguration",
                   "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}}],
}}  # fmt: skip


def test_validating_policies(api, unique):
    """ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations"""
    first = condition("PatchStatusFailed", "False")
    api_operations(
        api, None, GROUP + "validatingadmissionpolicies", "ValidatingAdmissionPolicy", VALIDATION, None, unique,
        ({"conditions": [first]}, {"conditions": [first, condition("StatusUpdateFailed", "False")]}),
    )  # fmt: skip


def test_mutating_policies(api, unique):
    """MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations"""
    api_operations(api, None, GROUP + "mutatingadmissionpolicies", "MutatingAdmissionPolicy", MUTATION, None, unique)


BINDING = {
    "policyName": "replicalimit-policy.example.com",
    "matchResources": {"namespaceSelector": {"matchLabels": {"conformance": "nowhere"}}},
}


def test_bindings_of_validating_policies(api, unique):
    """ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations"""
    body = {"spec": {**BINDING, "validationActions": ["Deny"]}}
    resource = GROUP + "validatingadmissionpolicybindings"
    api_operations(api, None, resource, "ValidatingAdmissionPolicyBinding", body, None, unique)


def test_bindings_of_mutating_policies(api, unique):
    """MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicyBinding API operations"""
    resource = GROUP + "mutatingadmissionpolicybindings"
    api_operations(api, None, resource, "MutatingAdmissionPolicyBinding", {"spec": BINDING}, None, unique)
