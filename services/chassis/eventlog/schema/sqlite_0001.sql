-- One row per event. The unique key is the lock: two writers cannot both add event n.
-- Positions count commits, for there is one writer. Times are microseconds since 1970 in UTC.
create table events (
  position  integer primary key autoincrement,
  tenant    text    not null,
  stream_id text    not null,
  sequence  integer not null,
  type      text    not null,
  time      integer not null,
  body      blob    not null,
  unique (tenant, stream_id, sequence)
) strict;

-- The newest snapshot of each stream that has one.
create table snapshots (
  tenant    text    not null,
  stream_id text    not null,
  sequence  integer not null,
  body      blob    not null,
  primary key (tenant, stream_id)
) strict, without rowid;

-- Streams that want a worker. The row is the claim: who has it, until when, for the how-manieth time.
create table work (
  tenant      text    not null,
  stream_id   text    not null,
  kind        text    not null,
  owner       text    not null,
  epoch       integer not null,
  lease_until integer not null,
  due         integer not null,
  primary key (tenant, stream_id)
) strict, without rowid;
create index work_by_kind on work (kind, due);
create index work_by_owner on work (owner) where owner <> '';

-- What others want of the worker that has a stream.
create table letters (
  number    integer primary key autoincrement,
  tenant    text not null,
  stream_id text not null,
  kind      text not null,
  body      blob not null
) strict;
create index letters_by_stream on letters (tenant, stream_id);

-- What lists show, and can be filtered by (attributes, a JSON object). The kind comes first in the
-- key, so that those of all tenants can be walked.
create table records (
  tenant     text not null,
  kind       text not null,
  id         text not null,
  attributes text not null,
  body       blob not null,
  primary key (kind, tenant, id)
) strict, without rowid;

-- Starts that can be found by the key that their caller gave.
create table keys (
  tenant      text    not null,
  scope       text    not null,
  key         text    not null,
  stream_id   text    not null,
  fingerprint text    not null,
  expires     integer not null,
  primary key (tenant, scope, key)
) strict, without rowid;
create index keys_by_expiry on keys (expires);

-- What the event bus has not been told yet.
create table outbox (
  number  integer primary key autoincrement,
  topic   text not null,
  key     text not null,
  value   blob not null,
  headers text not null
) strict;
