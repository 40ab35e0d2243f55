-- The service's own store. What must hold is held here, not by a check before a write.

create table hosts (
    id              text primary key,
    instance_net    text not null,
    seen_at         timestamptz not null default now()
);

-- What a host can run, as its worker found by asking the binaries.
create table host_versions (
    host_id         text not null references hosts (id) on delete cascade,
    engine          text not null check (engine in ('mariadb', 'mysql', 'postgresql')),
    series          text not null,
    version_number  text not null,
    seen_at         timestamptz not null default now(),
    primary key (host_id, engine, series)
);

create table datastores (
    id                  uuid primary key,
    name                text not null unique check (name = lower(name)),
    default_version_id  uuid
);

create table datastore_versions (
    id              uuid primary key,
    datastore_id    uuid not null references datastores (id),
    name            text not null,
    version_number  text not null,
    engine          text not null check (engine in ('mariadb', 'mysql', 'postgresql')),
    runtime         text not null check (runtime in ('process', 'docker', 'simulated')),
    active          boolean not null default true,
    unique (datastore_id, name)
);
alter table datastores add foreign key (default_version_id) references datastore_versions (id);

-- An upgrade is allowed because a row says so, never because one version is higher.
create table upgrade_paths (
    id              uuid primary key,
    from_version_id uuid not null references datastore_versions (id),
    to_version_id   uuid not null references datastore_versions (id),
    ways            text[] not null check (ways <@ array['replica', 'in_place', 'twin', 'rolling']),
    enabled         boolean not null default true,
    note            text not null default '',
    unique (from_version_id, to_version_id),
    check (from_version_id <> to_version_id)
);

create table flavors (
    id      text primary key,
    name    text not null,
    ram_mb  integer not null check (ram_mb > 0),
    vcpus   integer not null check (vcpus > 0),
    ordinal integer not null unique
);
insert into flavors (id, name, ram_mb, vcpus, ordinal)
select n::text, (case when n = 1 then '512MB' else (1 << (n - 2)) || 'GB' end) || ' Instance', 512 << (n - 1), greatest(1, n - 2), n
from generate_series(1, 8) as n;

create table instances (
    id                      uuid primary key,
    project_id              text not null,
    name                    text not null check (length(name) between 1 and 255),
    state                   text not null check (state in ('building', 'active', 'feeding_upgrade', 'verify_upgrade',
                                                           'detaching', 'deleting', 'error', 'deleted')),
    flavor_id               text not null references flavors (id),
    volume_gb               integer not null check (volume_gb > 0),
    -- What was asked for; what runs is below and comes from the server itself.
    wanted_version_id       uuid not null references datastore_versions (id),
    running_version_id      uuid references datastore_versions (id),
    running_version_number  text,
    serving_generation_id   uuid,
    host_id                 text not null references hosts (id),
    replica_of              uuid references instances (id),
    fault_message           text,
    fault_details           text,
    fault_at                timestamptz,
    revision                bigint not null default 0,
    created_at              timestamptz not null default now(),
    updated_at              timestamptz not null default now(),
    deleted_at              timestamptz,
    check ((state = 'deleted') = (deleted_at is not null)),
    check ((running_version_id is null) = (serving_generation_id is null)),
    check ((fault_message is null) = (fault_at is null))
);
create index instances_of_project on instances (project_id, id) where deleted_at is null;
create index replicas_of_instance on instances (replica_of) where deleted_at is null;

create sequence server_ids as bigint minvalue 1000 maxvalue 4294967295;

-- One engine server with its own data directory.
create table generations (
    id                  uuid primary key,
    instance_id         uuid not null references instances (id),
    host_id             text not null references hosts (id),
    role                text not null check (role in ('candidate', 'serving', 'retired', 'dropped')),
    version_id          uuid not null references datastore_versions (id),
    server_id           bigint not null unique default nextval('server_ids'),
    -- The service account's password, sealed.
    service_secret      text not null,
    read_only           boolean not null,
    events              boolean not null,
    -- Whether its host's supervisor shall keep it up.
    wanted              text not null check (wanted in ('running', 'stopped')),
    -- What was last seen, by asking the server.
    answered_at         timestamptz,
    answered_version    text,
    trouble             text,
    used_bytes          bigint,
    created_at          timestamptz not null default now()
);
create unique index one_serving_generation on generations (instance_id) where role = 'serving';
create unique index one_candidate_generation on generations (instance_id) where role = 'candidate';
create unique index one_retired_generation on generations (instance_id) where role = 'retired';
alter table instances add foreign key (serving_generation_id) references generations (id) deferrable initially deferred;

