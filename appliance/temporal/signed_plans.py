"""Signs what a worker has read of a DAG, so that other workers of the appliance can trust it."""

from appliance.errors import ConfigError
from appliance.temporal.keyring import Keyring
from appliance.temporal.messages import PlanClaim


class PlanSigner:
    """Vouches with the keys of a box. What is sealed is empty: that it opens in its place says it all."""

    def __init__(self, keys: Keyring) -> None:
        """``keys``: the first one vouches, all of them are known again."""
        self._keys = keys

    def voucher(self, digest: str) -> str:
        """Return the text that says: this was read here."""
        return self._keys.seal(b"", place=_place(digest))

    def is_known(self, claim: PlanClaim) -> bool:
        """Whether a worker with these keys has read what is claimed."""
        if not claim.digest or claim.voucher is None:
            return False
        what = "what a run was started with"
        try:
            self._keys.open(claim.voucher, place=_place(claim.digest), what=what)
        except ConfigError:
            return False
        return True


def _place(digest: str) -> str:
    return f"plan {digest}"
