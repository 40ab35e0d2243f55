-- A short write to an instance's server that a caller asked for: databases, users, rights, passwords. It claims nothing:
-- whichever server serves takes it, in the order of the numbers. One that was accepted is done, whoever dies meanwhile.
create table operations (
    id          uuid primary key,
    -- The order in which the operations of an instance are done.
    number      bigint generated always as identity unique,
    instance_id uuid not null references instances (id),
    kind        text not null,
    -- What is asked for, sealed. It is wiped when the operation is over.
    payload     text,
    asked_at    timestamptz not null default now(),
    -- A worker does not try it before this: the pause after a try in which the server did not answer.
    not_before  timestamptz not null default now(),
    attempts    integer not null default 0,
    -- The worker that does it, which renews its lease and writes under the lease's number.
    taken_by    text,
    taken_until timestamptz,
    lease       bigint not null default 0,
    -- It was found possible. From here on, what it makes may be there because of it.
    begun_at    timestamptz,
    -- Why the last try did nothing, for the operator.
    trouble     text,
    outcome     text,
    -- Why the server refused it, where it did.
    refusal     jsonb,
    over_at     timestamptz,
    constraint operations_outcome check (outcome in ('done', 'refused', 'gone')),
    constraint operations_are_wiped check ((payload is null) = (outcome is not null)),
    constraint operations_end check ((outcome is null) = (over_at is null)),
    constraint operations_tell_why check ((refusal is not null) = (outcome is not distinct from 'refused'))
);
create index operations_open on operations (instance_id, number) where outcome is null;
create index operations_over on operations (over_at) where outcome is not null;

create trigger wake_workers after insert on operations
    for each statement execute function wake('coffer_operations');
create trigger wake_askers after update of outcome on operations
    for each statement execute function wake('coffer_answers');
