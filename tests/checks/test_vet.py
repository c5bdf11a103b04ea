"""Findings of other people's tools are explained, each and no others."""

from infra.vet.__main__ import compare


def test_a_finding_without_a_reason_is_an_error():
    """Also one about another resource under an accepted rule."""
    found = {("checkov", "CKV_1"): {"A", "B"}}
    accepted = {("checkov", "CKV_1"): (frozenset({"A"}), "because")}
    assert list(compare(found, accepted)) == ["checkov CKV_1: B has no reason in accepted.yml"]


def test_a_reason_without_a_finding_is_an_error():
    """Else the list would outlive what it explains."""
    accepted = {("cfn-guard", "rule"): (frozenset({"A"}), "because")}
    assert list(compare({}, accepted)) == ["cfn-guard rule: A is accepted and was not found"]
    assert list(compare({("cfn-guard", "rule"): {"A"}}, accepted)) == []
