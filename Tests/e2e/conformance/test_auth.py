"""Accounts, tokens, reviews and signing requests: upstream's test/e2e/auth."""

import base64
import json

import pytest
from harness import run, wait_until
from http_api import MERGE
from operations import api_operations, conditions, discovered

ACCOUNTS = "v1/serviceaccounts"
CSRS = "certificates.k8s.io/v1/certificatesigningrequests"


def test_every_namespace_gets_the_root_certificate(space):
    """ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace"""
    def published():
        return space.get("v1/configmaps", "kube-root-ca.crt")["data"]["ca.crt"]

    first = wait_until("published", published)
    assert first.startswith("-----BEGIN CERTIFICATE-----")
    space.delete("v1/configmaps", "kube-root-ca.crt")
    assert wait_until("published again", published) == first
    space.change("v1/configmaps", "kube-root-ca.crt", lambda o: o.update(data={"ca.crt": ""}))
    wait_until("put right", lambda: published() == first)


def test_a_token_is_created_and_reviewed(space):
    """ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview"""
    account = space.create(ACCOUNTS, {"metadata": {"name": "e2e"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = space.create(ACCOUNTS, request, name="e2e", sub="token")
    token = answer["status"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == f"system:serviceaccount:{space.name}:e2e"
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["kubernetes.io"]["serviceaccount"] == {"name": "e2e", "uid": account["metadata"]["uid"]}
    review = space.api.create("authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    assert review["status"]["authenticated"] is True and "error" not in review["status"]
    user = review["status"]["user"]
    assert user["username"] == claims["sub"] and user["uid"] == account["metadata"]["uid"]
    assert {"system:serviceaccounts", "system:serviceaccounts:" + space.name} <= set(user["groups"])
    bad = space.api.create("authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token[:-4] + "AAAA"}})
    assert not bad["status"].get("authenticated") and bad["status"]["error"]
    me = space.being(Authorization="Bearer " + token).api.create(
        "authentication.k8s.io/v1/selfsubjectreviews", {"metadata": {}}
    )
    assert me["status"]["userInfo"]["username"] == claims["sub"]


def test_the_life_of_an_account(space):
    """ServiceAccounts should run through the lifecycle of a ServiceAccount"""
    with space.watch(ACCOUNTS, labelSelector="test-serviceaccount-static=true") as events:
        body = {"metadata": {"name": "testserviceaccount", "labels": {"test-serviceaccount-static": "true"}}}
        space.create(ACCOUNTS, body)
        events.until("ADDED", lambda o: True)
        space.patch(ACCOUNTS, "testserviceaccount", {"automountServiceAccountToken": False},
                    "application/strategic-merge-patch+json")  # fmt: skip
        events.until("MODIFIED", lambda o: o["automountServiceAccountToken"] is False)
        everywhere = space.api.items(ACCOUNTS, labelSelector="test-serviceaccount-static=true")
        assert [a["metadata"]["name"] for a in everywhere] == ["testserviceaccount"]
        space.delete(ACCOUNTS, labelSelector="test-serviceaccount-static=true")
        events.until("DELETED", lambda o: True)


def test_an_account_is_updated(space):
    """ServiceAccounts should update a ServiceAccount"""
    made = space.create(ACCOUNTS, {"metadata": {"name": "e2e-sa"}})
    assert "automountServiceAccountToken" not in made
    space.change(ACCOUNTS, "e2e-sa", lambda o: o.update(automountServiceAccountToken=False))
    assert space.get(ACCOUNTS, "e2e-sa")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("account", ["default", "mount", "nomount"])
@pytest.mark.parametrize("pod", [None, True, False])
def test_the_token_is_mounted_unless_pod_or_account_decline(space, account, pod):
    """ServiceAccounts should allow opting out of API token automount"""
    wait_until("default account", lambda: not space.gone(ACCOUNTS, "default"))
    for name, value in (("mount", True), ("nomount", False)):
        space.create(ACCOUNTS, {"metadata": {"name": name}, "automountServiceAccountToken": value})
    spec = {"serviceAccountName": account, "containers": [{"name": "c", "image": "pause"}],
            "nodeSelector": {"conformance": "nowhere"}, "terminationGracePeriodSeconds": 0}  # fmt: skip
    if pod is not None:
        spec["automountServiceAccountToken"] = pod
    made = space.create("v1/pods", {"metadata": {"name": "p"}, "spec": spec})
    mounts = [m["mountPath"] for m in made["spec"]["containers"][0].get("volumeMounts", [])]
    wanted = pod if pod is not None else account != "nomount"
    assert ("/var/run/secrets/kubernetes.io/serviceaccount" in mounts) == wanted


def test_reviews_say_what_requests_meet(space):
    """SubjectReview should support SubjectReview API operations"""
    account = space.create(ACCOUNTS, {"metadata": {"name": "e2e"}})
    user = f"system:serviceaccount:{space.name}:e2e"
    groups = ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + space.name]
    asked = {"verb": "list", "resource": "configmaps", "namespace": space.name, "version": "v1"}
    spec = {"resourceAttributes": asked, "user": user, "groups": groups, "uid": account["metadata"]["uid"]}

    def compare(wanted):
        review = space.api.create("authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        local = space.create(
            "authorization.k8s.io/v1/localsubjectaccessreviews", {"metadata": {"namespace": space.name}, "spec": spec}
        )
        impersonated = space.being(Impersonate_User=user, Impersonate_Uid=account["metadata"]["uid"])
        answer = impersonated.send("GET", "v1/configmaps")
        assert review["status"]["allowed"] == local["status"]["allowed"] == (answer.code == 200) == wanted
        assert answer.code in (200, 403), answer

    compare(False)
    space.create("rbac.authorization.k8s.io/v1/rolebindings", {
        "metadata": {"name": "view"}, "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": space.name}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    })  # fmt: skip
    wait_until("the binding counts", lambda: space.being(Impersonate_User=user).send("GET", "v1/configmaps").code == 200)
    compare(True)


def signing_request(tmp_path, name, signer):
    key, csr = tmp_path / (name + ".key"), tmp_path / (name + ".csr")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(csr))
    return {
        "metadata": {}, "spec": {
            "request": base64.b64encode(csr.read_bytes()).decode(), "signerName": signer, "expirationSeconds": 3600,
            "usages": ["digital signature", "key encipherment", "server auth"],
        },
    }  # fmt: skip


def test_signing_requests(api, unique, tmp_path):
    """Certificates API [Privileged:ClusterAdmin] should support CSR API operations"""
    signer = "example.com/" + unique
    body = signing_request(tmp_path, unique, signer)
    discovered(api, CSRS, "CertificateSigningRequest", False, ("approval", "status"))
    made = api_operations(api, None, CSRS, "CertificateSigningRequest", body, name=unique)
    assert made["spec"]["expirationSeconds"] == 3600 and made["spec"]["username"]

    body["metadata"] = {"generateName": "e2e-example-csr-"}
    names = [api.create(CSRS, body)["metadata"]["name"] for _ in range(3)]
    assert len(api.items(CSRS, fieldSelector="spec.signerName=" + signer)) == 3
    name = names[0]
    assert api.get(CSRS, name, sub="approval")["metadata"]["name"] == name
    patched = api.patch(CSRS, name, {
        "metadata": {"annotations": {"patchedapproval": "true"}},
        "status": {"conditions": [{"type": "ApprovalPatch", "status": "True", "reason": "e2e"}]},
    }, MERGE, sub="approval")  # fmt: skip
    assert list(conditions(patched)) == ["ApprovalPatch"] and patched["metadata"]["annotations"]["patchedapproval"]
    approve = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    updated = api.change(CSRS, name, lambda o: o["status"]["conditions"].append(approve), sub="approval")
    assert list(conditions(updated)) == ["ApprovalPatch", "Approved"]
    assert "approval" not in json.dumps(api.get(CSRS, name).get("spec"))

    certificate = base64.b64encode(self_signed(tmp_path)).decode()
    patched = api.patch(CSRS, name, {
        "metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate},
    }, MERGE, sub="status")  # fmt: skip
    assert patched["status"]["certificate"] == certificate and patched["metadata"]["annotations"]["patchedstatus"]
    other = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    updated = api.change(CSRS, name, lambda o: o["status"]["conditions"].append(other), sub="status")
    assert list(conditions(updated)) == ["ApprovalPatch", "Approved", "StatusUpdate"]
    api.delete(CSRS, name)
    assert api.gone(CSRS, name)
    api.delete(CSRS, fieldSelector="spec.signerName=" + signer)
    wait_until("deleted", lambda: not api.items(CSRS, fieldSelector="spec.signerName=" + signer))


def self_signed(tmp_path):
    certificate = tmp_path / "self.crt"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=e2e.example.com",
        "-keyout", str(tmp_path / "self.key"), "-out", str(certificate))  # fmt: skip
    return certificate.read_bytes()


def test_the_issuers_documents(api):
    """ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer
    (without the pod that upstream asks from)"""
    account = api.being(Impersonate_User="system:serviceaccount:default:default", Impersonate_Group="system:serviceaccounts")
    document = account.get("/.well-known/openid-configuration")
    assert document["issuer"] and document["jwks_uri"].endswith("/openid/v1/jwks")
    assert document["response_types_supported"] == ["id_token"]
    keys = account.get("/openid/v1/jwks")["keys"]
    assert keys and all(k["use"] == "sig" and k["kid"] and k["alg"] in ("RS256", "ES256") for k in keys)
    answer = api.create(
        "v1/serviceaccounts", {"spec": {}}, namespace="default", name="default", sub="token"
    )
    header = json.loads(base64.urlsafe_b64decode(answer["status"]["token"].split(".")[0] + "=="))
    assert header["kid"] in [k["kid"] for k in keys]
