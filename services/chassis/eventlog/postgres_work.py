"""Who works on what, as SQL for PostgreSQL.

Whoever locks several streams does so in the order of their names, as `append_all` does, or passes
over those that are locked: then no two wait for each other.
"""

from typing import Final

from services.chassis.eventlog.postgres_bells import CHANNEL

_ORDER: Final = 'order by tenant collate "C", stream_id collate "C" for update'

CLAIM: Final = (
    "with free as (select tenant, stream_id from work"
    " where kind = $1 and due <= time_of($3) and lease_until <= time_of($3)"
    " order by due limit $4 for update skip locked)"
    " update work set owner = $2, epoch = epoch + 1, lease_until = time_of($3) + $5"
    " from free where work.tenant = free.tenant and work.stream_id = free.stream_id"
    " returning work.tenant, work.stream_id, owner, epoch, due"
)
TAKE: Final = (
    "update work set owner = $3, epoch = epoch + 1, lease_until = time_of($4) + $5"
    " where tenant = $1 and stream_id = $2 and lease_until <= time_of($4) returning epoch"
)
RENEW: Final = (
    f"with held as (select tenant, stream_id from work where owner = $1 {_ORDER})"
    " update work set lease_until = time_of($2) + $3"
    " from held where work.tenant = held.tenant and work.stream_id = held.stream_id"
    " returning work.tenant, work.stream_id, owner, epoch"
)
RELEASE: Final = (
    "with held as (select tenant, stream_id from work"
    " join unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as given (t, s, o, e)"
    f" on tenant = t and stream_id = s and owner = o and epoch = e {_ORDER} of work)"
    " update work set owner = '', lease_until = 0"
    " from held where work.tenant = held.tenant and work.stream_id = held.stream_id"
)
WAITING: Final = (
    "select count(*) from work"
    " where kind = $1 and due <= time_of($2) and lease_until <= time_of($2)"
)
NEXT_DUE: Final = (
    "select greatest(due - time_of($2), 0) from work"
    " where kind = $1 and lease_until <= time_of($2) order by due limit 1"
)
SEND: Final = (
    "with woken as (update work set due = least(due, time_of($5))"
    " where tenant = $1 and stream_id = $2 returning owner, lease_until),"
    " room as (select count(*) < $6 as is_there from letters"
    " where tenant = $1 and stream_id = $2),"
    " put as (insert into letters (tenant, stream_id, kind, body)"
    " select $1, $2, $3, $4 from woken, room where is_there)"
    " select case when lease_until > time_of($5) then owner else '' end, is_there,"
    f" case when owner <> '' and is_there then pg_notify({CHANNEL}, owner) end"
    " from woken, room"
)
LETTERS: Final = (
    "select tenant, stream_id, number, letters.kind, body"
    " from work join letters using (tenant, stream_id)"
    " where owner = $1 and $2 in ('', stream_id) and number <> all ($3::bigint[])"
    " order by number"
)
