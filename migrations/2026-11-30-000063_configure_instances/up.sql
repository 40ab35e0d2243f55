-- The parameters that a version's servers let their customers set, as one of its servers told them.
create table parameter_lists (
    version_id  uuid primary key references datastore_versions (id) on delete cascade,
    -- Whoever asked for it last; a list that nobody asks for is not made.
    asked_at    timestamptz not null default now(),
    -- The worker that asks a server, which renews its lease and writes under the lease's number.
    taken_by    text,
    taken_until timestamptz,
    lease       bigint not null default 0,
    -- A worker does not try again before this.
    not_before  timestamptz not null default now(),
    -- Why the last try came to nothing, for the operator.
    trouble     text,
    -- The number of the server that told it, and what it told.
    number      text,
    parameters  jsonb,
    constraint parameter_lists_are_whole check ((number is null) = (parameters is null))
);

-- Servers that are made only to be asked, as long as something of them may be on their host.
create table scratches (
    generation_id uuid primary key,
    host_id       text not null references hosts (id),
    version_id    uuid not null references datastore_versions (id) on delete cascade,
    -- The worker that made it is at work until then.
    taken_until   timestamptz not null
);

create trigger wake_workers after insert or update of asked_at on parameter_lists
    for each statement execute function wake('coffer_parameters');
create trigger wake_askers after update of parameters on parameter_lists
    for each statement execute function wake('coffer_answers');

-- A configuration group: values of parameters, for the servers of one version.
create table configurations (
    id          uuid primary key,
    project_id  text not null,
    name        text not null,
    description text,
    version_id  uuid not null references datastore_versions (id),
    -- An object: the parameters' names as the server writes them, with their values.
    content     jsonb not null,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);
create index configurations_of_project on configurations (project_id, id);

-- The group whose values an instance's server has.
alter table instances add column configuration_id uuid references configurations (id) on delete set null;
create index instances_of_configuration on instances (configuration_id) where configuration_id is not null;

-- A value of its group is written in the server's configuration and has no effect before its next start.
alter table generations add column needs_restart boolean not null default false;

-- What a simulated server runs with.
alter table simulated_servers add column parameters jsonb not null default '{}';
