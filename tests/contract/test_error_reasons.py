"""The reasons in the code are those of the contract."""

from __future__ import annotations

from brikk.error.v1.error_reason_pb2 import ErrorReason
from brikk_shared.errors import Reason

_PREFIX = "ERROR_REASON_"


def test_every_reason_is_in_the_contract_and_the_other_way_round() -> None:
    contract = {name.removeprefix(_PREFIX) for name in ErrorReason.keys()}  # noqa: SIM118
    assert {str(reason) for reason in Reason} == contract - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)
