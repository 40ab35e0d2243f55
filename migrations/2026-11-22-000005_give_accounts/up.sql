-- The system accounts that a host's servers run as: each instance has one to itself for as long as it holds something
-- there. A host without any runs every server as one account.
create table accounts (
    host_id         text not null references hosts (id),
    name            text not null,
    instance_id     uuid unique references instances (id),
    primary key (host_id, name)
);
