-- What an upgrade to a version would have met, when it was asked: some dialects begin none without one that passed.
create table inspections (
    id uuid primary key,
    -- Some dialects know it by no other name.
    number bigint generated always as identity unique,
    instance_id uuid not null references instances (id) on delete cascade,
    from_version_id uuid not null,
    target text not null,
    checked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    passed boolean not null,
    detail text not null,
    -- The upgrade that was begun on the strength of it, and how it was asked to see to its statistics.
    task_id uuid references tasks (id) on delete set null,
    statistics text
);

create index inspections_of_an_instance on inspections (instance_id, checked_at desc);
