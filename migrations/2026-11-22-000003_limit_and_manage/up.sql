-- What an operator sets while the service runs: quotas, maintenance, and faults of simulated instances.

-- A project's own limits; where there is no row the profile's default holds. -1 is no limit.
create table quotas (
    project_id      text not null,
    resource        text not null check (resource in ('instances', 'volumes', 'backups', 'ram')),
    most            integer not null check (most >= -1),
    updated_at      timestamptz not null default now(),
    primary key (project_id, resource)
);

-- One row, always there.
create table maintenance (
    only_one        boolean primary key default true check (only_one),
    is_on           boolean not null default false,
    retry_after     integer not null default 30 check (retry_after between 1 and 86400),
    updated_at      timestamptz not null default now()
);
insert into maintenance default values;

-- How long a step of a simulated instance takes, and how it fails.
create table simulations (
    instance_id     uuid not null references instances (id) on delete cascade,
    step            text not null,
    ms              integer not null default 0 check (ms between 0 and 3600000),
    fault           text check (fault in ('fail', 'hang', 'die')),
    primary key (instance_id, step)
);
