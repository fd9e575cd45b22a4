"""How a PostgreSQL server does, for `farm doctor`."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from farm.clock import Clock, micros

APART_S = 5.0  # between its clock and ours
FEW = 20  # connections left

_FACTS = text(
    "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,"
    " current_setting('default_transaction_read_only') = 'on' AS read_only,"
    " current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AS durable,"
    " CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS micros,"
    " CAST(current_setting('max_connections') AS int) - (SELECT COUNT(*) FROM pg_stat_activity) AS free,"
    " pg_database_size(current_database()) AS bytes"
)


@dataclass(frozen=True, slots=True)
class Health:
    """`remedy` is empty when all is well."""

    what: str
    remedy: str = ""


def health(tx: Connection, clock: Clock) -> Health:
    """What is to be said of the server behind this transaction."""
    found = tx.execute(_FACTS).one()
    apart = abs(found.micros - micros(clock.now())) / 1e6
    server = f"PostgreSQL {found.version.split()[0]}"
    if found.standby or found.read_only:
        return Health(f"{server} takes no changes", "name the primary, or all with target_session_attrs=read-write")
    if not found.durable:
        remedy = "set fsync and synchronous_commit to on"
        return Health(f"{server} forgets what it acknowledged when the power fails", remedy)
    if apart > APART_S:
        return Health(f"its clock and ours are {apart:.0f} s apart", "let both keep time by NTP")
    if found.free < FEW:
        return Health(f"{server} has {found.free} connections left; a farm takes up to 33", "raise its max_connections")
    return Health(f"{server}, {found.bytes / 2**20:.1f} MiB")
