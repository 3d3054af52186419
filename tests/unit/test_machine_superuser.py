"""The administrator accounts that a machine ID is recognised by, whose tags stand in the code as constants."""

import pytest

from keyseat_shared.machine_id import MachineID


@pytest.mark.parametrize(
    "account",
    [
        pytest.param("0", id="root"),
        pytest.param("S-1-5-18", id="LocalSystem"),
        pytest.param("FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000", id="macOS root"),
    ],
)
def test_administrator_accounts_are_recognised(account: str) -> None:
    assert MachineID.from_values({"user-id": [account]}).for_superuser


@pytest.mark.parametrize("account", ["1000", "S-1-5-19", "FFFFEEEE-DDDD-CCCC-BBBB-AAAA000001F5", ""])
def test_other_accounts_are_not(account: str) -> None:
    assert not MachineID.from_values({"user-id": [account]}).for_superuser
