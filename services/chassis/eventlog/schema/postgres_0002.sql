-- What is added up over many streams: four figures by name. Each worker adds to rows of its own, so
-- that no two replicas wait for each other.
create table tallies (
  tenant text             not null,
  name   text collate "C" not null,
  owner  text             not null,
  first  double precision not null,
  second double precision not null,
  third  double precision not null,
  fourth double precision not null,
  primary key (tenant, name, owner)
);

-- What is kept free of an account until it is tallied, or its time is over.
create table holds (
  tenant  text             not null,
  account text             not null,
  id      text             not null,
  expires bigint           not null,
  first   double precision not null,
  second  double precision not null,
  third   double precision not null,
  fourth  double precision not null,
  primary key (tenant, account, id)
);
create index holds_by_id on holds (tenant, id);

-- As `append_all`, for appends some of which have tallies or end holds; see `add_tallies`.
create function append_and_tally(
  at bigint, tenants text[], streams text[], expecteds bigint[], owners text[], epochs bigint[],
  counts int[], types text[], times bigint[], bodies bytea[], beside jsonb[], blobs bytea[],
  keyed int
) returns table (verdict text, holder text, epoch bigint) language plpgsql as $$
declare
  done jsonb[] := '{}';
  i int := 0;
begin
  for verdict, holder, epoch in
    select * from append_all(
      at, tenants, streams, expecteds, owners, epochs, counts, types, times, bodies, beside, blobs,
      keyed
    )
  loop
    i := i + 1;
    done := done || case when verdict is null then beside[i] end;
    return next;
  end loop;
  perform add_tallies(tenants, owners, done);
end
$$;

-- Adds up the tallies of these appends, and lets go of what was held for them. Streams are locked by
-- now, and rows are in one order: no two transactions wait for each other.
create function add_tallies(tenants text[], owners text[], beside jsonb[])
returns void language sql as $$
  insert into tallies
    select tenant, each ->> 0, coalesce(owner, ''), sum((each ->> 1)::double precision),
           sum((each ->> 2)::double precision), sum((each ->> 3)::double precision),
           sum((each ->> 4)::double precision)
    from unnest(tenants, owners, beside) as given (tenant, owner, extra),
         jsonb_array_elements(extra -> 'tallies') each
    group by 1, 2, 3 order by 1, 2, 3
    on conflict (tenant, name, owner) do update
    set first = tallies.first + excluded.first, second = tallies.second + excluded.second,
        third = tallies.third + excluded.third, fourth = tallies.fourth + excluded.fourth;
  delete from holds using (
    select tenant as of_, hold
    from unnest(tenants, beside) as given (tenant, extra),
         jsonb_array_elements_text(extra -> 'spent') hold
  ) spent where holds.tenant = of_ and holds.id = hold;
$$;

-- Figures that were put into JSON.
create function figures_of(given jsonb) returns double precision[] language sql immutable as $$
  select array(select value::double precision from jsonb_array_elements_text(given))
$$;

-- Holds amounts, if all of them fit; what was used and held beside each of them, in their order. Whoever wants
-- of the same accounts waits until that is decided.
create function hold(at bigint, tenant_ text, id_ text, lasts bigint, wants jsonb)
returns table (fits boolean, used double precision[], held double precision[]) language plpgsql as $$
declare
  now_ bigint := time_of(at);
  all_fit boolean := true;
  all_used jsonb := '[]';
  all_held jsonb := '[]';
  want jsonb;
begin
  perform pg_advisory_xact_lock(name) from (
    select distinct hashtextextended(tenant_ || ' ' || (each ->> 'account'), 2) as name
    from jsonb_array_elements(wants) each order by name
  ) names;
  delete from holds where tenant = tenant_ and id = id_;
  for want in select * from jsonb_array_elements(wants) loop
    -- In one statement: what is spent between two would be counted twice, or not at all.
    select array[coalesce(sum(first) filter (where not is_held), 0),
                 coalesce(sum(second) filter (where not is_held), 0),
                 coalesce(sum(third) filter (where not is_held), 0),
                 coalesce(sum(fourth) filter (where not is_held), 0)],
           array[coalesce(sum(first) filter (where is_held), 0),
                 coalesce(sum(second) filter (where is_held), 0),
                 coalesce(sum(third) filter (where is_held), 0),
                 coalesce(sum(fourth) filter (where is_held), 0)]
      into used, held from (
        select first, second, third, fourth, false as is_held from tallies
          where tenant = tenant_ and name between want ->> 'first' and want ->> 'last'
        union all
        select first, second, third, fourth, true from holds
          where tenant = tenant_ and account = want ->> 'account' and expires > now_
      ) beside_it;
    all_fit := all_fit and (
      select coalesce(bool_and(used[n] + held[n] + (want -> 'amounts' ->> n - 1)::double precision
                               <= (want -> 'most' ->> n - 1)::double precision), true)
      from generate_series(1, 4) n where want -> 'most' ->> n - 1 is not null
    );
    all_used := all_used || jsonb_build_array(to_jsonb(used));
    all_held := all_held || jsonb_build_array(to_jsonb(held));
  end loop;
  if all_fit then
    insert into holds
      select tenant_, each ->> 'account', id_, now_ + lasts,
             (each -> 'amounts' ->> 0)::double precision, (each -> 'amounts' ->> 1)::double precision,
             (each -> 'amounts' ->> 2)::double precision, (each -> 'amounts' ->> 3)::double precision
      from jsonb_array_elements(wants) each;
  end if;
  delete from holds where ctid = any (array(
    select ctid from holds where tenant = tenant_ and expires <= now_ limit 16 for update skip locked
  ));
  return query
    select all_fit, figures_of(all_used -> n), figures_of(all_held -> n)
    from generate_series(0, jsonb_array_length(wants) - 1) n;
end
$$;
