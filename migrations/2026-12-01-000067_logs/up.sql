-- The logs of an instance that its customer has turned on or published, and what of them was published, in parts of some
-- lines each. Others than those in here are off and unpublished.
create table logs (
    instance_id uuid not null references instances (id),
    name text not null,
    enabled boolean not null default false,
    -- Bytes that its server's log has now, and those that it had when it was published last; null until it was.
    bytes bigint not null default 0,
    published_at_bytes bigint,
    primary key (instance_id, name)
);
create table log_parts (
    instance_id uuid not null,
    name text not null,
    object text not null,
    content bytea not null,
    lines integer not null,
    made_at timestamptz not null default clock_timestamp(),
    primary key (instance_id, object),
    foreign key (instance_id, name) references logs (instance_id, name) on delete cascade
);
