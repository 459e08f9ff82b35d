-- What is added up over many streams: four figures by name.
create table tallies (
  tenant text not null,
  name   text not null,
  first  real not null,
  second real not null,
  third  real not null,
  fourth real not null,
  primary key (tenant, name)
) strict, without rowid;

-- What is kept free of an account until it is tallied, or its time is over.
create table holds (
  tenant  text    not null,
  account text    not null,
  id      text    not null,
  expires integer not null,
  first   real    not null,
  second  real    not null,
  third   real    not null,
  fourth  real    not null,
  primary key (tenant, account, id)
) strict, without rowid;
create index holds_by_id on holds (tenant, id);