-- The stable address that clients connect to.
create table endpoints (
    instance_id     uuid primary key references instances (id),
    host_id         text not null references hosts (id),
    address         text not null,
    port            integer not null check (port between 1 and 65535),
    generation_id   uuid references generations (id),
    -- Connections that are let through at once: fewer than the server takes, so that we always get in.
    connections     integer not null check (connections > 0),
    epoch           bigint not null default 1,
    applied_epoch   bigint not null default 0,
    unique (host_id, address)
);

create table tasks (
    id                  uuid primary key,
    kind                text not null check (kind in ('create', 'delete', 'upgrade')),
    project_id          text not null,
    host_id             text not null references hosts (id),
    state               text not null check (state in ('scheduled', 'running', 'verifying', 'succeeded', 'rolled_back',
                                                       'cancelled', 'needs_operator')),
    phase               text check (phase in ('forward', 'detach', 'abandon', 'undo')),
    step                text,
    plan                jsonb not null,
    -- Sealed values that a step needs; wiped when that step is done.
    secrets             text,
    attempts            integer not null default 0,
    redos               integer not null default 0,
    reason              text,
    operator_reason     text,
    not_before          timestamptz not null default now(),
    lease_owner         text,
    lease_until         timestamptz,
    lease_generation    bigint not null default 0,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    ended_at            timestamptz,
    check ((state = 'running') = (phase is not null and step is not null)),
    check ((ended_at is not null) = (state in ('succeeded', 'rolled_back', 'cancelled')))
);
create index tasks_to_claim on tasks (host_id, not_before) where state in ('scheduled', 'running');

-- A task claims instances. The index is the rule: one live task an instance.
create table task_instances (
    task_id         uuid not null references tasks (id),
    instance_id     uuid not null references instances (id),
    role            text not null check (role in ('subject', 'source', 'candidate')),
    live            boolean not null default true,
    primary key (task_id, instance_id)
);
create unique index one_live_task_per_instance on task_instances (instance_id) where live;
create index tasks_of_instance on task_instances (instance_id);

create table task_steps (
    id              bigint generated always as identity primary key,
    task_id         uuid not null references tasks (id),
    phase           text not null,
    step            text not null,
    attempt         integer not null,
    outcome         text check (outcome in ('done', 'retry', 'redo', 'failed')),
    detail          text,
    progress        text,
    started_at      timestamptz not null default now(),
    ended_at        timestamptz,
    check ((outcome is null) = (ended_at is null))
);
create index steps_of_task on task_steps (task_id, id);

create table events (
    id              bigint generated always as identity primary key,
    at              timestamptz not null default now(),
    project_id      text not null,
    instance_id     uuid references instances (id),
    task_id         uuid references tasks (id),
    actor           text not null,
    what            text not null,
    data            jsonb not null default '{}'
);
create index events_of_task on events (task_id, id);

-- For a task's life: a private way by which a candidate reaches its source.
create table relays (
    task_id         uuid primary key references tasks (id),
    host_id         text not null references hosts (id),
    generation_id   uuid not null references generations (id),
    -- The new instance's own address, on a port that no outgoing connection can take.
    address         text not null,
    port            integer not null check (port between 1 and 65535),
    -- Whether the endpoint role listens there.
    listening       boolean not null default false,
    unique (host_id, address, port)
);

-- Questions to an engine, answered by a worker.
create table questions (
    id              uuid primary key,
    host_id         text not null references hosts (id),
    instance_id     uuid not null references instances (id),
    kind            text not null,
    asked_at        timestamptz not null default now(),
    expires_at      timestamptz not null,
    answer          jsonb,
    trouble         text,
    answered_at     timestamptz
);
create index questions_open on questions (host_id, asked_at) where answered_at is null;

-- Who waits for a row is woken by it; polling is the fallback.
create function wake() returns trigger language plpgsql as $$
begin
    perform pg_notify(tg_argv[0], '');
    return null;
end $$;
create trigger wake_workers after insert or update of state, not_before on tasks
    for each statement execute function wake('coffer_tasks');
create trigger wake_endpoint after insert or delete or update of generation_id, epoch on endpoints
    for each statement execute function wake('coffer_routes');
create trigger wake_endpoint after insert or delete on relays
    for each statement execute function wake('coffer_routes');
create trigger wake_workers after insert on questions
    for each statement execute function wake('coffer_questions');
create trigger wake_askers after update of answered_at on questions
    for each statement execute function wake('coffer_answers');
create trigger wake_steps after update of applied_epoch on endpoints
    for each statement execute function wake('coffer_applied');
create trigger wake_steps after update of listening on relays
    for each statement execute function wake('coffer_applied');

-- The endpoint role faces the network: where it has a role of its own in the store, it reads routes and acknowledges
-- them, and nothing else.
do $$
begin
    if exists (select from pg_roles where rolname = 'coffer_endpoint') then
        grant select on endpoints, relays to coffer_endpoint;
        grant update (applied_epoch) on endpoints to coffer_endpoint;
        grant update (listening) on relays to coffer_endpoint;
    end if;
end $$;
