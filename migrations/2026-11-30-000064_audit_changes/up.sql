-- Who asked to change something, from where, and with what outcome. Never what was in a body.
create table audit (
    id         bigint generated always as identity primary key,
    at         timestamptz not null,
    request_id text not null,
    project_id text not null,
    user_id    text not null,
    -- The level that the caller's roles came to; none for roles that the service does not know.
    role       text,
    -- The other end of the request's connection: a proxy's, where there is one.
    address    text,
    dialect    text not null,
    method     text not null,
    -- The path as the table of routes has it, or the vendor's action.
    route      text not null,
    -- The ids in the path, in its order.
    target     text[] not null,
    status     integer not null
);
create index audit_at on audit (at);
create index audit_of_project on audit (project_id, at);
