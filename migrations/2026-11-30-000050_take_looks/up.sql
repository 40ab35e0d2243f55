-- A look at a server, from the moment in which a worker takes it until nothing of it is left on the host. An instance has
-- one at a time: two would take each other's accounts off the server that they look at.
create table looks (
    question_id  uuid primary key,
    host_id      text not null references hosts (id),
    instance_id  uuid not null unique,
    -- The server that is looked at, and the one that the look may put beside it.
    source_id    uuid not null,
    candidate_id uuid not null default gen_random_uuid(),
    -- The number of the version that the look is for.
    version      text not null,
    -- Renewed by who looks. A look whose worker died is taken from it after this, and cleared.
    taken_until  timestamptz not null
);
create index looks_of_a_host on looks (host_id, taken_until);
