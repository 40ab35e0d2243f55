-- The service's own authority, made once, and one certificate an instance. Private keys are sealed.

create table authorities (
    id              uuid primary key,
    certificate     text not null,
    key_secret      text not null,
    created_at      timestamptz not null default now()
);
create unique index one_authority on authorities ((true));

-- Made with the instance and the same for every later generation, so that clients see no change. It goes with the
-- address.
create table certificates (
    instance_id     uuid primary key references instances (id),
    authority_id    uuid not null references authorities (id),
    -- The address that it names.
    address         text not null,
    certificate     text not null,
    key_secret      text not null,
    created_at      timestamptz not null default now()
);
