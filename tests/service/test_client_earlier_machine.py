"""A machine without evidence gets an instance id, and with it another machine ID: it does not hold two seats then."""

import os

import pytest

import shop
from activation import Site, make_key
from customers import Desktop
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_shared.machine_id import MachineID
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import desk, grants
from keyseat_verifier.online.transport import Transport, UnreachableError
from vendor import LAPTOP_VALUES, MACHINE, OTHER_MACHINE, machine

BARE = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[], os=[])
INSTANCE = MachineID.from_values(
    {"instance": ["0123456789abcdef" * 2]} | {kind: LAPTOP_VALUES[kind] for kind in ("user-id", "user-name")},
    instance_source="instance-file",
)
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    for module in (desk, grants):  # a busy machine
        monkeypatch.setattr(module, "ACQUIRE_SECONDS", 30.0)


@pytest.fixture
def desktop(desktop: Desktop) -> Desktop:
    """A bare container of the customer's."""
    desktop.machine = BARE
    return desktop


def used() -> int:
    return sum(Pool.objects.filter(product="KRE").values_list("used", flat=True))


class TestTheSeatOfTheEarlierId:
    @pytest.mark.parametrize("call", ["activate", "check"])
    def test_is_given_back_when_the_new_one_is_taken(self, desktop: Desktop, site: Site, call: str) -> None:
        site.acquire(machine=OTHER_MACHINE, key=os.environ["KEYSEAT_API_KEY"])  # leaves one of two
        first = desktop.client().activate()
        desktop.machine = INSTANCE
        client = desktop.client()

        second = getattr(client, call)()

        assert ("online", 2, 1) == (second.source, used(), len(desktop.leases()))
        assert str(INSTANCE) == Lease.objects.get(pk=second.license_id).machine_id
        assert "RELEASED" == Lease.objects.get(pk=first.license_id).ending

    def test_is_given_back_by_release(self, desktop: Desktop) -> None:
        first = desktop.client().activate()
        desktop.machine = INSTANCE

        assert (first.license_id,) == desktop.client().release().ended
        assert ([], 0) == (desktop.leases(), used())

    def test_is_left_to_a_program_that_holds_it(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            desktop.machine = INSTANCE
            desktop.client().activate()

            assert (2, True, 1) == (used(), session.is_held, len(desktop.client().release().held))
        assert ([], 0) == (desktop.leases(), used())

    def test_is_left_to_the_credentials_that_it_was_begun_with(
        self, desktop: Desktop, customer: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = desktop.client().activate()
        other = shop.organization("Second Organisation", "bob@example.com")
        shop.subscribe(other, {"KRE": 1})
        desktop.machine = INSTANCE
        with monkeypatch.context() as patch:
            patch.setenv("KEYSEAT_API_KEY", make_key(other))
            desktop.client().activate()
        assert (2, 2) == (used(), len(desktop.leases()))

        assert (first.license_id,) == desktop.client().release().ended

    def test_is_not_touched_by_a_machine_with_hardware_that_shares_the_home(self, desktop: Desktop) -> None:
        desktop.client().activate()
        desktop.machine = MACHINE
        desktop.client().activate()

        assert (2, 2) == (used(), len(desktop.leases()))

    def test_stays_known_where_the_server_is_away(self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object, **__: object) -> None:
            raise UnreachableError("the network is down", is_lasting=True)

        desktop.client().activate()
        desktop.machine = INSTANCE
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "request", away)
            with pytest.raises(NotEntitled, match="SERVER_UNREACHABLE"):
                desktop.client().activate()
        assert 1 == len(desktop.leases())

        desktop.client().activate()
        assert (1, 1) == (used(), len(desktop.leases()))
