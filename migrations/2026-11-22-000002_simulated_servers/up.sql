-- What a host can run, by datastore: percona and mysql are one engine, and a simulated version has no binary.
alter table host_versions add column datastore text;
alter table host_versions add column runtime text not null default 'process'
    check (runtime in ('process', 'docker', 'simulated'));
update host_versions set datastore = engine;
alter table host_versions alter column datastore set not null;
alter table host_versions drop constraint host_versions_pkey;
alter table host_versions add primary key (host_id, datastore, series);

-- An address or a relay at which nobody listens is one of a simulated server: the endpoint role acknowledges it.
alter table endpoints add column listens boolean not null default true;
alter table relays add column listens boolean not null default true;

-- Servers that are rows: what a real one has in its folder and in its memory.
create table simulated_servers (
    generation_id   uuid primary key references generations (id),
    -- 'dead': it ended by itself, and is started again as a real one would be.
    state           text not null check (state in ('stopped', 'running', 'dead')),
    -- What its binary answers.
    version_number  text not null,
    read_only       boolean not null default true,
    events          boolean not null default false,
    databases       jsonb not null default '[]',
    users           jsonb not null default '[]',
    -- Whose writes it applies, and the position up to which it has.
    follows         uuid references generations (id),
    applied         bigint not null default 0,
    -- How long a write takes to come over from the source.
    lag_ms          integer not null default 100 check (lag_ms >= 0)
);

-- Its rows and its binary log in one: each acknowledged write is here once, at its position.
create table simulated_writes (
    generation_id   uuid not null references simulated_servers (generation_id) on delete cascade,
    position        bigint not null,
    payload         text not null,
    at              timestamptz not null default clock_timestamp(),
    primary key (generation_id, position)
);

-- A tenant's write: refused by a server that does not run or is read-only, as a real one refuses it.
create function simulated_write(server uuid, text) returns bigint language plpgsql as $$
declare
    machine simulated_servers;
    place bigint;
begin
    select * into machine from simulated_servers where generation_id = server for update;
    if machine.state is distinct from 'running' then
        raise exception 'the simulated server does not run';
    end if;
    if machine.read_only then
        raise exception 'the simulated server is read-only';
    end if;
    select coalesce(max(position), 0) + 1 into place from simulated_writes where generation_id = server;
    insert into simulated_writes (generation_id, position, payload) values (server, place, $2);
    return place;
end $$;
