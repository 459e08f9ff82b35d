-- One row per event. The primary key is the lock: two writers cannot both add event n.
-- A position is the transaction's id and a number within it, so that positions follow the order in
-- which transactions began, and a reader that stops at the oldest one under way skips none.
-- Times are microseconds since 1970 in UTC.
create table events (
  tenant    text   not null,
  stream_id text   not null,
  sequence  bigint not null,
  position  bigint not null unique,
  type      text   not null,
  time      bigint not null,
  body      bytea  not null,
  primary key (tenant, stream_id, sequence)
);

-- The newest snapshot of each stream that has one.
create table snapshots (
  tenant    text   not null,
  stream_id text   not null,
  sequence  bigint not null,
  body      bytea  not null,
  primary key (tenant, stream_id)
);

-- Streams that want a worker. The row is the claim: who has it, until when, for the how-manieth time.
create table work (
  tenant      text   not null,
  stream_id   text   not null,
  kind        text   not null,
  owner       text   not null,
  epoch       bigint not null,
  lease_until bigint not null,
  due         bigint not null,
  primary key (tenant, stream_id)
) with (fillfactor = 50);
create index work_by_kind on work (kind, due);
create index work_by_owner on work (owner) where owner <> '';

-- What others want of the worker that has a stream.
create table letters (
  number    bigint generated always as identity primary key,
  tenant    text   not null,
  stream_id text   not null,
  kind      text   not null,
  body      bytea  not null
);
create index letters_by_stream on letters (tenant, stream_id);

-- What lists show, and can be filtered by. Ids and tenants sort by their bytes. The kind comes first
-- in the key, so that those of all tenants can be walked.
create table records (
  tenant     text  collate "C" not null,
  kind       text  not null,
  id         text  collate "C" not null,
  attributes jsonb not null,
  body       bytea not null,
  primary key (kind, tenant, id)
);

-- Starts that can be found by the key that their caller gave.
create table keys (
  tenant      text   not null,
  scope       text   not null,
  key         text   not null,
  stream_id   text   not null,
  fingerprint text   not null,
  expires     bigint not null,
  primary key (tenant, scope, key)
);
create index keys_by_expiry on keys (expires);

-- What the event bus has not been told yet. Numbers as the positions of events.
create table outbox (
  number  bigint primary key,
  topic   text   not null,
  key     text   not null,
  value   bytea  not null,
  headers jsonb  not null
);

-- The time to go by: the caller's, else the server's. It stands still for a statement, or no index
-- could be looked up by it.
create function time_of(given bigint) returns bigint language sql stable as $$
  select coalesce(given, (extract(epoch from statement_timestamp()) * 1000000)::bigint)
$$;

-- Does many appends in one transaction; what each came to, in their order. An append that is
-- refused changes nothing. `beside` has what few appends have; its numbers point into `blobs`, and
-- `keyed` of them have a key.
-- No two transactions wait for each other: each locks the keys of all its appends first, in one
-- order, and then streams as callers sort them, by name.
create function append_all(
  at bigint, tenants text[], streams text[], expecteds bigint[], owners text[], epochs bigint[],
  counts int[], types text[], times bigint[], bodies bytea[], beside jsonb[], blobs bytea[],
  keyed int
) returns table (verdict text, holder text, epoch bigint) language plpgsql as $$
declare
  now_ bigint := time_of(at);
  next_ bigint := pg_current_xact_id()::text::bigint << 20;
  done int := 0;
  extra jsonb;
begin
  if keyed > 0 then
    perform lock_keys(tenants, beside);
  end if;
  for i in 1 .. cardinality(tenants) loop
    extra := beside[i];
    holder := null;
    epoch := null;
    verdict := refusal(now_, tenants[i], streams[i], expecteds[i], owners[i], epochs[i], extra);
    if verdict is null then
      insert into events
        select tenants[i], streams[i], expecteds[i] + n, next_ + n,
               types[done + n], times[done + n], bodies[done + n]
        from generate_series(1, counts[i]) n;
      next_ := next_ + counts[i];
      if extra is not null then
        perform write_beside(now_, tenants[i], streams[i], expecteds[i] + counts[i], next_, extra, blobs);
        next_ := next_ + coalesce(jsonb_array_length(extra -> 'outbox'), 0);
        if extra ? 'done' then
          delete from work w where w.tenant = tenants[i] and w.stream_id = streams[i];
          delete from letters l where l.tenant = tenants[i] and l.stream_id = streams[i];
        elsif extra ? 'work' then
          select * into holder, epoch from put_work(now_, tenants[i], streams[i], extra -> 'work');
        end if;
      end if;
    end if;
    done := done + counts[i];
    return next;
  end loop;
  if keyed > 0 then
    perform drop_keys(now_, 4 * keyed);
  end if;
end
$$;

-- Locks the keys of these appends until the end of the transaction.
create function lock_keys(tenants text[], beside jsonb[]) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(name) from (
    select distinct hashtextextended(
      tenant || ' ' || (extra -> 'key' ->> 'scope') || ' ' || (extra -> 'key' ->> 'key'), 1) as name
    from unnest(tenants, beside) as given (tenant, extra)
    where extra ? 'key' order by name
  ) names;
end
$$;

-- Forgets some keys that have expired, so that they do not gather. It is the last thing that a
-- transaction does: whoever waits for one of these rows does not wait for long.
create function drop_keys(now_ bigint, most int) returns void language sql
set enable_seqscan = off as $$  -- A plan made when there were few must not be kept for many.
  delete from keys where ctid = any (array(
    select ctid from keys where expires <= now_ order by expires limit most for update skip locked
  ))
$$;

-- Why an append cannot be; null if it can, and then its key is kept. Until the end of the transaction
-- nobody else changes that: the stream is locked, and so is its work.
create function refusal(
  now_ bigint, tenant_ text, stream text, expected bigint, owner_ text, epoch_ bigint, extra jsonb
) returns text language plpgsql as $$
declare
  last bigint;
begin
  perform pg_advisory_xact_lock(hashtextextended(tenant_ || ' ' || stream, 0));
  if extra ? 'key' then  -- By itself, so that those without a key ask no table.
    perform from keys where tenant = tenant_ and scope = extra -> 'key' ->> 'scope'
      and key = extra -> 'key' ->> 'key' and expires > now_;
    if found then
      return 'IDEMPOTENCY_KEY_TAKEN';
    end if;
  end if;
  if owner_ is not null then
    perform from work
      where tenant = tenant_ and stream_id = stream and owner = owner_ and epoch = epoch_ for share;
    if not found then
      return 'CLAIM_LOST';
    end if;
  end if;
  select sequence into last from events
    where tenant = tenant_ and stream_id = stream order by sequence desc limit 1;
  if coalesce(last, 0) <> expected then
    return 'SEQUENCE_CONFLICT';
  end if;
  if extra ? 'key' then
    perform put_key(now_, tenant_, stream, extra -> 'key');
  end if;
  return null;
end
$$;

-- Keeps a key, in place of one that has expired.
create function put_key(now_ bigint, tenant_ text, stream text, given jsonb)
returns void language sql as $$
  insert into keys values (
    tenant_, given ->> 'scope', given ->> 'key', stream, given ->> 'fingerprint',
    now_ + (given ->> 'lasts')::bigint
  ) on conflict (tenant, scope, key) do update
    set stream_id = excluded.stream_id, fingerprint = excluded.fingerprint, expires = excluded.expires
$$;

-- Snapshot, answered letters, records and messages of an append.
create function write_beside(
  now_ bigint, tenant_ text, stream text, last bigint, number_ bigint, extra jsonb, blobs bytea[]
) returns void language plpgsql as $$
begin
  if extra ? 'snapshot' then
    insert into snapshots values (tenant_, stream, last, blobs[(extra ->> 'snapshot')::int])
      on conflict (tenant, stream_id) do update
      set sequence = excluded.sequence, body = excluded.body;
  end if;
  if extra ? 'answered' then
    delete from letters where tenant = tenant_ and stream_id = stream
      and number in (select value::bigint from jsonb_array_elements_text(extra -> 'answered'));
  end if;
  if extra ? 'records' then
    insert into records
      select tenant_, each ->> 'kind', each ->> 'id', each -> 'attributes',
             blobs[(each ->> 'body')::int]
      from jsonb_array_elements(extra -> 'records') each
      on conflict (tenant, kind, id) do update
      set attributes = excluded.attributes, body = excluded.body;
  end if;
  if extra ? 'outbox' then
    insert into outbox
      select number_ + n, each ->> 'topic', each ->> 'key', blobs[(each ->> 'value')::int],
             each -> 'headers'
      from jsonb_array_elements(extra -> 'outbox') with ordinality as listed (each, n);
  end if;
end
$$;

-- That a stream wants a worker, or has one; who has it then. A stream that has letters is wanted at
-- once, whatever its delay. Of shared work, whoever has it keeps it and hears of it: a row that
-- `where` leaves as it is, is locked all the same, so it is still that one's below.
create function put_work(
  now_ bigint, tenant_ text, stream text, given jsonb, out holder text, out epoch_ bigint
) language plpgsql as $$
declare
  owner_ text := given ->> 'owner';
  due_ bigint := now_ + (given ->> 'delay')::bigint;
begin
  if exists (select from letters where tenant = tenant_ and stream_id = stream) then
    due_ := now_;
  end if;
  insert into work values (
    tenant_, stream, given ->> 'kind', owner_, case when owner_ = '' then 0 else 1 end,
    case when owner_ = '' then 0 else now_ + (given ->> 'lease')::bigint end, due_
  ) on conflict (tenant, stream_id) do update
    set owner = excluded.owner, lease_until = excluded.lease_until, due = excluded.due,
        epoch = work.epoch + excluded.epoch
    where not (given ? 'shared' and work.lease_until > now_)
  returning owner, epoch into holder, epoch_;
  if not found then
    update work set due = least(due, now_) where tenant = tenant_ and stream_id = stream
      returning owner, epoch into holder, epoch_;
    if holder <> owner_ then
      perform pg_notify(current_schema() || '_letters', holder);
    end if;
  end if;
end
$$;
